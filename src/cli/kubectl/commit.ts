import { setTimeout as sleep } from 'node:timers/promises'
import { randomBytes } from 'node:crypto'
import { StratumError } from '../../errors/stratum-error.ts'
import { createObject, getObject, keyOf } from '../../kube/client/objects.ts'
import { findCondition } from '../../kube/resources/conditions.ts'
import { type CommitSpec, STRATUM_COMMITS, type StratumCommit } from '../../kube/resources/stratum.ts'
import type { Command, Outcome } from '../invocation.ts'
import { type Access, type KubectlOptions, labelOf, openAccess } from './access.ts'

interface Options extends KubectlOptions {
  readonly tag?: readonly string[]
  readonly moveTag?: readonly string[]
  readonly message?: string
  readonly consistency: 'freeze' | 'live' | 'idle'
  readonly allowUnclean: boolean
  readonly name?: string
  readonly wait: boolean
  /** Seconds. */
  readonly timeout: number
}

const POLL_MS = 250
/** The end is told a little later than the deadline. */
const SLACK_MS = 30_000

export const run: Command<Options> = async invocation => {
  const { args, options, signal } = invocation
  await using access = await openAccess(invocation)
  const label = await labelOf(access, args[0])
  const metadata = { namespace: access.namespace, name: options.name ?? nameFor(label) }
  // What is left away gets the default of the schema.
  const spec = specOf(label, options) as CommitSpec
  const made = await createObject(access.server, STRATUM_COMMITS, { metadata, spec }, { signal })
  if (!options.wait) {
    const text = `stratumcommit/${made.metadata.name}`
    return { json: { name: made.metadata.name, namespace: access.namespace }, text, quiet: text }
  }
  return outcomeOf(label, await waitForEnd(access, made, options.timeout * 1000 + SLACK_MS, signal))
}

function specOf(label: string, options: Options): Partial<CommitSpec> {
  const { tag = [], moveTag = [], message, consistency, allowUnclean, timeout } = options
  const tags = [
    ...tag.map(name => ({ name, policy: 'IfNotPresent' as const })),
    ...moveTag.map(name => ({ name, policy: 'Move' as const })),
  ]
  return {
    label,
    ...(tags.length === 0 ? {} : { tags }),
    ...(message === undefined ? {} : { message }),
    consistency: `${consistency[0].toUpperCase()}${consistency.slice(1)}` as CommitSpec['consistency'],
    unclean: allowUnclean ? 'Allow' : 'Refuse',
    deadlineSeconds: Math.max(1, Math.round(timeout)),
  }
}

/** As a person reads it, and no other of that name. */
function nameFor(label: string): string {
  const words = label.replaceAll(/[^a-z0-9]+/g, '-').slice(0, 200)
  return `${words}-${randomBytes(3).toString('hex')}`
}

async function waitForEnd(
  { server }: Access,
  made: StratumCommit,
  limitMs: number,
  signal: AbortSignal,
): Promise<StratumCommit> {
  const name = `StratumCommit ${made.metadata.name}`
  for (const until = performance.now() + limitMs; performance.now() < until; ) {
    const object = await getObject(server, STRATUM_COMMITS, keyOf(made), { signal })
    if (object === undefined) throw new StratumError('not-found', `${name} was deleted`)
    if (object.status?.completionTime !== undefined) return object
    await sleep(POLL_MS, undefined, { signal })
  }
  throw new StratumError('timeout', `${name} did not end`, {
    hint: `kubectl describe scm ${made.metadata.name} -n ${made.metadata.namespace} says what it waits for`,
  })
}

function outcomeOf(label: string, { metadata, status = {} }: StratumCommit): Outcome {
  const ready = findCondition(status.conditions, 'Ready')
  if (ready?.status !== 'True' || status.commitId === undefined) {
    throw new StratumError('internal', `StratumCommit ${metadata.name}: ${ready?.reason}: ${ready?.message}`, {
      details: { name: metadata.name, reason: ready?.reason ?? 'Unknown' },
    })
  }
  const { commitId, tags = [], nodeName = '', pauseMilliseconds = 0 } = status
  const named = `${label}:${commitId}`
  return {
    json: { name: metadata.name, label, commit: commitId, tags, node: nodeName, pauseMs: pauseMilliseconds },
    text: named,
    quiet: named,
    notes: [`${ready.message}, on node ${nodeName}`],
  }
}
