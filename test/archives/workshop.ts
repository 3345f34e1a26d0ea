import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import tar from 'tar-stream'
import { openCommitImage } from '../../src/commits/open-image.ts'
import type { ExportFormat } from '../../src/archives/formats.ts'
import type { CommitId } from '../../src/names/commit-id.ts'
import { parseLabel } from '../../src/names/label.ts'
import { parseReference } from '../../src/names/reference.ts'
import { fromUser } from '../../src/names/text.ts'
import { openStagedObjects } from '../../src/objects/staged-objects.ts'
import type { Context } from '../../src/repository/context.ts'
import { exportCommit, type ExportResult } from '../../src/repository/export.ts'
import { importArchive, type ArchiveRequest, type ArchiveResult } from '../../src/repository/import-archive.ts'
import { importTree } from '../../src/repository/import.ts'
import { importWith } from '../../src/repository/import-with.ts'
import { openStore } from '../../src/store/open-store.ts'
import type { Change, Entry } from '../../src/tree/entry.ts'
import { dumpOfImage } from '../support/dump.ts'
import type { Random } from '../support/random.ts'

/** A store of the test's own, and a folder for the archives. */
export interface Workshop {
  readonly folder: string
  readonly context: Context
  importDirectory(directory: string): Promise<CommitId>
  importArchive(source: ArchiveRequest['source'], options?: Partial<ArchiveRequest>): Promise<ArchiveResult>
  exportTo(commit: CommitId, file: string, format: ExportFormat): Promise<ExportResult>
  /** The text of composefs-dump(5). */
  dump(commit: CommitId): string
  /** A commit of a tree whose objects are named only: each gets bytes of its own. */
  commitOf(tree: Change, random: Random): Promise<CommitId>
  cli(...args: string[]): { status: number | null; stdout: string; stderr: string }
}

export const LABEL = parseLabel('test')
const PROGRAM = path.resolve(import.meta.dirname, '../../bin/stratum')

export function openWorkshop(
  folder: string = fs.mkdtempSync(path.join(os.tmpdir(), 'archives-')),
  root: string = path.join(folder, 'store'),
): Workshop {
  const context: Context = { store: openStore(root, { create: true }), actor: 'test' }
  const commit = { label: LABEL, tag: undefined, message: undefined }
  return {
    folder,
    context,
    async importDirectory(directory) {
      const { metadata } = await importTree(context, { ...commit, path: fromUser(directory), mounts: 'refuse' })
      return metadata.id
    },
    importArchive: (source, options = {}) =>
      importArchive(context, {
        ...commit,
        source,
        plain: false,
        platform: undefined,
        ignoreSpace: false,
        ...options,
      }),
    exportTo: (id, file, format) =>
      exportCommit(context, { reference: parseReference(`${LABEL}:${id}`), target: file, format, force: true }),
    dump: id => dumpOfImage(openCommitImage(context.store, id)),
    async commitOf(tree, random) {
      const created = await importWith(context, commit, 'a test', async ({ staging, commit }) => {
        using objects = openStagedObjects(context.store, `${staging.path}/objects`)
        const real = withRealObjects(tree, bytes => objects.put(bytes), random)
        return {
          ...(await commit(real, [{ path: objects.path, digests: [...objects.written], reliedOn: [] }])),
          unstable: [],
        }
      })
      return created.metadata.id
    },
    cli(...args) {
      const { status, stdout, stderr } = spawnSync(PROGRAM, [...args, '--store', root], {
        encoding: 'utf8',
        cwd: folder,
      })
      return { status, stdout, stderr }
    },
  }
}

const SIZES = [65, 100, 512, 4096, 4097, 70_000, (1 << 20) + 1]

function withRealObjects(tree: Change, put: (bytes: Buffer) => string, random: Random): Change {
  const made = new Map<Entry, Entry>()
  const entryOf = (entry: Entry): Entry => {
    let real = made.get(entry)
    if (real === undefined) {
      const bytes = Buffer.alloc(random.pick(SIZES), random.bytes(50), 'latin1')
      real = entry.digest === undefined ? entry : { ...entry, digest: put(bytes), size: bytes.length }
      made.set(entry, real)
    }
    return real
  }
  const visit = ({ entry, children }: Change): Change => ({
    entry: entry ? entryOf(entry) : null,
    children: new Map([...(children ?? [])].map(([name, child]) => [name, visit(child)])),
  })
  return visit(tree)
}

/** The tree without sockets, which tar has no type for. */
export function withoutSockets({ entry, children }: Change): Change {
  const kept = [...(children ?? [])].filter(([, child]) => !child.entry || child.entry.mode >> 12 !== 12)
  return { entry: entry ?? null, children: new Map(kept.map(([name, child]) => [name, withoutSockets(child)])) }
}

/** A hash of all that is in a store: names, bytes, times of none. Locks come and go. */
export function hashOfStore(root: string): string {
  const hash = createHash('sha256')
  const names = fs.readdirSync(root, { recursive: true, encoding: 'utf8' }).sort()
  for (const name of names) {
    const file = path.join(root, name)
    const stat = fs.lstatSync(file)
    hash.update(`${name} ${stat.mode} ${stat.size}\n`)
    if (stat.isFile()) hash.update(fs.readFileSync(file))
  }
  return hash.digest('hex')
}

type Member = Parameters<tar.Pack['entry']>[0] & { pax?: Record<string, string> }

/** An archive as tar-stream writes it, which knows nothing of our writer. */
export async function packed(...members: readonly (Member | [Member, string | Buffer])[]): Promise<Buffer> {
  const pack = tar.pack()
  const pieces: Buffer[] = []
  const reading = (async () => {
    for await (const piece of pack) pieces.push(piece as Buffer)
  })()
  for (const member of members) {
    const [header, content] = Array.isArray(member) ? member : [member, undefined]
    const defaults = { mtime: new Date(0), mode: header.type === 'directory' ? 0o755 : 0o644 }
    if (content === undefined && header.type !== undefined) pack.entry({ ...defaults, ...header })
    else pack.entry({ ...defaults, ...header }, content ?? '')
  }
  pack.finalize()
  await reading
  return Buffer.concat(pieces)
}

/** GNU tar, with everything it can keep. */
export function gnuTar(...args: string[]): void {
  execFileSync('tar', ['--xattrs', '--xattrs-include=*', '--numeric-owner', ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
}

export function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 28 })
}

/** A directory with everything that tar and a file system can hold. */
export function makeFullDirectory(directory: string): void {
  fs.mkdirSync(path.join(directory, 'sub/deeper'), { recursive: true })
  const at = (name: string): string => path.join(directory, name)
  fs.writeFileSync(at('empty'), '')
  fs.writeFileSync(at('inline'), 'sixty-four bytes at most')
  fs.writeFileSync(at('object'), Buffer.alloc(100_000, 'object '))
  fs.writeFileSync(at('large'), Buffer.alloc(3_000_000, 'large '))
  fs.linkSync(at('object'), at('sub/hard link'))
  fs.linkSync(at('inline'), at('sub/deeper/a'))
  fs.symlinkSync('../object', at('sub/link'))
  fs.symlinkSync('x'.repeat(300), at('sub/long link'))
  run('mkfifo', at('fifo'))
  run('mknod', at('character'), 'c', '1', '300000')
  run('mknod', at('block'), 'b', '259', '1000000')
  fs.writeFileSync(at('sparse'), '')
  run('truncate', '-s', '20M', at('sparse'))
  const sparse = fs.openSync(at('sparse'), 'r+')
  for (const position of [70_001, 5_000_000, 5_100_000, 9_000_000, 12_345_678, 20_000_000])
    fs.writeSync(sparse, 'data', position)
  fs.closeSync(sparse)
  fs.writeFileSync(Buffer.from(`${directory}/not UTF-8 \xff\xfe`, 'latin1'), 'latin1')
  fs.writeFileSync(at('UTF-8 \u00e4\u4e16'), 'utf8')
  fs.writeFileSync(at('n'.repeat(255)), 'long')
  fs.mkdirSync(at(`${'d'.repeat(200)}/${'e'.repeat(200)}`), { recursive: true })
  fs.writeFileSync(at(`${'d'.repeat(200)}/${'e'.repeat(200)}/file`), 'deep')
  fs.writeFileSync(at('new\nline'), 'newline')
  run('setfattr', '-n', 'user.binary', '-v', '0x000a3dff80', at('object'))
  run('setfattr', '-n', 'user.a=b%c%3D', '-v', 'v', at('large'))
  run('setfattr', '-n', 'trusted.overlay.opaque', '-v', 'y', at('sub'))
  run('setfattr', '-n', 'security.capability', '-v', '0x0100000200040000000000000000000000000000', at('inline'))
  run('setfacl', '-m', 'u:1234:r,g:99:rw', at('object'))
  run('setfacl', '-d', '-m', 'u:4321:rwx', at('sub'))
  fs.chownSync(at('large'), 3_000_000, 4_000_000_000)
  fs.chmodSync(at('empty'), 0o6755)
  fs.chmodSync(at('sub/deeper'), 0o1777)
  run('touch', '-d', '1969-12-31 23:59:58.25 UTC', at('empty'))
  run('touch', '-d', '1950-01-01 UTC', at('sub/deeper'))
  run('touch', '-d', '2300-01-01 00:00:00.123456789 UTC', at('inline'))
  run('touch', '-h', '-d', '2001-01-01 00:00:00.5 UTC', at('sub/link'))
  run('touch', '-d', '2020-02-02 UTC', at('sub'))
}

/** The archive with other bytes at a place in the header at `at`, and the sum of the header put right. */
export function patched(archive: Buffer, field: number, bytes: Buffer | string, at = 0): Buffer {
  const copy = Buffer.from(archive)
  copy.set(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes, at + field)
  copy.fill(' ', at + 148, at + 156)
  let sum = 0
  for (let i = at; i < at + 512; i++) sum += copy[i]
  copy.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1')
  return copy
}

export function sha256(bytes: Buffer | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

export interface TestLayer {
  readonly tar: Buffer
  readonly compress?: (tar: Buffer) => Buffer
  /** Other than the right one. */
  readonly diffId?: string
}

export interface TestImage {
  readonly layers: readonly TestLayer[]
  readonly platform?: { os: string; architecture: string; variant?: string }
  /** In the index. */
  readonly name?: string
}

export interface Layout {
  /** Path and content, in the order of the archive. */
  readonly files: Map<string, Buffer>
  readonly pack: () => Promise<Buffer>
}

/** An OCI layout made by hand: what is to be wrong with it can be put into its files. */
export function ociLayout(...images: readonly TestImage[]): Layout {
  const files = new Map<string, Buffer>()
  const blob = (content: Buffer): { digest: string; size: number } => {
    const digest = sha256(content)
    files.set(`blobs/${digest.replace(':', '/')}`, content)
    return { digest, size: content.length }
  }
  const json = (value: unknown): { digest: string; size: number } => blob(Buffer.from(JSON.stringify(value)))
  const manifests = images.map(({ layers, platform, name }) => {
    const stored = layers.map(({ tar, compress }) => blob(compress?.(tar) ?? tar))
    const config = json({
      os: 'linux',
      architecture: 'amd64',
      ...platform,
      rootfs: { type: 'layers', diff_ids: layers.map(({ tar, diffId }) => diffId ?? sha256(tar)) },
    })
    const mediaType = 'application/vnd.oci.image.manifest.v1+json'
    const descriptor = json({ schemaVersion: 2, mediaType, config: { mediaType: 'config', ...config }, layers: stored })
    const annotations = name === undefined ? {} : { annotations: { 'org.opencontainers.image.ref.name': name } }
    return { mediaType, ...descriptor, ...(platform === undefined ? {} : { platform }), ...annotations }
  })
  files.set('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests })))
  files.set('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'))
  const pack = (): Promise<Buffer> =>
    packed(...[...files].map(([name, content]): [Member, Buffer] => [{ name }, content]))
  return { files, pack }
}

/** A pax header of these bytes, which may be none, with a size that may be another. */
export async function extendedHeader(type: 'x' | 'g', records: string, size: number = records.length): Promise<Buffer> {
  const header = patched((await packed({ name: 'header' })).subarray(0, 512), 156, type)
  const sized = patched(header, 124, `${size.toString(8).padStart(11, '0')} `)
  return Buffer.concat([
    sized,
    Buffer.alloc(Math.ceil(records.length / 512) * 512, records, 'latin1').fill(0, records.length),
  ])
}
