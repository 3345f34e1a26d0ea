import { StratumError } from '../errors/stratum-error.ts'

/** The number of an inode: its offset in the arena divided by 32. */
export type NodeId = number

/**
 * One piece of memory that holds an image's bytes and, behind them, inodes that were added. A large one is shared, so that a worker can
 * hash a tree while the main thread writes its image (tree.md).
 */
export interface Arena {
  readonly memory: ArrayBufferLike
  readonly bytes: Buffer
  readonly u16: Uint16Array
  readonly u32: Uint32Array
  readonly view: DataView
}

/** An image in memory: what is needed to read any inode of it. */
export interface Image {
  readonly arena: Arena
  readonly root: NodeId
  /** The mtime of every compact inode, in seconds and nanoseconds. */
  readonly seconds: number
  readonly nanoseconds: number
  /** Offset of the shared xattrs. */
  readonly xattrBase: number
  /** Inodes from this number on were added to the arena and are not part of the image. */
  readonly firstAdded: NodeId
  /** Inodes in the image, hidden ones included. */
  readonly inodes: number
}

const ARENA_BYTES_MAX = 2 ** 32 - 8
/** A smaller arena is not shared: V8 does not count shared memory as its own, and a daemon that reads many images would keep them all. */
const SHARED_BYTES = 32 << 20

/** @throws unsupported for more than 4 GiB: node numbers and name offsets have 32 bits */
export function createArena(bytes: number): Arena {
  if (bytes > ARENA_BYTES_MAX)
    throw new StratumError('unsupported', `the image would have ${bytes} bytes; at most 4 GiB are supported`)
  const whole = Math.ceil(bytes / 8) * 8
  return arenaOf(whole < SHARED_BYTES ? new ArrayBuffer(whole) : new SharedArrayBuffer(whole))
}

/** The views of an arena that another thread made. */
export function arenaOf(memory: ArrayBufferLike): Arena {
  return {
    memory,
    bytes: Buffer.from(memory),
    u16: new Uint16Array(memory),
    u32: new Uint32Array(memory),
    view: new DataView(memory),
  }
}

/** For whatever contradicts the format: the digest of an image tells that its bytes are right, not that they make sense. */
export function damaged(what: string): StratumError {
  return new StratumError('integrity', `the image is damaged: ${what}`)
}

/** The smallest multiple of `unit` that is not below `value`. */
export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit
}

/** Bytes as text, a character for each byte: names and values are bytes, and `<` on such strings is the order of bytes. */
export function latin1(arena: Arena, at: number, length: number): string {
  return arena.bytes.toString('latin1', at, at + length)
}
