import { StratumError } from '../../errors/stratum-error.ts'
import { shortId } from '../../names/commit-id.ts'
import { parseReference } from '../../names/reference.ts'
import { planRemoval, type RemovalPlan, removeReference } from '../../repository/remove.ts'
import { collectBehind } from '../../repository/collect.ts'
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
  const json = {
    label: plan.label,
    ...(plan.tag && { tag: plan.tag, commit: plan.commit }),
    tags: plan.tags,
    dryRun: options.dryRun,
  }
  if (options.dryRun) return { json, text: describe(plan, 'would remove') }
  if (plan.tag === undefined && !options.yes) await requireConsent(plan, confirm)
  await removeReference(context, reference)
  const collected = await collectBehind(context, { allowEmpty: plan.tag === undefined })
  const { lines, warnings } = describeCollected(collected)
  return {
    json: { ...json, collected: collectedJson(collected) },
    notes: [describe(plan, 'removed'), ...lines],
    warnings,
  }
}

function describe({ label, tag, commit, tags }: RemovalPlan, verb: string): string {
  if (tag !== undefined) return `${verb} ${label}:${tag}${commit === undefined ? '' : ` (${shortId(commit)})`}`
  return `${verb} ${label} with HEAD and ${count(tags.length, 'tag')}`
}

/** @throws usage without a terminal, interrupted when the answer is no */
async function requireConsent(
  plan: RemovalPlan,
  confirm: (question: string) => Promise<boolean | undefined>,
): Promise<void> {
  const { label, tags, uncommitted } = plan
  const changes =
    uncommitted === undefined
      ? ''
      : ` and its uncommitted changes (${count(uncommitted.added + uncommitted.modified + uncommitted.removed, 'file')})`
  const answer = await confirm(`Remove ${label} with HEAD${changes} and ${count(tags.length, 'tag')}?`)
  if (answer === undefined)
    throw new StratumError('usage', `removing the whole label ${label} needs --yes where nobody can be asked`)
  if (!answer) throw new StratumError('interrupted', 'nothing was removed')
}
