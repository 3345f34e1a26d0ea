import fs from 'node:fs'
import { isErrno } from '../errors/errno.ts'
import { bootId } from '../host/boot.ts'
import { makeDirectories, parentOf, replaceFile } from '../host/files.ts'
import { type Stat, uniqueMountId } from '../host/stat.ts'
import { nodePath } from '../names/text.ts'
import type { Digest } from '../hashes/verity.ts'

/**
 * What the content of a file was when nobody could be writing it: (inode, size, mtime, ctime) on one mount → digest. A key alone proves
 * nothing (one long write, a store into a dirty page, a power loss after an overwrite all leave it as it was), so only files that were
 * `settled` enter, and everything is forgotten at a boot. The rules and how they were found: docs/head.md 3.
 */
export interface HashCache {
  find(stat: Stat): CachedFile | undefined
}

export interface CachedFile {
  readonly digest: Digest
  /** Whether the file has xattrs; its key covers them too. */
  readonly hasXattrs: boolean
}

/** The files of one run that may be remembered. */
export interface HashRecorder {
  add(stat: Stat, file: CachedFile): void
  /** Keeps them for the next run, unless the clock was turned back in this one. */
  save(path: string, volume: Volume | undefined): void
}

/** One mount of a file system whose ctime moves with every change; no other mount has its number in this boot. */
export type Volume = bigint

/**
 * ext2 to ext4, XFS, Btrfs, f2fs, bcachefs. Elsewhere a key may stand for other bytes: overlayfs and FUSE see neither all writers nor all
 * writes, a store into a mapped page of tmpfs that was read before moves no time, and in an image file system (EROFS, squashfs,
 * ISO 9660) ctime is what its maker wrote.
 */
const TYPES_WITH_TRUE_CTIME: ReadonlySet<number> = new Set([0xef53, 0x58465342, 0x9123683e, 0xf2f52010, 0xca451a4e])

/** The volume of an open directory; undefined where a look at a file does not tell that it is as it was. */
export function volumeOf(directory: number): Volume | undefined {
  if (!TYPES_WITH_TRUE_CTIME.has(fs.statfsSync(`/proc/self/fd/${directory}`).type)) return undefined
  return uniqueMountId(directory)
}

const MAGIC = 'stratum hashes 2'
const HEADER_BYTES = 128
const RECORD_WORDS = 10 // of 8 bytes: five of the key, four of the digest, one of flags
const EMPTY: HashCache = { find: () => undefined }
/** A clock that lost more than this against the monotonic one was turned back. */
const CLOCK_TOLERANCE_MS = 20

/** The cache at a path; an empty one where it is missing, damaged, from another boot or of another volume. */
export function openHashCache(path: string, volume: Volume | undefined): HashCache {
  const bytes = volume === undefined ? undefined : readIfExists(path)
  if (bytes === undefined || volume === undefined || !bytes.subarray(0, HEADER_BYTES).equals(headerOf(volume)))
    return EMPTY
  const aligned = new BigUint64Array(new Uint8Array(bytes.subarray(HEADER_BYTES)).buffer)
  const slots = Math.floor(aligned.length / RECORD_WORDS)
  if (slots === 0 || (slots & (slots - 1)) !== 0) return EMPTY
  const digests = Buffer.from(aligned.buffer)
  return {
    find(stat) {
      const key = keyOf(stat)
      for (let i = 0, slot = firstSlot(stat, slots); i < slots; i++, slot = (slot + 1) & (slots - 1)) {
        const at = slot * RECORD_WORDS
        if (aligned[at + 1] === 0n) return undefined
        if (!key.every((word, number) => aligned[at + number] === word)) continue
        const digest = digests.toString('hex', (at + 5) * 8, (at + 9) * 8)
        return { digest, hasXattrs: (aligned[at + 9] & 1n) === 1n }
      }
      return undefined
    },
  }
}

export function createHashRecorder(): HashRecorder {
  const records: { stat: Stat; file: CachedFile }[] = []
  const wallAhead = Date.now() - performance.now()
  return {
    add: (stat, file) => void records.push({ stat, file }),
    save(path, volume) {
      if (volume === undefined || Date.now() - performance.now() < wallAhead - CLOCK_TOLERANCE_MS) return
      makeDirectories(parentOf(path), 0o700)
      replaceFile(path, encode(records, volume), { mode: 0o600, durable: false })
    },
  }
}

function encode(records: readonly { stat: Stat; file: CachedFile }[], volume: Volume): Buffer {
  const slots = 2 ** Math.ceil(Math.log2(records.length * 1.5 + 2))
  const bytes = Buffer.alloc(HEADER_BYTES + slots * RECORD_WORDS * 8)
  const words = new BigUint64Array(bytes.buffer, bytes.byteOffset + HEADER_BYTES, slots * RECORD_WORDS)
  headerOf(volume).copy(bytes)
  for (const { stat, file } of records) {
    let slot = firstSlot(stat, slots)
    while (words[slot * RECORD_WORDS + 1] !== 0n) slot = (slot + 1) & (slots - 1)
    words.set(keyOf(stat), slot * RECORD_WORDS)
    bytes.write(file.digest, HEADER_BYTES + (slot * RECORD_WORDS + 5) * 8, 'hex')
    words[slot * RECORD_WORDS + 9] = file.hasXattrs ? 1n : 0n
  }
  return bytes
}

function keyOf({ fileSystem, inode, size, mtimeSeconds, mtimeNanoseconds, ctime }: Stat): bigint[] {
  const mtime = BigInt.asUintN(64, BigInt(mtimeSeconds) * 1_000_000_000n + BigInt(mtimeNanoseconds))
  return [BigInt(fileSystem), inode, BigInt(size), mtime, BigInt.asUintN(64, ctime)]
}

function firstSlot({ inode }: Stat, slots: number): number {
  return (Math.imul(Number(inode & 0xffffffffn), 0x9e3779b1) >>> 8) & (slots - 1)
}

function headerOf(volume: Volume): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  header.write(`${MAGIC}\n${bootId()}\n${volume}\n`, 'latin1')
  return header
}

function readIfExists(path: string): Buffer | undefined {
  try {
    return fs.readFileSync(nodePath(path))
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  }
}
