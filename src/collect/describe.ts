import { readCommit } from '../commits/commit-store.ts'
import { openCommitImage } from '../commits/open-image.ts'
import type { CommitMetadata } from '../commits/metadata.ts'
import type { Arena, Image } from '../erofs/arena.ts'
import { eachObjectFile } from '../erofs/digests.ts'
import { isStratumError } from '../errors/stratum-error.ts'
import type { CommitId } from '../names/commit-id.ts'
import type { Store } from '../store/layout.ts'
import { type Mention, readMentions } from './mentions.ts'
import { commitBytes, type Survey } from './survey.ts'

/** A commit that would go, in words that a reader can judge. */
export interface GoingCommit {
  readonly id: CommitId
  /** The names it had. */
  readonly mentions: readonly Mention[]
  /** Undefined where metadata.toml cannot be read. */
  readonly metadata: CommitMetadata | undefined
  /** Bytes on the disk that go with it: its image, and files that no other commit has. */
  readonly bytes: number
  /** Files whose content would be nowhere any more; one that several such commits have is told of the newest. */
  readonly files: number
  /** The largest of them. */
  readonly paths: readonly { readonly path: string; readonly bytes: number }[]
}

export interface Description {
  /** Newest first. */
  readonly commits: readonly GoingCommit[]
  /** Objects that belong to no commit: of imports that were cut off. */
  readonly loose: { readonly objects: number; readonly bytes: number }
}

/** So many paths are told of one commit. */
const PATHS_MAX = 1_000

/** Says what a survey found in names of labels, tags and paths, for nobody can judge a hash. */
export function describeGarbage(store: Store, survey: Survey): Description {
  const mentions = readMentions(store)
  const told = new Uint8Array(survey.garbage.size)
  let memory: Arena | undefined
  const commits = survey.go
    .map(id => ({ id, metadata: unlessDamaged(() => readCommit(store, id)), mentions: mentions.get(id) ?? [] }))
    .sort((a, b) => (whenMade(a) < whenMade(b) ? 1 : -1))
    .map(({ id, metadata, mentions }): GoingCommit => {
      const image = unlessDamaged(() => openCommitImage(store, id, 0, memory))
      memory = image?.arena ?? memory
      const files = image === undefined ? [] : lostFiles(image, survey, told)
      const bytes = files.reduce((sum, file) => sum + file.bytes, commitBytes(store, id))
      const paths = files.sort((a, b) => b.bytes - a.bytes).slice(0, PATHS_MAX)
      return { id, mentions, metadata, bytes, files: files.length, paths }
    })
  return { commits, loose: looseObjects(survey, told) }
}

/** Commits of one second are told apart by when the log names them first. */
function whenMade({ metadata, mentions }: Pick<GoingCommit, 'metadata' | 'mentions'>): string {
  return `${metadata?.timestamp ?? ''} ${mentions.map(({ since }) => since).sort()[0] ?? ''}`
}

function lostFiles(
  image: Image,
  { garbage, garbageBytes }: Survey,
  told: Uint8Array,
): { path: string; bytes: number }[] {
  const files: { path: string; bytes: number }[] = []
  eachObjectFile(image, ({ path, words, word }) => {
    const number = garbage.find(words, word)
    if (number < 0 || told[number] === 1) return
    told[number] = 1
    files.push({ path, bytes: garbageBytes[number] })
  })
  return files
}

function looseObjects({ garbageBytes }: Survey, told: Uint8Array): Description['loose'] {
  const loose = { objects: 0, bytes: 0 }
  for (const [number, bytes] of garbageBytes.entries()) {
    if (told[number] === 1) continue
    loose.objects++
    loose.bytes += bytes
  }
  return loose
}

function unlessDamaged<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (isStratumError(error, 'integrity') || isStratumError(error, 'not-found')) return undefined
    throw error
  }
}
