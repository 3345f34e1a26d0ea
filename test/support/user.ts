import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { readMounts } from '../../src/host/mountinfo.ts'
import { type Files, type Ran, runStratum, writeFiles } from './store.ts'

/** Somebody at a terminal with a folder and a store of her own, who has nothing but the command line. */
export interface User {
  readonly folder: string
  /** Where her store is, or is to be. */
  readonly store: string
  /** A path in her folder. */
  at(name: string): string
  /** A directory with these files in her folder. */
  directory(name: string, files: Files): string
  run(args: readonly string[], env?: Readonly<Record<string, string>>, wrapper?: readonly string[]): Ran
  /** Runs a command that must succeed; what it wrote to stdout, without the last line end. */
  ok(...args: string[]): string
  /** Runs a command that must end with this status. */
  fails(status: number, ...args: string[]): Ran
  /** The object that the command prints with --json. */
  json(...args: string[]): any
}

export function createUser(store?: string): User {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'user-')))
  const own = store ?? path.join(folder, 'store')
  const common = { STRATUM_RUN_USER: path.join(folder, 'run-user'), STRATUM_CONFIG: path.join(folder, 'config.toml') }
  const user: User = {
    folder,
    store: own,
    at: name => path.join(folder, name),
    directory: (name, files) => {
      fs.mkdirSync(path.join(folder, name), { recursive: true })
      return writeFiles(path.join(folder, name), files)
    },
    run: (args, env, wrapper) => runStratum(own, args, { ...common, ...env }, wrapper),
    ok: (...args) => {
      const ran = user.run(args)
      assert.equal(ran.status, 0, `stratum ${args.join(' ')}: ${ran.stderr}`)
      return ran.stdout.replace(/\n$/, '')
    },
    fails: (status, ...args) => {
      const ran = user.run(args)
      assert.equal(ran.status, status, `stratum ${args.join(' ')}: ${ran.stdout}${ran.stderr}`)
      return ran
    },
    json: (...args) => {
      const ran = user.run([...args, '--json'])
      assert.equal(ran.status, 0, `stratum ${args.join(' ')}: ${ran.stdout}${ran.stderr}`)
      return ran.json
    },
  }
  return user
}

/** Runs another program that must succeed. Returns what it wrote to stdout. */
export function shell(program: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 2 ** 28 })
  assert.equal(status, 0, `${program} ${args.join(' ')}: ${stderr}`)
  return stdout
}

/** Every name below a folder with type, mode, owner, mtime, target and bytes: two that are equal hold the same. */
export function hashFolder(folder: string, { without = /^$/ }: { without?: RegExp } = {}): string {
  const hash = createHash('sha256')
  const names = fs.existsSync(folder) ? (fs.readdirSync(folder, { recursive: true }) as string[]).sort() : []
  for (const name of names.filter(name => !without.test(name))) {
    const file = path.join(folder, name)
    const stat = fs.lstatSync(file, { bigint: true })
    hash.update(`${name}\0${stat.mode} ${stat.uid} ${stat.gid}\0`)
    if (stat.isSymbolicLink()) hash.update(fs.readlinkSync(file))
    if (stat.isFile()) hash.update(`${stat.mtimeNs}`).update(fs.readFileSync(file))
  }
  return hash.digest('hex')
}

/** Every mount that this process sees below a folder: where, what, and how. */
export function mountsBelow(folder: string): string[] {
  return readMounts()
    .filter(({ mountpoint }) => mountpoint.startsWith(`${folder}/`))
    .map(({ id, mountpoint, source, options }) => `${id} ${mountpoint} ${source} ${options.join(',')}`)
}
