import { StratumError } from '../../errors/stratum-error.ts'
import { getObject, patchStatus } from '../../kube/client/objects.ts'
import { isReady, NODES } from '../../kube/resources/core.ts'
import { STRATUM_LABELS } from '../../kube/resources/stratum.ts'
import type { Command } from '../invocation.ts'
import { type KubectlOptions, labelOf, openAccess, requireLabel } from './access.ts'

interface Options extends KubectlOptions {
  readonly force: boolean
}

export const run: Command<Options> = async invocation => {
  await using access = await openAccess(invocation)
  const label = await labelOf(access, invocation.args[0])
  const object = await requireLabel(access, label)
  const holder = object.status?.holder?.nodeName
  if (holder === undefined)
    return { json: { label, released: false }, text: '', notes: [`nobody has HEAD of ${label}`] }
  const node = await getObject(access.server, NODES, { name: holder })
  if (node !== undefined && isReady(node) && !invocation.options.force) {
    throw new StratumError('in-use', `HEAD of ${label} is on node ${holder}, which is ready`, {
      hint: 'Delete the pods and the volume that use it there. With --force it is given up all the same: a node that has it mounted takes it again',
      details: { holder },
    })
  }
  await patchStatus(access.server, STRATUM_LABELS, object, { holder: null })
  return {
    json: { label, released: true, holder },
    text: label,
    quiet: label,
    notes: [`HEAD of ${label} was on ${holder}; what was not committed there is out of reach until that node is back`],
  }
}
