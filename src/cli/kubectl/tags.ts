import { listObjects } from '../../kube/client/objects.ts'
import { STRATUM_LABELS } from '../../kube/resources/stratum.ts'
import { formatTable } from '../format.ts'
import type { Command, Outcome } from '../invocation.ts'
import { type Access, type KubectlOptions, labelOf, openAccess, requireLabel } from './access.ts'

const ID_DIGITS = 12

export const run: Command<KubectlOptions> = async invocation => {
  await using access = await openAccess(invocation)
  const [text] = invocation.args
  return text === undefined ? await listLabels(access) : await listTags(access, await labelOf(access, text))
}

async function listTags(access: Access, label: string): Promise<Outcome> {
  const { status = {} } = await requireLabel(access, label)
  const { tags = [], tagCount = tags.length, holder, nodes = [] } = status
  const more = tagCount > tags.length ? [`${tagCount - tags.length} older tags are not listed by the cluster`] : []
  const places = nodes.map(({ nodeName }) => nodeName).join(', ')
  return {
    json: { label, holder: holder?.nodeName, nodes: nodes.map(({ nodeName }) => nodeName), tagCount, tags },
    text: formatTable(
      ['TAG', 'COMMIT', 'TIME'],
      tags.map(({ name, commitId, time = '' }) => [name, commitId.slice(0, ID_DIGITS), time]),
    ),
    quiet: tags.map(({ name }) => name).join('\n'),
    notes: [...more, `on ${places || 'no node'}; HEAD ${holder ? `is on ${holder.nodeName}` : 'is nowhere'}`],
  }
}

async function listLabels({ server, namespace }: Access): Promise<Outcome> {
  const labels = await listObjects(server, STRATUM_LABELS, { namespace })
  return {
    json: {
      labels: labels.map(({ spec, status }) => ({
        label: spec.label,
        holder: status?.holder?.nodeName,
        tagCount: status?.tagCount ?? 0,
      })),
    },
    text: formatTable(
      ['LABEL', 'TAGS', 'HEAD ON'],
      labels.map(({ spec, status }) => [spec.label, String(status?.tagCount ?? 0), status?.holder?.nodeName ?? '-']),
    ),
    quiet: labels.map(({ spec }) => spec.label).join('\n'),
  }
}
