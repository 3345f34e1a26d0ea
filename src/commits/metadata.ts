import { parse, stringify } from 'smol-toml'
import { StratumError } from '../errors/stratum-error.ts'
import type { Digest } from '../hashes/verity.ts'
import { treeDepth } from '../hashes/merkle.ts'
import { type CommitId, isCommitId } from '../names/commit-id.ts'

/** What `metadata.toml` says of a commit: the tree's hashes and counts, and who stored it first. */
export interface CommitMetadata {
  readonly id: CommitId
  /** Hexadecimal. */
  readonly merkleRoot: string
  /** When the first writer stored it, RFC 3339 in UTC. */
  readonly timestamp: string
  readonly parent: CommitId | undefined
  /** Entries that are no directories. */
  readonly files: number
  /** Bytes of all regular files. */
  readonly bytes: number
  /** fs-verity digest of commit.cfs. */
  readonly imageDigest: Digest
  readonly message: string | undefined
  readonly author: string | undefined
}

/** Version of the entry encoding that the hashes are made of. */
const ENTRY_VERSION = 1
/** Version in the image's composefs header. */
const IMAGE_VERSION = 0

/** The tables and keys of the specification, in its order, and three that were added. */
export function formatMetadata(commit: CommitMetadata): string {
  const { id, merkleRoot, timestamp, parent, files, bytes, imageDigest, message, author } = commit
  const optional = { ...(message === undefined ? {} : { message }), ...(author === undefined ? {} : { author }) }
  return stringify({
    commit: {
      merkle_root: merkleRoot,
      metadata_hash: id,
      timestamp,
      ...(parent === undefined ? {} : { parent_commit: parent }),
      ...optional,
    },
    files: { count: files, total_size: bytes },
    merkle: { leaf_count: files, tree_depth: treeDepth(files) },
    stratum: { entry: ENTRY_VERSION },
    composefs: { digest: imageDigest, version: IMAGE_VERSION },
  })
}

/** @throws integrity, unsupported (a later entry encoding) */
export function parseMetadata(text: string, id: CommitId): CommitMetadata {
  try {
    const { commit, files, stratum, composefs } = parse(text) as Record<string, Record<string, unknown>>
    if (stratum.entry !== ENTRY_VERSION)
      throw new StratumError('unsupported', `commit ${id} has entries of version ${String(stratum.entry)}`)
    if (commit.metadata_hash !== id) throw new Error(`it is that of commit ${String(commit.metadata_hash)}`)
    return {
      id,
      merkleRoot: hashOf(commit.merkle_root),
      timestamp: textOf(commit.timestamp),
      parent: commit.parent_commit === undefined ? undefined : (hashOf(commit.parent_commit) as CommitId),
      files: countOf(files.count),
      bytes: countOf(files.total_size),
      imageDigest: hashOf(composefs.digest),
      message: commit.message === undefined ? undefined : textOf(commit.message),
      author: commit.author === undefined ? undefined : textOf(commit.author),
    }
  } catch (error) {
    if (error instanceof StratumError) throw error
    throw new StratumError(
      'integrity',
      `metadata.toml of commit ${id} is damaged: ${(error as Error).message.split('\n')[0]}`,
      { cause: error },
    )
  }
}

function hashOf(value: unknown): string {
  if (typeof value === 'string' && isCommitId(value)) return value
  throw new Error('a hash is missing')
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  throw new Error('a text is missing')
}

function countOf(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw new Error('a count is missing')
}
