import type { MergePatch } from '../client/objects.ts'
import { timestamp, type Verdict, withConditions } from './conditions.ts'
import type { CommitSize, CommitStatus, StatusTag, StratumCommit } from './stratum.ts'

/** The conditions of a StratumCommit. Ready is the summary; Stalled says that it ended without success. */
export type ConditionType = 'Ready' | 'Accepted' | 'Committed' | 'Tagged' | 'Stalled'
export type Verdicts = Readonly<Partial<Record<ConditionType, Verdict>>>

const unknown = (reason: string, message: string): Verdict => ({ status: 'Unknown', reason, message })
const yes = (reason: string, message: string): Verdict => ({ status: 'True', reason, message })
const no = (reason: string, message: string): Verdict => ({ status: 'False', reason, message })

/** Nobody has begun, and why. All conditions are there from the first visit. */
export function waiting(reason: string, message: string): Verdicts {
  const accepted = reason === 'Pending' ? unknown(reason, message) : no(reason, message)
  return {
    Ready: accepted,
    Accepted: accepted,
    Committed: unknown(reason, message),
    Tagged: unknown(reason, message),
    Stalled: no(reason, message),
  }
}

/** A node has taken the request. */
export function taken(nodeName: string): Verdicts {
  const message = `node ${nodeName} is at it`
  return {
    Ready: unknown('InProgress', message),
    Accepted: yes('Accepted', `node ${nodeName} carries the request out`),
    Committed: unknown('InProgress', message),
    Tagged: unknown('InProgress', message),
    Stalled: no('InProgress', message),
  }
}

/** It did not work and is tried again. */
export function retrying(reason: string, message: string): Verdicts {
  const again = `${message}; it is tried again until the deadline`
  return { Ready: no(reason, again), Committed: no(reason, again), Stalled: no(reason, again) }
}

/** The end without success. `isCommitted`: the commit is there, its tags are not. */
export function failed(reason: string, message: string, isTagged: boolean | undefined): Verdicts {
  return {
    Ready: no(reason, message),
    Committed: no(reason, message),
    Tagged: isTagged === false ? no(reason, message) : no('NotCommitted', message),
    Stalled: yes(reason, message),
  }
}

/** What a request made. */
export interface Made {
  readonly commitId: string
  readonly parentId: string | undefined
  readonly merkleRoot: string | undefined
  readonly size: CommitSize | undefined
  readonly pauseMilliseconds: number | undefined
  readonly unchanged: boolean
  readonly tags: readonly StatusTag[]
}

export function succeeded({ commitId, unchanged, tags }: Made, hasHead: boolean): Verdicts {
  const id = commitId.slice(0, 12)
  const names = tags.map(({ name }) => name).join(', ')
  const committed = !hasHead
    ? yes('Existing', `commit ${id} was there`)
    : unchanged
      ? yes('NothingToCommit', `nothing changed since commit ${id}`)
      : yes('Committed', `commit ${id}`)
  return {
    Ready: yes('Completed', names === '' ? committed.message : `${committed.message}, tagged ${names}`),
    Committed: committed,
    Tagged: yes('Tagged', names === '' ? 'no tags were asked for' : names),
    Stalled: no('Completed', 'it is done'),
  }
}

/** The fields of the status of what was made. */
export function madeFields({ commitId, parentId, merkleRoot, size, pauseMilliseconds, tags }: Made): CommitStatus {
  return {
    commitId,
    ...(parentId === undefined ? {} : { parentId }),
    ...(merkleRoot === undefined ? {} : { merkleRoot }),
    ...(size === undefined ? {} : { size }),
    ...(pauseMilliseconds === undefined ? {} : { pauseMilliseconds }),
    ...tagFields(tags),
  }
}

export function tagFields(tags: readonly StatusTag[]): CommitStatus {
  return { tags, tagNames: tags.map(({ name }) => name).join(',') }
}

/**
 * What has to be written so that the status says this, or undefined where it does already. observedGeneration and the times of conditions are put in
 * here.
 */
export function statusPatch(
  { metadata, status = {} }: StratumCommit,
  verdicts: Verdicts,
  fields: CommitStatus | Readonly<Record<string, unknown>> = {},
  now: number = Date.now(),
): MergePatch | undefined {
  const generation = metadata.generation ?? 1
  const conditions = withConditions(status.conditions, verdicts, { generation, now: timestamp(now) })
  const changed = Object.entries(fields).filter(([key, value]) => {
    const before = (status as Record<string, unknown>)[key]
    return JSON.stringify(before ?? null) !== JSON.stringify(value ?? null)
  })
  if (conditions === undefined && changed.length === 0 && status.observedGeneration === generation) return undefined
  return {
    observedGeneration: generation,
    ...Object.fromEntries(changed),
    ...(conditions === undefined ? {} : { conditions }),
  }
}

/** When the request's time is up, in milliseconds since the epoch. */
export function deadlineOf({ metadata, spec, status }: StratumCommit): number {
  return Date.parse(status?.startTime ?? metadata.creationTimestamp) + spec.deadlineSeconds * 1000
}
