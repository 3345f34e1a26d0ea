import { type Image, latin1, type NodeId } from '../erofs/arena.ts'
import { LAYOUT, TYPE } from '../erofs/format.ts'
import { createInode, readData, readInode } from '../erofs/inode.ts'
import { digestAt, userXattrs } from '../erofs/xattrs.ts'
import { hexOf } from '../hashes/sha256.ts'
import type { Entry } from './entry.ts'

/** An inode of an image as an object of its own: for the few that are shown, compared or written out. */
export function readEntry(image: Image, node: NodeId): Entry {
  const inode = readInode(image, node, createInode())
  const type = inode.mode >> 12
  const digest = type === TYPE.regular ? digestAt(image, node, inode) : -1
  const hasData = (type === TYPE.regular || type === TYPE.symlink) && inode.layout !== LAYOUT.chunks
  return {
    mode: inode.mode,
    uid: inode.uid,
    gid: inode.gid,
    seconds: inode.seconds,
    nanoseconds: inode.nanoseconds,
    size: type === TYPE.regular ? inode.size : 0,
    digest: digest < 0 ? undefined : hexOf(latin1(image.arena, digest, 32)),
    data: hasData ? readData(image, node, inode) : '',
    device: type === TYPE.character || type === TYPE.block ? inode.raw : 0,
    xattrs: userXattrs(image, node, inode),
    linked: type !== TYPE.directory && inode.links > 1,
  }
}
