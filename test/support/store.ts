import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { type CommitId } from '../../src/names/commit-id.ts'
import type { Label } from '../../src/names/label.ts'
import { parseReference } from '../../src/names/reference.ts'
import type { Tag } from '../../src/names/tag.ts'
import { moveRefs, tagRef } from '../../src/refs/move-refs.ts'
import { readTag } from '../../src/refs/tags.ts'
import type { Context } from '../../src/repository/context.ts'
import { importTree } from '../../src/repository/import.ts'
import { mountReference } from '../../src/repository/mount.ts'
import { unmountTarget } from '../../src/repository/unmount.ts'
import { openStore } from '../../src/store/open-store.ts'
import { lockLabel, lockStore } from '../../src/store/locks.ts'

/** Files of a directory by path; a string that begins with `-> ` is a symlink. */
export type Files = Readonly<Record<string, string | Buffer>>

/** A store of its own with what a test does to it. */
export interface TestStore extends Context {
  /** A folder that is removed with the test's scratch. */
  readonly scratch: string
  importFiles(reference: string, files: Files): Promise<CommitId>
  removeTag(reference: string): Promise<void>
  mount(reference: string, options?: { readOnly?: boolean; at?: string }): Promise<string>
  unmount(target: string): Promise<void>
  /** Runs the command line on this store. */
  run(args: readonly string[], env?: Readonly<Record<string, string>>, wrapper?: readonly string[]): Ran
}

export interface Ran {
  readonly status: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
  /** What `--json` printed last. */
  readonly json: any
}

export function createTestStore(root?: string): TestStore {
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'store-'))
  const store = openStore(root ?? `${scratch}/store`, { create: true })
  const context: Context = { store, actor: 'tester' }
  return {
    ...context,
    scratch,
    async importFiles(reference, files) {
      const source = writeFiles(fs.mkdtempSync(`${scratch}/source-`), files)
      const { label, tag } = split(reference)
      const request = { label, tag, path: source, message: undefined, mounts: 'refuse' } as const
      return (await importTree(context, request)).metadata.id
    },
    async removeTag(reference) {
      const { label, tag } = split(reference)
      using _label = await lockLabel(store, label)
      using _store = await lockStore(store, 'shared')
      const from = readTag(store, label, tag as Tag)
      const moves = new Map([[tagRef(tag as Tag), { from: from ?? null, to: null }]])
      moveRefs(store, label, { actor: 'tester', operation: 'remove' }, moves)
    },
    async mount(reference, { readOnly = false, at } = {}) {
      const mountpoint = at ?? fs.mkdtempSync(`${scratch}/mount-`)
      const request = { reference: parseReference(reference), mountpoint, readOnly, allowSuidAndDevices: false, uid: 0 }
      await mountReference(context, request)
      return mountpoint
    },
    async unmount(target) {
      await unmountTarget(context, target)
    },
    run: (args, env, wrapper) => runStratum(store.path, args, env, wrapper),
  }
}

const MAIN = path.resolve(import.meta.dirname, '../../src/main.ts')

/** `wrapper` is a program with arguments that runs the command line. */
export function runStratum(
  store: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  wrapper: readonly string[] = [],
): Ran {
  const [program, ...rest] = [...wrapper, process.execPath, MAIN, ...args]
  const options = { encoding: 'utf8', env: { ...process.env, STRATUM_STORE: store, ...env } } as const
  const { status, signal, stdout, stderr } = spawnSync(program, rest, options)
  const last = stdout.trim().split('\n').at(-1) ?? ''
  return { status, signal, stdout, stderr, json: last.startsWith('{') ? JSON.parse(last) : undefined }
}

function split(reference: string): { label: Label; tag: Tag | undefined } {
  const parsed = parseReference(reference)
  return { label: parsed.label, tag: parsed.kind === 'name' ? parsed.name : undefined }
}

export function writeFiles(folder: string, files: Files): string {
  for (const [name, content] of Object.entries(files)) {
    const file = `${folder}/${name}`
    fs.mkdirSync(path.dirname(file), { recursive: true })
    if (typeof content === 'string' && content.startsWith('-> ')) fs.symlinkSync(content.slice(3), file)
    else fs.writeFileSync(file, content)
  }
  return folder
}

/** Content that is an object of its own: longer than what lives in an image. */
export function content(text: string, bytes = 100): string {
  return text.repeat(Math.ceil((bytes + 1) / text.length))
}

/** Every file below a folder with its bytes, as a mount or the store shows it. */
export function readFiles(folder: string): Record<string, string> {
  const files: Record<string, string> = {}
  for (const entry of fs.readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const file = path.join(entry.parentPath, entry.name)
    files[path.relative(folder, file)] = fs.readFileSync(file, 'latin1')
  }
  return files
}

/** The same with a hash for the bytes, for comparing whole stores. */
export function fingerprints(folder: string): Record<string, string> {
  const hash = (bytes: string): string => createHash('sha256').update(bytes, 'latin1').digest('hex').slice(0, 16)
  return Object.fromEntries(Object.entries(readFiles(folder)).map(([name, bytes]) => [name, hash(bytes)]))
}

/** Names of commits and objects in a store, sorted. */
export function listContents(root: string): { commits: string[]; objects: string[] } {
  const objects = fs.globSync('objects/??/*', { cwd: root }).map(name => name.slice(8).replace('/', ''))
  return { commits: fs.readdirSync(`${root}/commits`).sort(), objects: objects.sort() }
}
