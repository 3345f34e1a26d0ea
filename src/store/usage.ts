import fs from 'node:fs'
import { isErrno } from '../errors/errno.ts'
import { isDirectoryMode, statPath } from '../host/stat.ts'
import { nodePath } from '../names/text.ts'

export interface DiskUsage {
  /** Names that are no directories. */
  files: number
  /** Bytes on the disk; what has several names counts once. */
  bytes: number
}

/** What a file, or everything in a folder, takes. Things that vanish meanwhile, or become something else, count for nothing. */
export function diskUsage(path: string): DiskUsage {
  const usage: DiskUsage = { files: 0, bytes: 0 }
  const seen = new Set<bigint>()
  const pending = [path]
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    const stat = unlessGone(() => statPath(at))
    if (stat === undefined) continue
    const isDirectory = isDirectoryMode(stat.mode)
    if (isDirectory)
      for (const name of unlessGone(() => fs.readdirSync(nodePath(at), 'latin1')) ?? []) pending.push(`${at}/${name}`)
    else usage.files++
    if (seen.has(stat.inode) || (isDirectory && at === path)) continue
    if (stat.links > 1 && !isDirectory) seen.add(stat.inode)
    usage.bytes += stat.blocks * 512
  }
  return usage
}

function unlessGone<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}
