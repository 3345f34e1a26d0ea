import fs from 'node:fs'

/** Ginkgo's report, as far as it is used here. */
interface Spec {
  readonly ContainerHierarchyTexts: readonly string[] | null
  readonly LeafNodeType: string
  readonly LeafNodeText: string
  readonly State: string
  readonly Failure?: { readonly Message?: string }
}

export interface Outcome {
  readonly passed: number
  readonly failed: readonly string[]
  /** Reasons that the tests themselves gave, and how many they kept from running. */
  readonly skipped: ReadonlyMap<string, number>
}

export function readReport(file: string): Outcome {
  const suites = JSON.parse(fs.readFileSync(file, 'utf8')) as { SpecReports: readonly Spec[] }[]
  const specs = suites.flatMap(suite => suite.SpecReports).filter(({ LeafNodeType }) => LeafNodeType === 'It')
  const skipped = new Map<string, number>()
  for (const { State, Failure } of specs) {
    // Without a reason, a filter left it out.
    if (State !== 'skipped' || !Failure?.Message) continue
    const reason = Failure.Message.replace(/ -+ skipping.*| - skipping.*/s, '').trim()
    skipped.set(reason, (skipped.get(reason) ?? 0) + 1)
  }
  const failed = specs.filter(({ State }) => !['passed', 'skipped', 'pending'].includes(State)).map(nameOf)
  return { passed: specs.filter(({ State }) => State === 'passed').length, failed, skipped }
}

function nameOf({ ContainerHierarchyTexts, LeafNodeText }: Spec): string {
  return [...(ContainerHierarchyTexts ?? []), LeafNodeText].join(' ')
}

/** For docs/conformance.md. */
export function formatOutcome({ passed, failed, skipped }: Outcome): string {
  const left = [...skipped.values()].reduce((sum, count) => sum + count, 0)
  const rows = [...skipped].sort((a, b) => b[1] - a[1]).map(([reason, count]) => `| ${count} | ${reason} |`)
  return [
    `chosen ${passed + failed.length + left}, run ${passed + failed.length}, passed ${passed}, failed ${failed.length}, skipped ${left}`,
    ...failed.map(name => `FAILED ${name}`),
    '| skipped | the test says |',
    '| ------- | ------------- |',
    ...rows,
  ].join('\n')
}
