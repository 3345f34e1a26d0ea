import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseLabel } from '../../src/names/label.ts'
import type { CommitId } from '../../src/names/commit-id.ts'
import { parseReference } from '../../src/names/reference.ts'
import { parseTag } from '../../src/names/tag.ts'
import { fromUser } from '../../src/names/text.ts'
import { readFileOf } from '../../src/repository/cat.ts'
import { commitHead, type CommitRequest, type CommitResult } from '../../src/repository/commit.ts'
import type { Context } from '../../src/repository/context.ts'
import { importTree } from '../../src/repository/import.ts'
import { mountReference, type MountResult } from '../../src/repository/mount.ts'
import { tagCommit } from '../../src/repository/tag.ts'
import { type UnmountResult, unmountTarget } from '../../src/repository/unmount.ts'
import { type HeadRecord, readHead } from '../../src/refs/head-file.ts'
import { paths, type Store } from '../../src/store/layout.ts'
import { openStore } from '../../src/store/open-store.ts'

/** A store of its own in a scratch folder with one label, `app`, and the verbs as a user calls them. */
export interface Lab {
  readonly folder: string
  readonly store: Store
  readonly context: Context
  /** Where `mount` mounts HEAD. */
  readonly head: string
  /** A new folder beside the store. */
  makeFolder(name: string): string
  import(directory: string, label?: string): Promise<CommitId>
  mount(reference?: string, mountpoint?: string, options?: { readOnly?: boolean }): Promise<MountResult>
  unmount(what?: string): Promise<UnmountResult>
  /** Any command that recovers what the last one left. */
  tag(source: string, tag: string): Promise<unknown>
  commit(options?: Partial<CommitRequest> & { name?: string }): Promise<CommitResult>
  /** The bytes of a file as `stratum cat` has them, latin1. */
  cat(reference: string, file: string): Promise<string>
  /** head.toml of `app`. */
  record(): HeadRecord
  readonly paths: {
    readonly upper: string
    readonly work: string
    readonly next: readonly string[]
    readonly label: string
  }
}

export const LABEL = parseLabel('app')

/** Makes a lab; `files` become the first commit, tagged `latest`, of the label. */
export async function createLab(files?: Readonly<Record<string, string>>): Promise<Lab> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'lab-'))
  const lab = openLab(folder)
  if (files === undefined) return lab
  const source = lab.makeFolder('base')
  for (const [name, content] of Object.entries(files)) writeFile(path.join(source, name), content)
  await lab.import(source)
  return lab
}

/** The lab in a folder where one was made. */
export function openLab(folder: string): Lab {
  const store = openStore(fromUser(path.join(folder, 'store')), { create: true })
  const context: Context = { store, actor: 'test' }
  const makeFolder = (name: string): string => {
    const made = path.join(folder, name)
    fs.mkdirSync(made, { recursive: true })
    return made
  }
  const head = path.join(folder, 'head')
  return {
    folder,
    store,
    context,
    head,
    makeFolder,
    async import(directory, label = 'app') {
      const { metadata } = await importTree(context, {
        label: parseLabel(label),
        path: fromUser(directory),
        tag: undefined,
        message: undefined,
        mounts: 'include',
      })
      return metadata.id
    },
    mount: (reference = 'app', mountpoint = head, { readOnly = false } = {}) =>
      mountReference(context, {
        reference: parseReference(reference),
        mountpoint: fromUser(mountpoint),
        readOnly,
        allowSuidAndDevices: false,
        uid: 0,
      }),
    unmount: (what = 'app') => unmountTarget(context, what),
    tag: (source, tag) =>
      tagCommit(context, { source: parseReference(source), tag: parseTag(tag), move: false, force: false }),
    commit: ({ name, ...options } = {}) =>
      commitHead(context, {
        label: LABEL,
        tag: name === undefined ? undefined : parseTag(name),
        message: undefined,
        consistency: 'live',
        maxPauseMs: 5000,
        deadlineMs: 60_000,
        freezers: undefined,
        allowUnclean: false,
        ...options,
      }),
    async cat(reference, file) {
      const pieces: Uint8Array[] = []
      for await (const piece of readFileOf(context, parseReference(reference), file)) pieces.push(piece)
      return Buffer.concat(pieces).toString('latin1')
    },
    record: () => readHead(store, LABEL) as HeadRecord,
    paths: {
      upper: paths.upper(store, LABEL),
      work: paths.work(store, LABEL),
      next: [paths.nextUpper(store, LABEL), paths.nextWork(store, LABEL)],
      label: paths.label(store, LABEL),
    },
  }
}

export function writeFile(file: string, content: string): void {
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, content)
}
