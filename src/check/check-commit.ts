import fs from 'node:fs'
import { parse } from 'smol-toml'
import { type CommitMetadata, parseMetadata } from '../commits/metadata.ts'
import { isErrno } from '../errors/errno.ts'
import { isStratumError } from '../errors/stratum-error.ts'
import { listNames, readTextIfExists } from '../host/files.ts'
import { statPath } from '../host/stat.ts'
import { type CommitId, shortId } from '../names/commit-id.ts'
import { nodePath, toUser } from '../names/text.ts'
import type { Finding } from './findings.ts'
import { measureBytes } from './fs-verity.ts'
import { type OnObject, type Recomputed, recompute } from './recompute.ts'

/** A commit as it was found. */
export interface CheckedCommit {
  readonly findings: readonly Finding[]
  /** Its image is that of the tree with this id: what it names can be believed. */
  readonly isSound: boolean
}

/**
 * Checks a commit's folder: the tree's hashes, computed anew from the image, the image's digest and every field of metadata.toml.
 * `onObject` is called for the objects of an image whatever state it is in. `path` is where the folder is: in the store or in the trash.
 */
export function checkCommit(id: CommitId, path: string, onObject: OnObject): CheckedCommit {
  const what = `commit ${shortId(id)}`
  const image = readImage(`${path}/commit.cfs`)
  const found = typeof image === 'string' ? image : tryRecompute(image, onObject)
  if (typeof image === 'string' || typeof found === 'string') return unsound(what, found as string)
  if (found.id !== id) return unsound(what, `its image is that of another tree, ${found.id.slice(0, 12)}`)
  const findings = [...checkMetadata(id, path, found, measureBytes(image)), ...checkFolder(what, path)]
  return { findings, isSound: true }
}

function unsound(what: string, message: string): CheckedCommit {
  return { findings: [{ severity: 'damage', kind: 'commit-damaged', what, message }], isSound: false }
}

function tryRecompute(image: Buffer, onObject: OnObject): Recomputed | string {
  try {
    return recompute(image, onObject)
  } catch (error) {
    if (isStratumError(error, 'integrity')) return error.message
    throw error
  }
}

const READ_BYTES = 1 << 26

/** The bytes, or why they cannot be read. */
function readImage(path: string): Buffer | string {
  let file: number | undefined
  try {
    file = fs.openSync(nodePath(path), fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK)
    const { size } = fs.fstatSync(file)
    const bytes = Buffer.allocUnsafeSlow(size)
    for (let at = 0; at < size; ) {
      const read = fs.readSync(file, bytes, at, Math.min(size - at, READ_BYTES), at)
      if (read === 0) return 'its image became shorter while it was read'
      at += read
    }
    return bytes
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return 'it has no image'
    if (isErrno(error, 'ELOOP', 'EIO', 'EISDIR', 'EUCLEAN')) return `its image cannot be read (${error.code})`
    throw error
  } finally {
    if (file !== undefined) fs.closeSync(file)
  }
}

/** The image is that of this id, so everything but time, parent, message and author can be written anew from it. */
function checkMetadata(id: CommitId, path: string, found: Recomputed, imageDigest: string): Finding[] {
  const text = readTextIfExists(`${path}/metadata.toml`)
  const wrong = text === undefined ? ['it is gone'] : wrongFields(id, text, found, imageDigest)
  if (wrong.length === 0) return []
  const { merkleRoot, files, bytes } = found
  const old = text === undefined ? undefined : readable(text, id)
  const metadata: CommitMetadata = {
    id,
    merkleRoot,
    files,
    bytes,
    imageDigest,
    timestamp: old?.timestamp ?? timeOf(`${path}/commit.cfs`),
    parent: old?.parent,
    message: old?.message,
    author: old?.author,
  }
  return [
    {
      severity: 'damage',
      kind: 'metadata-damaged',
      what: `commit ${shortId(id)}`,
      message: `metadata.toml is damaged: ${wrong.join(', ')}`,
      repair: { do: 'write-metadata', metadata },
    },
  ]
}

function wrongFields(id: CommitId, text: string, found: Recomputed, imageDigest: string): string[] {
  let document: Record<string, Record<string, unknown> | undefined>
  try {
    document = parse(text) as typeof document
  } catch {
    return ['it is no TOML']
  }
  const depth = found.files <= 1 ? 0 : Math.ceil(Math.log2(found.files))
  const expected: [string, unknown, unknown][] = [
    ['metadata_hash', document.commit?.metadata_hash, id],
    ['merkle_root', document.commit?.merkle_root, found.merkleRoot],
    ['files.count', document.files?.count, found.files],
    ['total_size', document.files?.total_size, found.bytes],
    ['leaf_count', document.merkle?.leaf_count, found.files],
    ['tree_depth', document.merkle?.tree_depth, depth],
    ['composefs.digest', document.composefs?.digest, imageDigest],
  ]
  const wrong = expected.filter(([, value, right]) => value !== right)
  if (wrong.length > 0) return wrong.map(([field, value]) => `${field} is ${JSON.stringify(value) ?? 'missing'}`)
  return readable(text, id) === undefined ? ['a field is missing'] : []
}

function readable(text: string, id: CommitId): CommitMetadata | undefined {
  try {
    return parseMetadata(text, id)
  } catch {
    return undefined
  }
}

function timeOf(path: string): string {
  return new Date(statPath(path).mtimeSeconds * 1000).toISOString().replace(/\.\d+Z$/, 'Z')
}

function checkFolder(what: string, path: string): Finding[] {
  const findings: Finding[] = listNames(path)
    .filter(name => name !== 'commit.cfs' && name !== 'metadata.toml')
    .map(name => ({
      severity: 'note',
      kind: 'foreign',
      what: toUser(`${path}/${name}`),
      message: `it does not belong into the folder of ${what}`,
      repair: { do: 'quarantine', path: `${path}/${name}` },
    }))
  if ((statPath(`${path}/commit.cfs`).mode & WRITABLE) !== 0)
    findings.push({
      severity: 'damage',
      kind: 'permissions',
      what,
      message: 'its image may be written to',
      repair: { do: 'permissions', path: `${path}/commit.cfs`, mode: 0o444 },
    })
  return findings
}

/** Objects and images never change; whatever the umask was, nobody may write to them. */
export const WRITABLE = 0o222
