/** metav1.Condition */
export interface Condition {
  readonly type: string
  readonly status: 'True' | 'False' | 'Unknown'
  readonly observedGeneration?: number
  readonly lastTransitionTime: string
  readonly reason: string
  readonly message: string
}

/** What is to be said: a condition without its times. */
export interface Verdict {
  readonly status: Condition['status']
  readonly reason: string
  readonly message: string
}

/**
 * Conditions with some of them set anew. One whose status stays keeps the time since when it is so. Undefined where nothing would change, so that nothing
 * is written.
 */
export function withConditions(
  before: readonly Condition[] | undefined,
  verdicts: Readonly<Record<string, Verdict>>,
  { generation, now }: { generation: number; now: string },
): Condition[] | undefined {
  const conditions = new Map((before ?? []).map(condition => [condition.type, condition]))
  let changed = false
  for (const [type, { status, reason, message }] of Object.entries(verdicts)) {
    const old = conditions.get(type)
    const next: Condition = {
      type,
      status,
      observedGeneration: generation,
      lastTransitionTime: old?.status === status ? old.lastTransitionTime : now,
      reason,
      message: message.slice(0, MESSAGE_CHARACTERS_MAX),
    }
    if (old !== undefined && same(old, next)) continue
    conditions.set(type, next)
    changed = true
  }
  return changed ? [...conditions.values()] : undefined
}

/** That of the schema. */
const MESSAGE_CHARACTERS_MAX = 32_768

export function findCondition(conditions: readonly Condition[] | undefined, type: string): Condition | undefined {
  return conditions?.find(condition => condition.type === type)
}

export function isTrue(conditions: readonly Condition[] | undefined, type: string): boolean {
  return findCondition(conditions, type)?.status === 'True'
}

function same(a: Condition, b: Condition): boolean {
  return (
    a.status === b.status &&
    a.reason === b.reason &&
    a.message === b.message &&
    a.observedGeneration === b.observedGeneration
  )
}

/** RFC 3339 with whole seconds, as Kubernetes writes times. */
export function timestamp(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z')
}
