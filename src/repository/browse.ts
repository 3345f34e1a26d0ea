import fs from 'node:fs'
import { StratumError } from '../errors/stratum-error.ts'
import { readCommit } from '../commits/commit-store.ts'
import type { CommitMetadata } from '../commits/metadata.ts'
import { verityOf } from '../hashes/verity.ts'
import { formatReference, type Reference } from '../names/reference.ts'
import type { Tag } from '../names/tag.ts'
import { nodePath, toUser } from '../names/text.ts'
import { resolveCommit } from '../refs/resolve.ts'
import { readTags } from '../refs/tags.ts'
import { paths, type Store } from '../store/layout.ts'
import { isDirectory } from '../tree/append.ts'
import { childrenOf, entryOfView, type View } from '../tree/diff.ts'
import type { Entry } from '../tree/entry.ts'
import { type Context, lockOptions } from './context.ts'
import { openView } from './views.ts'
import { lockStore } from '../store/locks.ts'

/** A name in a commit. */
export interface ListedEntry {
  /** From the root, latin1. */
  readonly path: string
  readonly entry: Entry
}

/** The names at a path of a commit or of HEAD: what is in a directory, or the file itself. @throws not-found */
export async function listEntries(
  context: Context,
  reference: Reference,
  path: string,
  recursive: boolean,
): Promise<ListedEntry[]> {
  const { store, signal } = context
  using _lock = await lockStore(store, 'shared', lockOptions(context))
  const { view } = await openView(store, reference, signal)
  const { found, at } = descend(view, path, reference)
  const entry = entryOfView(found)
  if (!isDirectory(entry.mode)) return [{ path: at, entry }]
  const entries: ListedEntry[] = []
  const list = (directory: View, prefix: string): void => {
    const children = childrenOf(directory)
    for (const name of [...children.keys()].sort()) {
      const child = children.get(name) as View
      const childEntry = entryOfView(child)
      entries.push({ path: `${prefix}${name}`, entry: childEntry })
      if (recursive && isDirectory(childEntry.mode)) list(child, `${prefix}${name}/`)
    }
  }
  list(found, at === '' ? '' : `${at}/`)
  return entries
}

function descend(root: View, path: string, reference: Reference): { found: View; at: string } {
  const parts = path.split('/').filter(part => part !== '' && part !== '.')
  let found = root
  for (const [i, part] of parts.entries()) {
    const next = isDirectory(entryOfView(found).mode) ? childrenOf(found).get(part) : undefined
    if (next === undefined) {
      throw new StratumError(
        'not-found',
        `${formatReference(reference)} has no ${toUser(parts.slice(0, i + 1).join('/'))}`,
      )
    }
    found = next
  }
  return { found, at: parts.join('/') }
}

const PIECE_BYTES = 1 << 20

/** The bytes of a file in a commit or in HEAD, piece by piece. An object is checked whole before its first byte where it is small. */
export async function* readFileOf(context: Context, reference: Reference, path: string): AsyncGenerator<Uint8Array> {
  const { store, signal } = context
  using _lock = await lockStore(store, 'shared', lockOptions(context))
  const { view } = await openView(store, reference, signal)
  const { found, at } = descend(view, path, reference)
  const { mode, digest, data, size } = entryOfView(found)
  if (mode >> 12 !== 8)
    throw new StratumError('usage', `${toUser(at)} in ${formatReference(reference)} is no regular file`)
  if (digest === undefined) yield Buffer.from(data, 'latin1')
  else if (reference.kind === 'head' && !fs.existsSync(nodePath(paths.object(store, digest))))
    yield* piecesOf(`${paths.upper(store, reference.label)}/${at}`, undefined, size)
  else yield* piecesOf(paths.object(store, digest), digest, size)
}

async function* piecesOf(path: string, digest: string | undefined, size: number): AsyncGenerator<Uint8Array> {
  const file = fs.openSync(nodePath(path), 'r')
  try {
    const stored = fs.fstatSync(file).size
    if (digest !== undefined && stored !== size)
      throw new StratumError('integrity', `object ${digest} has ${stored} bytes instead of ${size}`, {
        hint: 'stratum fsck --repair',
      })
    for (let position = 0; position < stored; ) {
      const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, stored - position))
      const length = fs.readSync(file, piece, 0, piece.length, position)
      const bytes = piece.subarray(0, length)
      if (digest !== undefined && stored <= PIECE_BYTES && verityOf(bytes) !== digest)
        throw new StratumError('integrity', `object ${digest} is damaged`, { hint: 'stratum fsck --repair' })
      position += length
      yield bytes
    }
  } finally {
    fs.closeSync(file)
  }
}

export interface ShownCommit {
  readonly metadata: CommitMetadata
  /** Every tag of the label that names it. */
  readonly tags: readonly Tag[]
}

export function showCommit(store: Store, reference: Reference): ShownCommit {
  const { id, label } = resolveCommit(store, reference)
  const tags = [...readTags(store, label)].flatMap(([tag, commit]) =>
    commit === id && tag !== (id as string) ? [tag] : [],
  )
  return { metadata: readCommit(store, id), tags }
}
