/** A value of the chart as values.yaml has it. */
export interface Value {
  readonly path: string
  /** As it is written, lists on several lines included. */
  readonly default: string
  readonly comment: string
}

/**
 * Reads values.yaml as far as this project writes it: two spaces a level, comments above the key that they are about, lists last.
 * Not a parser of YAML: helm is that, and the tests hold the schema against what this finds.
 */
export function readValues(text: string): Value[] {
  const lines = text.split('\n')
  const values: Value[] = []
  const parents: string[] = []
  let comment: string[] = []
  for (let i = 0; i < lines.length; i++) {
    const [, indent, word, rest] = /^( *)([#\w][^:#]*)?:?(.*)$/.exec(lines[i])!
    const level = indent.length / 2
    if (lines[i].trim() === '') comment = []
    else if (lines[i].trim().startsWith('#')) comment.push(lines[i].trim().slice(1).trim())
    else {
      parents.length = level
      const path = [...parents, word].join('.')
      const block: string[] = []
      const below = (line: string | undefined): boolean => line !== undefined && line.startsWith(`${indent}  `)
      if (rest.trim() === '' && lines[i + 1]?.startsWith(`${indent}  -`))
        while (below(lines[i + 1])) block.push(lines[++i])
      if (rest.trim() === '' && block.length === 0) parents.push(word)
      else values.push({ path, default: unindented(block) || rest.trim(), comment: comment.join(' ') })
      comment = []
    }
  }
  return values
}

function unindented(block: readonly string[]): string {
  const margin = block[0]?.search(/\S/) ?? 0
  return block.map(line => line.slice(margin)).join('\n')
}

/** The table of the README. */
export function valuesTable(values: readonly Value[]): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;')
  const rows = values.map(({ path, default: value, comment }) => {
    const shown = value.includes('\n') ? value.replaceAll(/\s*\n\s*/g, '; ') : value
    return `| \`${path}\` | \`${cell(shown)}\` | ${cell(comment)} |`
  })
  return ['| value | default | |', '|---|---|---|', ...rows].join('\n')
}
