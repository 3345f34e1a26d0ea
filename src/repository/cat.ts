import fs from 'node:fs'
import { checkFile } from '../check/check-content.ts'
import { isErrno } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { type Digest, verityOf } from '../hashes/verity.ts'
import { close, openDirectory, openDirectoryBeneath, openFileAt } from '../host/descriptors.ts'
import { exists, listNames, nameOf, parentOf } from '../host/files.ts'
import type { Label } from '../names/label.ts'
import { formatReference, type Reference } from '../names/reference.ts'
import { toUser } from '../names/text.ts'
import { paths, type Store } from '../store/layout.ts'
import { entryOfView } from '../tree/diff.ts'
import { descend } from './browse.ts'
import type { Context } from './context.ts'
import { look } from './look.ts'
import { openView } from './views.ts'

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
  const isStored = reference.kind === 'name' || exists(paths.object(store, digest))
  const file = isStored ? openObject(store, digest, at) : openInHead(store, reference.label, at, { digest, size })
  files.defer(() => close(file))
  return { file, size, digest: isStored ? digest : undefined }
}

/** @throws integrity */
function openObject(store: Store, digest: Digest, path: string): number {
  const object = paths.object(store, digest)
  try {
    return openBeneath(parentOf(object), nameOf(object))
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error
    throw new StratumError('integrity', `the object of ${toUser(path)}, ${digest}, is not in the store`, {
      hint: 'stratum fsck --repair',
    })
  }
}

/** @throws not-found where it was removed since HEAD was looked at */
function openInHead(store: Store, label: Label, path: string, content: { digest: Digest; size: number }): number {
  try {
    return openBeneath(paths.upper(store, label), path)
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) throw error
    const index = `${paths.work(store, label)}/index`
    const name = nameInIndex(index, content)
    if (name !== undefined) return openBeneath(index, name)
    throw new StratumError('not-found', `${toUser(path)} in ${label} was removed or replaced just now`)
  }
}

/** What was written through one name of a hard link of the base is, for the other names, only where overlayfs keeps its inodes. */
function nameInIndex(folder: string, { digest, size }: { digest: Digest; size: number }): string | undefined {
  return listNames(folder).find(name => checkFile(`${folder}/${name}`, digest, size) === undefined)
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
