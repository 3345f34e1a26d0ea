import fs from 'node:fs'
import { isErrno, toStratumError } from '../errors/errno.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { type Arena, createArena, type Image } from '../erofs/arena.ts'
import { EXTENDED_INODE, SLOT } from '../erofs/format.ts'
import { createInode, readInode } from '../erofs/inode.ts'
import { parseImage } from '../erofs/parse-image.ts'
import { eachSharedXattr, XATTR_AREA_BYTES_MAX, XATTR_BYTES_MAX } from '../erofs/xattrs.ts'
import { verityOf } from '../hashes/verity.ts'
import { nodePath } from '../names/text.ts'
import { type CommitId, shortId } from '../names/commit-id.ts'
import { paths, type Store } from '../store/layout.ts'
import { readCommit } from './commit-store.ts'

/** At most so many bytes are kept free behind an image for what a merge adds: it then needs no copy, which takes nothing for a small one. */
const ROOM_BYTES = 4 << 20
const ROOM_BYTES_MIN = 1 << 16
const READ_BYTES = 1 << 26
/** The superblock, and more. */
const FIRST_BYTES = 4096

/**
 * Reads a commit's image into memory and checks its digest, so that nothing damaged is believed. Who reads many one after the other
 * passes the memory of the last one, which is used again if it is large enough. @throws not-found, integrity
 */
export function openCommitImage(store: Store, id: CommitId, roomBytes?: number, memory?: Arena): Image {
  const { imageDigest } = readCommit(store, id)
  const file = openImageFile(store, id)
  try {
    const { size } = fs.fstatSync(file)
    const needed = size + (roomBytes ?? Math.min(ROOM_BYTES, Math.max(ROOM_BYTES_MIN, size)))
    const arena = memory !== undefined && memory.bytes.length >= needed ? memory : createArena(needed)
    for (let at = 0; at < size; ) {
      const read = fs.readSync(file, arena.bytes, at, Math.min(size - at, READ_BYTES), at)
      if (read === 0)
        throw new StratumError('integrity', `the image of commit ${shortId(id)} was cut while it was read`)
      at += read
    }
    if (verityOf(arena.bytes.subarray(0, size)) !== imageDigest) {
      throw new StratumError('integrity', `the image of commit ${shortId(id)} is damaged: its digest is another`, {
        hint: 'stratum fsck says what else is damaged',
      })
    }
    return parseImage(arena, size)
  } catch (error) {
    throw toStratumError(error, `reading the image of commit ${shortId(id)}`)
  } finally {
    fs.closeSync(file)
  }
}

/**
 * A commit's image of which only the root's inode and xattrs are read; the rest are zeros that take no memory. HEAD's first mount and
 * every re-mount need no more, however large the tree is. As little is checked as the kernel does that mounts it next.
 * @throws integrity
 */
export function openImageRoot(store: Store, id: CommitId): Image {
  const file = openImageFile(store, id)
  try {
    const { size } = fs.fstatSync(file)
    const arena = createArena(size)
    const read = (at: number, bytes: number): void => {
      const end = Math.min(size, at + bytes)
      while (at < end) at += fs.readSync(file, arena.bytes, at, end - at, at) || size
    }
    read(0, FIRST_BYTES)
    const image = parseImage(arena, size)
    read(image.root * SLOT, EXTENDED_INODE + XATTR_AREA_BYTES_MAX)
    eachSharedXattr(image, image.root, readInode(image, image.root, createInode()), at => read(at, XATTR_BYTES_MAX))
    return image
  } catch (error) {
    throw toStratumError(error, `reading the root of commit ${shortId(id)}`)
  } finally {
    fs.closeSync(file)
  }
}

function openImageFile(store: Store, id: CommitId): number {
  try {
    return fs.openSync(nodePath(paths.image(store, id)), 'r')
  } catch (error) {
    if (isErrno(error, 'ENOENT'))
      throw new StratumError('integrity', `commit ${shortId(id)} has no image`, { cause: error })
    throw toStratumError(error, `opening the image of commit ${shortId(id)}`)
  }
}
