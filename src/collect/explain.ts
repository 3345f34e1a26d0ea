import { listCommits } from '../commits/commit-store.ts'
import { openCommitImage } from '../commits/open-image.ts'
import type { Arena, Image } from '../erofs/arena.ts'
import { eachDigest, eachObjectFile } from '../erofs/digests.ts'
import { isStratumError, StratumError } from '../errors/stratum-error.ts'
import { createDigestTable, type DigestTable } from '../hashes/digest-table.ts'
import type { Digest } from '../hashes/verity.ts'
import { listNames } from '../host/files.ts'
import { type CommitId, isCommitPrefix, PREFIX_DIGITS_MIN } from '../names/commit-id.ts'
import { quote } from '../names/label.ts'
import { paths, type Store } from '../store/layout.ts'
import { listTrash, SWEEP_KIND } from '../store/trash.ts'
import type { Decision } from './decide-commits.ts'
import { type Mention, readMentions } from './mentions.ts'
import { decide, type SurveyOptions } from './survey.ts'

/** What keeps a commit or an object, or that nothing does. */
export interface Explanation {
  readonly kind: 'commit' | 'object'
  readonly id: string
  /** `kept`; `garbage`: the next collection takes it; `trash`: a collection took it. */
  readonly state: 'kept' | 'garbage' | 'trash'
  readonly commits: readonly ExplainedCommit[]
}

/** A commit and what keeps it. */
export interface ExplainedCommit {
  readonly id: CommitId
  /** What keeps it, as people know it; empty if nothing does. */
  readonly holders: readonly string[]
  /** The names it had. */
  readonly mentions: readonly Mention[]
  /** Of an object: where the commit has it. */
  readonly paths: readonly string[]
}

/** What explanations are made from. */
interface Facts {
  readonly store: Store
  readonly decision: Decision
  readonly mentions: ReadonlyMap<CommitId, readonly Mention[]>
}

/** The commits and objects that an id, or the beginning of one, means. @throws usage, not-found */
export async function explain(store: Store, text: string, options: SurveyOptions = {}): Promise<Explanation[]> {
  const id = text.toLowerCase().replace('/', '')
  if (!isCommitPrefix(id)) {
    throw new StratumError('usage', `${quote(text)} is neither a commit nor an object`, {
      hint: `Name label:tag, or ${PREFIX_DIGITS_MIN} or more digits of the id of a commit or object`,
    })
  }
  const decision = await decide(store, { ...options, allowEmpty: true })
  const facts: Facts = { store, decision, mentions: readMentions(store) }
  const commits = [...decision.stay.keys(), ...decision.go].filter(commit => commit.startsWith(id))
  const found = [
    ...commits.map(commit => explainCommit(facts, commit)),
    ...explainObjects(facts, objectsLike(store, id)),
    ...explainTrash(facts, id),
  ]
  if (found.length === 0) throw new StratumError('not-found', `the store has no commit and no object ${quote(text)}`)
  return found
}

function explainCommit(facts: Facts, id: CommitId): Explanation {
  const state = facts.decision.stay.has(id) ? 'kept' : 'garbage'
  return { kind: 'commit', id, state, commits: [explained(facts, id, [])] }
}

function explained({ decision, mentions }: Facts, id: CommitId, paths: readonly string[]): ExplainedCommit {
  const holders = (decision.stay.get(id) ?? []).map(({ holder }) => holder)
  const openness = decision.held.find(({ commit }) => commit === id)?.openness
  if (openness === 'open')
    holders.push('somebody who has its image open (a mount that is not seen from here, or a reader)')
  if (openness === 'unknown') holders.push('doubt: it cannot be told whether its image is mounted')
  return { id, holders, mentions: mentions.get(id) ?? [], paths }
}

function objectsLike(store: Store, id: string): Digest[] {
  const folder = id.slice(0, 2)
  return listNames(`${paths.objects(store)}/${folder}`)
    .map(name => folder + name)
    .filter(digest => digest.length === 64 && digest.startsWith(id))
}

function explainObjects(facts: Facts, digests: readonly Digest[]): Explanation[] {
  if (digests.length === 0) return []
  const wanted = createDigestTable()
  for (const digest of digests) wanted.addDigest(digest)
  const uses = digests.map((): ExplainedCommit[] => [])
  for (const [id, image] of images(facts.store))
    for (const [number, where] of pathsOf(image, wanted)) uses[number].push(explained(facts, id, where))
  return digests.map((id, number) => {
    const commits = uses[number].sort((a, b) => b.holders.length - a.holders.length)
    return {
      kind: 'object',
      id,
      state: commits.some(({ holders }) => holders.length > 0) ? 'kept' : 'garbage',
      commits,
    }
  })
}

function* images(store: Store): Generator<[CommitId, Image]> {
  let memory: Arena | undefined
  for (const id of listCommits(store)) {
    try {
      const image = openCommitImage(store, id, 0, memory)
      memory = image.arena
      yield [id, image]
    } catch (error) {
      if (!isStratumError(error, 'integrity') && !isStratumError(error, 'not-found')) throw error
    }
  }
}

/** The paths of the wanted objects, by their numbers. The names are only walked where there is one. */
function pathsOf(image: Image, wanted: DigestTable): Map<number, string[]> {
  const found = new Map<number, string[]>()
  eachDigest(image, (words, word) => {
    const number = wanted.find(words, word)
    if (number >= 0) found.set(number, [])
  })
  if (found.size > 0)
    eachObjectFile(image, ({ path, words, word }) => void found.get(wanted.find(words, word))?.push(path))
  return found
}

function explainTrash({ store, mentions }: Facts, id: string): Explanation[] {
  const found: Explanation[] = []
  for (const { kind, path } of listTrash(store)) {
    if (kind !== SWEEP_KIND) continue
    for (const name of listNames(`${path}/commits`).filter(name => name.startsWith(id))) {
      const commit = { id: name as CommitId, holders: [], mentions: mentions.get(name as CommitId) ?? [], paths: [] }
      found.push({ kind: 'commit', id: name, state: 'trash', commits: [commit] })
    }
    for (const name of listNames(`${path}/objects`).filter(name => name.startsWith(id)))
      found.push({ kind: 'object', id: name, state: 'trash', commits: [] })
  }
  return found
}
