import fs from 'node:fs'
import { isErrno } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { readCommit } from '../commits/commit-store.ts'
import type { CommitMetadata } from '../commits/metadata.ts'
import { close, openDirectory, openDirectoryBeneath, openFileAt } from '../host/descriptors.ts'
import { exists, listNames, nameOf, parentOf } from '../host/files.ts'
import { createVerityHasher, type Digest, verityOf } from '../hashes/verity.ts'
import type { Label } from '../names/label.ts'
import { formatReference, type Reference } from '../names/reference.ts'
import type { Tag } from '../names/tag.ts'
import { toUser } from '../names/text.ts'
import { resolveCommit } from '../refs/resolve.ts'
import { readTags } from '../refs/tags.ts'
import { paths, type Store } from '../store/layout.ts'
import { isDirectory } from '../tree/append.ts'
import { childrenOf, entryOfView, type View } from '../tree/diff.ts'
import type { Entry } from '../tree/entry.ts'
import type { Context } from './context.ts'
import { look } from './look.ts'
import { openView } from './views.ts'

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
  const view = await look(context, [reference], async () => (await openView(store, reference, signal)).view)
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

/** Bytes that are in the image, or a file that is open. */
type Opened = Uint8Array | { readonly file: number; readonly size: number; readonly digest: string | undefined }

/** The bytes of a file in a commit or in HEAD, piece by piece. An object is checked whole before its first byte where it is small. */
export async function* readFileOf(context: Context, reference: Reference, path: string): AsyncGenerator<Uint8Array> {
  // Who reads the pieces may take any time, so no lock is held: what is open stays.
  using files = new DisposableStack()
  const opened = await look(context, [reference], async () => await openFileOf(context, reference, path, files))
  if (opened instanceof Uint8Array) yield opened
  else yield* piecesOf(opened)
}

async function openFileOf(
  { store, signal }: Context,
  reference: Reference,
  path: string,
  files: DisposableStack,
): Promise<Opened> {
  const { view } = await openView(store, reference, signal)
  const { found, at } = descend(view, path, reference)
  const { mode, digest, data, size } = entryOfView(found)
  if (mode >> 12 !== 8)
    throw new StratumError('usage', `${toUser(at)} in ${formatReference(reference)} is no regular file`)
  if (digest === undefined) return Buffer.from(data, 'latin1')
  const object = paths.object(store, digest)
  const isStored = reference.kind === 'name' || exists(object)
  const file = isStored
    ? openBeneath(parentOf(object), nameOf(object))
    : openInHead(store, reference.label, at, { digest, size })
  files.defer(() => close(file))
  return { file, size, digest: isStored ? digest : undefined }
}

/** @throws not-found where it was removed since HEAD was looked at */
function openInHead(store: Store, label: Label, path: string, content: { digest: Digest; size: number }): number {
  const file =
    openUnless(['ENOENT', 'ENOTDIR', 'ELOOP'], paths.upper(store, label), path) ??
    findInIndex(`${paths.work(store, label)}/index`, content)
  if (file !== undefined) return file
  throw new StratumError('not-found', `${toUser(path)} in ${label} was removed or replaced just now`)
}

function openUnless(codes: readonly string[], top: string, path: string): number | undefined {
  try {
    return openBeneath(top, path)
  } catch (error) {
    if (isErrno(error, ...codes)) return undefined
    throw error
  }
}

/** What was written through one name of a hard link of the base is, for the other names, only where overlayfs keeps its inodes. */
function findInIndex(folder: string, { digest, size }: { digest: Digest; size: number }): number | undefined {
  for (const name of listNames(folder).filter(name => !name.startsWith('#'))) {
    const file = openUnless(['ENOENT', 'ELOOP', 'ENXIO'], folder, name) // gone by now, a symlink, a socket
    if (file === undefined) continue
    const stat = fs.fstatSync(file)
    if (stat.isFile() && stat.size === size && verityOfFile(file) === digest) return file
    close(file)
  }
  return undefined
}

function verityOfFile(file: number): Digest {
  const hasher = createVerityHasher()
  const piece = Buffer.allocUnsafe(PIECE_BYTES)
  for (let position = 0, length = 1; length > 0; position += length) {
    length = fs.readSync(file, piece, 0, piece.length, position)
    hasher.update(piece.subarray(0, length))
  }
  return hasher.digest()
}

/** Whoever writes to HEAD may put a symlink into the way at any time: none is followed. */
function openBeneath(top: string, path: string): number {
  using folders = new DisposableStack()
  const folder = folders.adopt(openDirectory(top), close)
  const at = path.lastIndexOf('/')
  return openFileAt(
    at < 0 ? folder : folders.adopt(openDirectoryBeneath(folder, path.slice(0, at)), close),
    path.slice(at + 1),
  )
}

async function* piecesOf({ file, size, digest }: Exclude<Opened, Uint8Array>): AsyncGenerator<Uint8Array> {
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
    if (length === 0) return // HEAD's file was cut off meanwhile
    position += length
    yield bytes
  }
}

export interface ShownCommit {
  readonly metadata: CommitMetadata
  /** Every tag of the label that names it. */
  readonly tags: readonly Tag[]
}

/** @throws not-found */
export async function showCommit(context: Context, reference: Reference): Promise<ShownCommit> {
  return await look(context, [], () => {
    const { store } = context
    const { id, label } = resolveCommit(store, reference)
    const tags = [...readTags(store, label)].flatMap(([tag, commit]) =>
      commit === id && tag !== (id as string) ? [tag] : [],
    )
    return { metadata: readCommit(store, id), tags }
  })
}
