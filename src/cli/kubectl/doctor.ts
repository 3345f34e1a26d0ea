import { forgetNode } from '../../kube/forget-node.ts'
import { inspectCluster } from '../../kube/inspect-cluster.ts'
import { formatTable } from '../format.ts'
import type { Command, Outcome } from '../invocation.ts'
import { type Access, type KubectlOptions, openAccess } from './access.ts'

interface Options extends KubectlOptions {
  readonly forgetNode?: string
}

/** As `stratum doctor`: something is missing. */
const EXIT_MISSING = 11
const MARKS = { ok: 'ok', note: 'note', wrong: 'WRONG' } as const

export const run: Command<Options> = async invocation => {
  await using access = await openAccess(invocation)
  const { forgetNode: nodeName } = invocation.options
  return nodeName === undefined ? await inspect(access) : await forget(access, nodeName)
}

async function inspect({ server }: Access): Promise<Outcome> {
  const findings = await inspectCluster(server)
  const wrong = findings.filter(({ state }) => state === 'wrong')
  return {
    json: { findings },
    text: formatTable(
      ['', 'WHAT', 'FOUND'],
      findings.map(({ what, found, state }) => [MARKS[state], what, found]),
    ),
    notes: findings.flatMap(({ what, advice }) => (advice === undefined ? [] : [`${what}: ${advice}`])),
    quiet: wrong.map(({ what }) => what).join('\n'),
    exitCode: wrong.length > 0 ? EXIT_MISSING : 0,
  }
}

async function forget({ server }: Access, nodeName: string): Promise<Outcome> {
  const cleared = await forgetNode(server, nodeName)
  return {
    json: { node: nodeName, cleared },
    text: cleared.map(what => `cleared ${what}`),
    quiet: nodeName,
    notes: cleared.length === 0 ? [`nothing is left of node ${nodeName}`] : [],
  }
}
