import { hexOf, sha256 } from '../hashes/sha256.ts'
import type { Digest } from '../hashes/verity.ts'
import type { CommitId } from '../names/commit-id.ts'
import { type Label, labelFolder } from '../names/label.ts'
import type { Tag } from '../names/tag.ts'

/** An open store. `docs/format.md` 1 shows what is where. */
export interface Store {
  /** Absolute path, latin1, without a slash at its end. */
  readonly path: string
  /** A random UUID: what is written outside (mount records, CSI ids) names the store by it. */
  readonly id: string
  readonly readOnly: boolean
}

export const OBJECT_FOLDERS: readonly string[] = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'))

/** A digest as a path below `objects`. */
export function objectName(digest: Digest): string {
  return `${digest.slice(0, 2)}/${digest.slice(2)}`
}

export const paths = {
  settings: (root: string) => `${root}/stratum.toml`,
  gate: (store: Store) => `${store.path}/gate`,
  lock: (store: Store) => `${store.path}/lock`,
  objects: (store: Store) => `${store.path}/objects`,
  object: (store: Store, digest: Digest) => `${store.path}/objects/${objectName(digest)}`,
  commits: (store: Store) => `${store.path}/commits`,
  commit: (store: Store, id: CommitId) => `${store.path}/commits/${id}`,
  image: (store: Store, id: CommitId) => `${store.path}/commits/${id}/commit.cfs`,
  metadata: (store: Store, id: CommitId) => `${store.path}/commits/${id}/metadata.toml`,
  refs: (store: Store) => `${store.path}/refs`,
  label: (store: Store, label: Label) => `${store.path}/refs/${labelFolder(label)}`,
  labelLock: (store: Store, label: Label) => `${paths.label(store, label)}/lock`,
  log: (store: Store, label: Label) => `${paths.label(store, label)}/log`,
  tags: (store: Store, label: Label) => `${paths.label(store, label)}/tags`,
  tag: (store: Store, label: Label, tag: Tag) => `${paths.label(store, label)}/tags/${tag}`,
  headFile: (store: Store, label: Label) => `${paths.label(store, label)}/head.toml`,
  upper: (store: Store, label: Label) => `${paths.label(store, label)}/head`,
  work: (store: Store, label: Label) => `${paths.label(store, label)}/work`,
  /** The pair that takes HEAD's place in a fold. In the same folder, or XFS would move the directories' mtimes when they are exchanged. */
  nextUpper: (store: Store, label: Label) => `${paths.label(store, label)}/next-head`,
  nextWork: (store: Store, label: Label) => `${paths.label(store, label)}/next-work`,
  state: (store: Store) => `${store.path}/state`,
  /** A folder with a file for each pinned commit, named by its id. */
  pins: (store: Store) => `${store.path}/state/pins`,
  hashCaches: (store: Store) => `${store.path}/state/hashes`,
  /**
   * Hashes of files that were read: one cache for what was imported into a label, one for its HEAD. A label may be as long as a file's
   * name, which leaves no room for more.
   */
  hashCache: (store: Store, label: Label, kind: 'import' | 'head') =>
    `${paths.hashCaches(store)}/${hexOf(sha256(Buffer.from(label)))}.${kind}`,
  /** How the last collection left the store: `collect/memo.ts`. */
  collected: (store: Store) => `${store.path}/state/collected`,
  staging: (store: Store) => `${store.path}/staging`,
  trash: (store: Store) => `${store.path}/trash`,
  /** What fsck took out of the way; made when it is needed, never emptied. */
  quarantine: (store: Store) => `${store.path}/quarantine`,
} as const
