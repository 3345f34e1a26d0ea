import { StratumError } from '../../errors/stratum-error.ts'
import { shortId } from '../../names/commit-id.ts'
import { parseReference } from '../../names/reference.ts'
import { collectBehind } from '../../repository/collect.ts'
import { countUncommitted, planRemoval, type RemovalPlan, removeReference } from '../../repository/remove.ts'
import { collectedJson, describeCollected } from '../collected.ts'
import { count } from '../format.ts'
import { type Command, openContext } from '../invocation.ts'

interface Options {
  readonly yes: boolean
  readonly dryRun: boolean
}

export const run: Command<Options> = async invocation => {
  const { options, confirm } = invocation
  const reference = parseReference(invocation.args[0])
  const context = await openContext(invocation)
  const plan = planRemoval(context.store, reference)
  const uncommitted = plan.tag === undefined ? await countUncommitted(context, plan.label) : undefined
  const json = {
    label: plan.label,
    ...(plan.tag && { tag: plan.tag, commit: plan.commit }),
    tags: plan.tags,
    ...(uncommitted !== undefined && { uncommitted }),
    dryRun: options.dryRun,
  }
  if (options.dryRun) return { json, text: `would remove ${describe(plan, uncommitted)}` }
  if (plan.tag === undefined && !options.yes) await requireConsent(plan, uncommitted, confirm)
  await removeReference(context, reference)
  // The removal is done, whatever becomes of the collection.
  const collected = await collectBehind(context, { allowEmpty: plan.tag === undefined })
  const { lines, warnings } = describeCollected(collected)
  return {
    json: { ...json, collected: collectedJson(collected) },
    notes: [`removed ${describe(plan, uncommitted)}`, ...lines],
    warnings,
  }
}

/** `app:v1 (a1b2c3d4e5f6)`, or `app with HEAD, its uncommitted changes (3 files) and 2 tags`. */
function describe({ label, tag, commit, tags }: RemovalPlan, uncommitted = 0): string {
  if (tag !== undefined) return `${label}:${tag}${commit === undefined ? '' : ` (${shortId(commit)})`}`
  const changes = uncommitted === 0 ? '' : `, its uncommitted changes (${count(uncommitted, 'file')})`
  return `${label} with HEAD${changes} and ${count(tags.length, 'tag')}`
}

/** @throws usage without a terminal, interrupted when the answer is no */
async function requireConsent(
  plan: RemovalPlan,
  uncommitted: number | undefined,
  confirm: (question: string) => Promise<boolean | undefined>,
): Promise<void> {
  const what = describe(plan, uncommitted)
  const answer = await confirm(`Remove ${what}?`)
  if (answer === undefined)
    throw new StratumError('usage', `removing the whole label needs --yes where nobody can be asked: ${what}`, {
      hint: `stratum remove ${plan.label} --dry-run shows what would go`,
    })
  if (!answer) throw new StratumError('interrupted', 'nothing was removed')
}
