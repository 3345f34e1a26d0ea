import { hexOf, sha256 } from '../hashes/sha256.ts'
import { listNames } from '../host/files.ts'
import { statPath } from '../host/stat.ts'
import { type CommitId, isCommitId, shortId } from '../names/commit-id.ts'
import { isLabel, type Label, labelOfFolder } from '../names/label.ts'
import { isTag, type Tag } from '../names/tag.ts'
import { toUser } from '../names/text.ts'
import { paths, type Store } from '../store/layout.ts'

/**
 * What a mount of Stratum says of itself in the source field of mountinfo, so that everything can be found out again from the kernel
 * alone: `stratum:app@<commit>.<generation>?store=<id>&at=<place>` is a HEAD, `stratum:app:v1@<commit>?store=…` a commit, read-only.
 */
export interface MountSource {
  /** As it is written: `labelOfSource` tells which one is meant. */
  readonly label: Label
  readonly commit: CommitId
  readonly store: string
  /** Which of several copies of that store, in this boot: `placeOf`. */
  readonly place?: string | undefined
  /** Of a HEAD. */
  readonly generation: number | undefined
  /** The tag by which a read-only mount was asked for. */
  readonly tag: Tag | undefined
}

const SOURCE = /^stratum:([^:@?]+)(?::([^@?]+))?@([0-9a-f]{64})(?:\.(\d+))?\?store=([0-9a-f-]{36})(?:&at=([0-9.]+))?$/

/** A string that the kernel takes as a mount option, without its final NUL (fsconfig(2)). */
const BYTES_MAX = 255
/** In the place of a label that does not fit; the rest is of its SHA-256. */
const SHORTENED = /^~[0-9a-f]{32}$/
/** In the place of a tag that does not fit. */
const NO_TAG = '-' as Tag

/** As much as fits: a tag goes first, for it is only shown, then the label, which can be found by its hash. */
export function formatMountSource(source: MountSource): string {
  const tag = source.generation === undefined ? NO_TAG : undefined
  const withLabel = [source, { ...source, tag }].map(format).find(fits)
  if (withLabel !== undefined) return withLabel
  const label = shorten(source.label)
  return (
    [
      { ...source, label },
      { ...source, label, tag },
    ]
      .map(format)
      .find(fits) ?? format(source)
  )
}

function fits({ length }: string): boolean {
  return length <= BYTES_MAX
}

function shorten(label: Label): Label {
  return `~${hexOf(sha256(Buffer.from(label))).slice(0, 32)}` as Label
}

/** The label that a source means: it may have been too long for it. One that is not in the store (any more) stays as it was written. */
export function labelOfSource(store: Store, { label }: MountSource): Label {
  if (!SHORTENED.test(label)) return label
  const labels = listNames(paths.refs(store)).map(labelOfFolder)
  return labels.find(each => each !== undefined && shorten(each) === label) ?? label
}

/** Whether a source means this label; nothing is read for that. */
export function isSourceOf(label: Label, { label: written }: MountSource): boolean {
  return written === label || (SHORTENED.test(written) && written === shorten(label))
}

function format({ label, commit, store, place, generation, tag }: MountSource): string {
  const what = generation === undefined ? `${label}:${tag ?? commit}@${commit}` : `${label}@${commit}.${generation}`
  return `stratum:${what}?store=${store}${place === undefined ? '' : `&at=${place}`}`
}

/** The folder of a store as the kernel knows it: a copy has the same id, and its mounts must not be taken for those of the original. */
export function placeOf({ path }: Store): string {
  const { fileSystem, inode } = statPath(path)
  return `${fileSystem}.${inode}`
}

export function parseMountSource(text: string): MountSource | undefined {
  const [, label, tag, commit, generation, store, place] = SOURCE.exec(text) ?? []
  if (label === undefined || !(isLabel(label) || SHORTENED.test(label)) || !isCommitId(commit)) return undefined
  return {
    label: label as Label,
    commit,
    store,
    place,
    generation: generation === undefined ? undefined : Number(generation),
    tag: tag !== undefined && tag !== commit && isTag(tag) ? tag : undefined,
  }
}

/** What is mounted, for people: `HEAD of app`, `app:v1`, and of what is not ours its source as it is. */
export function describeSource(text: string): string {
  const source = parseMountSource(text)
  if (source === undefined) return toUser(text)
  const { label, commit, generation, tag } = source
  return generation === undefined ? `${label}:${tag ?? shortId(commit)}` : `HEAD of ${label}`
}
