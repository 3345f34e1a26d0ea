import { StratumError } from '../../errors/stratum-error.ts'
import type { Command, Outcome } from '../invocation.ts'
import { type CommandSpec, globalOptions } from '../program.ts'

/** A script that completes commands, options, labels and tags; it asks `stratum completion --references` for the last two. */
export function completionOf(commands: readonly CommandSpec[]): Command<{ references: boolean }> {
  return ({ args, options }) => complete(commands, args, options)
}

async function complete(
  commands: readonly CommandSpec[],
  args: readonly string[],
  options: { readonly references: boolean; readonly store: string },
): Promise<Outcome> {
  if (options.references) {
    const found = await references(options.store)
    return { json: { references: found }, text: found }
  }
  const scripts: Readonly<Record<string, (commands: readonly CommandSpec[]) => string>> = { bash, zsh, fish }
  const script = scripts[args[0] ?? '']
  if (script === undefined)
    throw new StratumError('usage', `completion for ${JSON.stringify(args[0] ?? '')} is not known`, {
      hint: 'stratum completion bash (or zsh, fish)',
    })
  const text = script(commands)
  return { json: { shell: args[0], script: text }, text, quiet: text }
}

/** Every label, and every label:tag. Says nothing where it cannot: a completion must not disturb. */
async function references(store: string): Promise<string[]> {
  const { openStore } = await import('../../store/open-store.ts')
  const { listLabels, readTags } = await import('../../refs/tags.ts')
  try {
    const opened = openStore(store)
    return listLabels(opened).flatMap(label => [
      label,
      ...[...readTags(opened, label).keys()].map(tag => `${label}:${tag}`),
    ])
  } catch {
    return []
  }
}

/** Commands whose first argument is a label or one of its tags. */
function takingReferences(commands: readonly CommandSpec[]): string[] {
  return commands.filter(({ args }) => /label|reference|what/.test(args?.[0]?.[0] ?? '')).map(({ name }) => name)
}

function optionNames({ options = () => [] }: CommandSpec): string[] {
  return [...options(), ...globalOptions()].map(({ long }) => long ?? '').concat('--help')
}

function bash(commands: readonly CommandSpec[]): string {
  const cases = commands.map(spec => `    ${spec.name}) options="${optionNames(spec).join(' ')}" ;;`).join('\n')
  return `# stratum completion for bash: eval "$(stratum completion bash)"
_stratum() {
  local word=\${COMP_WORDS[COMP_CWORD]} command=\${COMP_WORDS[1]} options=
  # a colon separates words for bash: put label:tag together again
  if declare -F _get_comp_words_by_ref > /dev/null; then _get_comp_words_by_ref -n : cur; word=$cur; fi
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(' ')} help" -- "$word"))
    return
  fi
  case $command in
${cases}
  esac
  case $word in
    -*) COMPREPLY=($(compgen -W "$options" -- "$word")) ;;
    *)
      case $command in
        ${takingReferences(commands).join('|')})
          COMPREPLY=($(compgen -W "$(stratum completion --references 2> /dev/null)" -- "$word"))
          if declare -F __ltrim_colon_completions > /dev/null; then __ltrim_colon_completions "$word"; fi ;;
      esac ;;
  esac
}
complete -o default -F _stratum stratum`
}

function zsh(commands: readonly CommandSpec[]): string {
  const described = commands.map(({ name, summary }) => `    '${name}:${summary.replaceAll("'", '’')}'`).join('\n')
  const cases = commands.map(spec => `    ${spec.name}) options=(${optionNames(spec).join(' ')}) ;;`).join('\n')
  return `#compdef stratum
# stratum completion for zsh: eval "$(stratum completion zsh)"
_stratum() {
  local -a commands options references
  commands=(
${described}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  case $words[2] in
${cases}
  esac
  if [[ $words[CURRENT] == -* ]]; then
    compadd -- $options
    return
  fi
  case $words[2] in
    ${takingReferences(commands).join('|')})
      references=(\${(f)"$(stratum completion --references 2> /dev/null)"})
      compadd -- $references ;;
  esac
  _files
}
compdef _stratum stratum`
}

function fish(commands: readonly CommandSpec[]): string {
  const lines = commands.flatMap(spec => [
    `complete -c stratum -n __fish_use_subcommand -f -a ${spec.name} -d '${spec.summary.replaceAll("'", "\\'")}'`,
    ...optionNames(spec).map(
      long => `complete -c stratum -n '__fish_seen_subcommand_from ${spec.name}' -l ${long.slice(2)}`,
    ),
  ])
  return [
    '# stratum completion for fish: stratum completion fish | source',
    ...lines,
    `complete -c stratum -n '__fish_seen_subcommand_from ${takingReferences(commands).join(' ')}' -a '(stratum completion --references 2> /dev/null)'`,
  ].join('\n')
}
