import assert from 'node:assert/strict'
import fs from 'node:fs'
import { after, test } from 'node:test'
import { unmount } from '../../src/host/mount-api.ts'
import { fromUser } from '../../src/names/text.ts'
import { type FileOperation, startFileOperations } from '../support/fileops.ts'
import { createLab, type Lab } from '../support/lab.ts'
import { createRandom } from '../support/random.ts'
import { firstSeed, scaled } from '../support/scale.ts'

/**
 * Random file operations in a mounted HEAD and in a plain copy of it, with commits, re-mounts, unmounts and folds in between: a commit of
 * HEAD, an import of its mountpoint and an import of the plain copy are always the same commit. STRATUM_TEST_SEED=<n> plays one again.
 */
const SEQUENCES = 500
const SHRINK_TRIES = 60
const operations = startFileOperations()
after(() => operations[Symbol.dispose]())

type Step =
  | { readonly kind: 'run'; readonly ops: readonly FileOperation[] }
  | { readonly kind: 'commit'; readonly consistency: 'live' | 'idle' | 'freeze' }
  | { readonly kind: 'unmount' }
  | { readonly kind: 'kernel-unmount' }
  | { readonly kind: 'remount' }

interface Played {
  readonly failure: string | undefined
  readonly base: readonly FileOperation[]
  readonly steps: Step[]
  readonly refused: readonly string[]
  readonly kinds: ReadonlySet<string>
}

const seen = { kinds: new Set<string>(), refused: new Set<string>(), remounted: new Map<string, number>() }

test('a commit of HEAD is what a plain directory would be after the same operations', async () => {
  const first = firstSeed()
  const replay = process.env.STRATUM_TEST_SEED !== undefined && process.env.STRATUM_TEST_SCALE === undefined
  for (let seed = first; seed < first + (replay ? 1 : scaled(SEQUENCES)); seed++) {
    const played = await play(seed, undefined)
    if (played.failure === undefined) continue
    const smallest = await shrink(seed, played)
    assert.fail(
      `seed ${seed}: ${played.failure}\nsmallest: ${smallest.failure}\nbase: ${JSON.stringify(smallest.base)}\nsteps: ${JSON.stringify(smallest.steps)}`,
    )
  }
})

test('the sequences did every kind of operation and every kind of re-mount', { skip: scaled(10) < 2 }, () => {
  assert.ok(seen.kinds.size >= 50, `only ${seen.kinds.size} kinds: ${[...seen.kinds].join(' ')}`)
  for (const how of ['swapped', 'folded', 'later']) assert.ok((seen.remounted.get(how) ?? 0) > 0, `never ${how}`)
  console.log(`kinds ${seen.kinds.size}; re-mounts ${JSON.stringify(Object.fromEntries(seen.remounted))}`)
  console.log(`refused by HEAD: ${[...seen.refused].sort().join(', ')}`)
})

/** Plays the sequence of a seed, or the given one, and removes what it made. */
async function play(seed: number, given: Pick<Played, 'base' | 'steps'> | undefined): Promise<Played> {
  const lab = await createLab()
  const kinds = new Set<string>()
  const refused: string[] = []
  const steps: Step[] = []
  let base: readonly FileOperation[] = given?.base ?? []
  let failure: string | undefined
  try {
    const plain = lab.makeFolder('plain')
    const begun = await operations.begin(plain, seed, given === undefined ? { count: 30 } : { ops: given.base })
    base = begun.done
    await lab.import(plain)
    await lab.mount()
    await operations.useHead(lab.head)
    for (const step of given?.steps ?? plannedSteps(seed)) {
      const outcome = await takeStep(lab, plain, step)
      steps.push(outcome.step)
      for (const kind of outcome.refused ?? []) refused.push(kind)
      for (const op of outcome.step.kind === 'run' ? outcome.step.ops : []) if (op !== null) kinds.add(op[0])
      failure = outcome.failure
      if (failure === undefined) continue
      const differences = fs.existsSync(lab.head) ? await operations.compare(lab.head, plain).catch(String) : ''
      failure += `; path, in HEAD, in the plain copy: ${JSON.stringify(differences)}`
      break
    }
  } catch (error) {
    failure = `${(error as Error).stack}`
  }
  await operations.run({ ops: [['close_all']] }).catch(() => undefined)
  clearAway(lab)
  if (given === undefined) for (const kind of kinds) seen.kinds.add(kind)
  if (given === undefined) for (const kind of refused) seen.refused.add(kind)
  return { failure, base, steps, refused, kinds }
}

interface Planned {
  readonly kind: 'run'
  readonly count: number
  readonly keeps: boolean
}

function* plannedSteps(seed: number): Generator<Step | Planned> {
  const random = createRandom(seed)
  let open = false
  for (let phases = 2 + random.below(2); phases > 0; phases--) {
    const keeps = random.chance(0.3)
    open ||= keeps
    yield { kind: 'run', count: random.pick([3, 8, 20]), keeps }
    const way = random.below(10)
    if (way < 6)
      yield { kind: 'commit', consistency: random.pick(open ? ['live', 'freeze'] : ['live', 'live', 'idle', 'freeze']) }
    else {
      yield { kind: 'run', ops: [['close_all']] }
      open = false
      yield { kind: random.pick(['unmount', 'kernel-unmount']) }
      if (way < 9) yield { kind: 'commit', consistency: random.pick(['live', 'idle', 'freeze']) }
      yield { kind: 'remount' }
    }
    if (!open || random.chance(0.5)) continue
    yield { kind: 'run', ops: [['close_all']] }
    open = false
  }
  yield { kind: 'run', ops: [['close_all']] }
  yield { kind: 'commit', consistency: 'live' }
}

interface Taken {
  readonly step: Step
  readonly failure?: string | undefined
  readonly refused?: readonly string[]
}

async function takeStep(lab: Lab, plain: string, step: Step | Planned): Promise<Taken> {
  if (step.kind === 'run') {
    const { done, refused, differs } = await operations.run(step)
    const failure =
      differs === undefined ? undefined : `HEAD and the plain copy did not agree: ${JSON.stringify(differs)}`
    return { step: { kind: 'run', ops: done }, failure, refused }
  }
  if (step.kind === 'remount') await lab.mount()
  else if (step.kind === 'unmount') await lab.unmount()
  else if (step.kind === 'kernel-unmount') unmount(fromUser(lab.head))
  else if (step.kind === 'commit') return { step, failure: await commitAndCompare(lab, plain, step.consistency) }
  return { step }
}

async function commitAndCompare(
  lab: Lab,
  plain: string,
  consistency: 'live' | 'idle' | 'freeze',
): Promise<string | undefined> {
  const mounted = fs.readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${lab.head} `)
  const before = mounted ? await lab.import(lab.head, 'mounted') : undefined
  const { commit, remounted, unstable, torn } = await lab.commit({ consistency })
  seen.remounted.set(remounted.how, (seen.remounted.get(remounted.how) ?? 0) + 1)
  const expected = await lab.import(plain, 'plain')
  const after = mounted ? await lab.import(lab.head, 'mounted') : undefined
  const { id } = commit.metadata
  if (unstable.length + torn.length > 0) return `unstable ${unstable.join()} torn ${torn.join()}`
  if (before !== undefined && before !== expected) return 'the mountpoint before the commit is not the plain copy'
  if (id !== expected) return 'the commit is not the plain copy'
  return after !== undefined && after !== expected
    ? `the mountpoint after the commit (${remounted.how}) is not the plain copy`
    : undefined
}

/** Takes away operations, and steps, as long as the sequence still fails. */
async function shrink(seed: number, failed: Played): Promise<Pick<Played, 'failure' | 'base' | 'steps'>> {
  let best: Pick<Played, 'failure' | 'base' | 'steps'> = failed
  let tries = 0
  const attempt = async (base: readonly FileOperation[], steps: Step[]): Promise<boolean> => {
    if (tries++ >= SHRINK_TRIES) return false
    const played = await play(seed, { base, steps })
    if (played.failure === undefined || kindOf(played.failure) !== kindOf(failed.failure ?? '')) return false
    best = { failure: played.failure, base, steps }
    return true
  }
  for (let size = 16; size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < best.base.length; ) if (!(await attempt(without(best.base, at, size), best.steps))) at += size
    for (let number = 0; number < best.steps.length; number++) {
      const step = best.steps[number]
      if (step.kind !== 'run') continue
      for (let at = 0; at < step.ops.length; ) {
        const ops = without((best.steps[number] as typeof step).ops, at, size)
        if (ops.length === (best.steps[number] as typeof step).ops.length) break
        if (!(await attempt(best.base, best.steps.with(number, { kind: 'run', ops })))) at += size
      }
    }
  }
  return best
}

function kindOf(failure: string): string {
  return failure.split(/[:;(\n]/)[0]
}

function without<T>(list: readonly T[], at: number, count: number): T[] {
  return [...list.slice(0, at), ...list.slice(at + count)]
}

function clearAway(lab: Lab): void {
  for (let tries = 0; tries < 3; tries++) {
    try {
      unmount(fromUser(lab.head), 'detach')
    } catch {
      break
    }
  }
  fs.rmSync(lab.folder, { recursive: true, force: true })
}
