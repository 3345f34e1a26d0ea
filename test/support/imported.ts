import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { isLabel } from '../../src/names/label.ts'
import { parseReference } from '../../src/names/reference.ts'
import { fromUser } from '../../src/names/text.ts'
import type { Context } from '../../src/repository/context.ts'
import { importTree } from '../../src/repository/import.ts'
import type { ImportResult } from '../../src/repository/import-with.ts'
import { mountReference } from '../../src/repository/mount.ts'
import { unmountTarget } from '../../src/repository/unmount.ts'
import { paths, type Store } from '../../src/store/layout.ts'
import { openStore } from '../../src/store/open-store.ts'

/** Directories in stores: imported and mounted by the code that the command line calls. */
export function newStore(): Store {
  return openStore(fs.mkdtempSync(path.join(os.tmpdir(), 'store-')), { create: true })
}

export function contextOf(store: Store): Context {
  return { store, actor: 'test' }
}

export async function importInto(store: Store, label: string, directory: string): Promise<ImportResult> {
  if (!isLabel(label)) throw new Error(label)
  const request = {
    label,
    path: fromUser(directory),
    tag: undefined,
    message: undefined,
    mounts: 'refuse',
  } as const
  return importTree(contextOf(store), request)
}

export function imageBytes(store: Store, { metadata }: ImportResult): Buffer {
  return fs.readFileSync(paths.image(store, metadata.id))
}

/** Mounts a commit read-only somewhere and takes the mount away afterwards. */
export async function withMount<T>(
  store: Store,
  commit: ImportResult,
  use: (mountpoint: string) => T | Promise<T>,
): Promise<T> {
  const mountpoint = fs.mkdtempSync(path.join(os.tmpdir(), 'mounted-'))
  const reference = parseReference(`${commit.label}:${commit.metadata.id}`)
  await mountReference(contextOf(store), {
    reference,
    mountpoint,
    readOnly: true,
    allowSuidAndDevices: false,
    uid: 0,
  })
  try {
    return await use(mountpoint)
  } finally {
    await unmountTarget(contextOf(store), mountpoint)
    fs.rmdirSync(mountpoint)
  }
}

/** The paths of all objects of a store. */
export function objectFiles(store: Store): string[] {
  return fs.globSync('*/*', { cwd: paths.objects(store) }).map(name => path.join(paths.objects(store), name))
}
