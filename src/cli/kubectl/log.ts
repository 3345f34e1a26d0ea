import { listObjects } from '../../kube/client/objects.ts'
import { findCondition } from '../../kube/resources/conditions.ts'
import { STRATUM_COMMITS, type StratumCommit } from '../../kube/resources/stratum.ts'
import { formatTable } from '../format.ts'
import type { Command } from '../invocation.ts'
import { type KubectlOptions, labelOf, openAccess } from './access.ts'

const ID_DIGITS = 12

export const run: Command<KubectlOptions> = async invocation => {
  await using access = await openAccess(invocation)
  const label = await labelOf(access, invocation.args[0])
  const { server, namespace } = access
  const found = await listObjects(server, STRATUM_COMMITS, { namespace, fieldSelector: `spec.label=${label}` })
  const entries = found.map(entryOf).sort((a, b) => b.time.localeCompare(a.time))
  return {
    json: { label, requests: entries },
    text: formatTable(
      ['TIME', 'COMMIT', 'TAGS', 'REASON', 'NAME', 'MESSAGE'],
      entries.map(({ time, commit = '-', tags, reason, name, message }) => [
        time,
        commit.slice(0, ID_DIGITS),
        tags.join(','),
        reason,
        name,
        message,
      ]),
    ),
    quiet: entries.flatMap(({ commit }) => (commit === undefined ? [] : [commit])).join('\n'),
    notes: ['The log on the node (stratum log) also has what was done there, and by snapshots'],
  }
}

function entryOf({ metadata, spec, status }: StratumCommit): {
  time: string
  name: string
  commit: string | undefined
  tags: string[]
  reason: string
  message: string
} {
  return {
    time: status?.completionTime ?? metadata.creationTimestamp,
    name: metadata.name,
    commit: status?.commitId,
    tags: (status?.tags ?? []).map(({ name }) => name),
    reason: findCondition(status?.conditions, 'Ready')?.reason ?? 'Pending',
    message: (spec.message ?? '').split('\n')[0],
  }
}
