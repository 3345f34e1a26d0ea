import type { Image } from '../erofs/arena.ts'
import { createInode, readInode } from '../erofs/inode.ts'
import { escapeXattrName, userXattrs } from '../erofs/xattrs.ts'
import { makeDirectory, parentOf, setModificationTime, setOwnerAndMode, syncDirectory } from '../host/files.ts'
import { setXattr } from '../host/xattrs.ts'
import { type PairMark, writeMark } from './pair.ts'

/** Makes an empty pair. The upperdir looks like the root of its base, or the first commit would change it. */
export function createPair(upper: string, work: string, { mark, base }: { mark: PairMark; base: Image }): void {
  for (const path of [upper, work]) {
    makeDirectory(path, 0o700)
    writeMark(path, mark)
  }
  const inode = readInode(base, base.root, createInode())
  setOwnerAndMode(upper, inode.uid, inode.gid, inode.mode & 0o7777)
  for (const [name, value] of userXattrs(base, base.root, inode)) setXattr(upper, escapeXattrName(name), value)
  setModificationTime(upper, inode.seconds, inode.nanoseconds)
}

/** Makes a pair durable that was just made: not with syncfs(2), which waits for all that the pods of a node are writing. */
export function syncPair(upper: string, work: string): void {
  for (const path of [upper, work, parentOf(upper)]) syncDirectory(path)
}
