import { StratumError } from '../errors/stratum-error.ts'
import { readCommit } from '../commits/commit-store.ts'
import type { CommitMetadata } from '../commits/metadata.ts'
import { formatReference, type Reference } from '../names/reference.ts'
import type { Tag } from '../names/tag.ts'
import { toUser } from '../names/text.ts'
import { resolveCommit } from '../refs/resolve.ts'
import { readTags } from '../refs/tags.ts'
import { isDirectory } from '../tree/append.ts'
import { childrenOf, entryOfView, type View } from '../tree/diff.ts'
import type { Entry } from '../tree/entry.ts'
import type { Context } from './context.ts'
import { look } from './look.ts'
import { openView } from './views.ts'

/** A name in a commit. */
export interface ListedEntry {
  /** From the root, latin1. */
  readonly path: string
  readonly entry: Entry
}

/** The names at a path of a commit or of HEAD: what is in a directory, or the file itself. @throws not-found */
export async function listEntries(
  context: Context,
  reference: Reference,
  path: string,
  recursive: boolean,
): Promise<ListedEntry[]> {
  const { store, signal } = context
  const view = await look(context, [reference], async () => (await openView(store, reference, signal)).view)
  const { found, at } = descend(view, path, reference)
  const entry = entryOfView(found)
  if (!isDirectory(entry.mode)) return [{ path: at, entry }]
  const entries: ListedEntry[] = []
  const list = (directory: View, prefix: string): void => {
    const children = childrenOf(directory)
    for (const name of [...children.keys()].sort()) {
      const child = children.get(name) as View
      const childEntry = entryOfView(child)
      entries.push({ path: `${prefix}${name}`, entry: childEntry })
      if (recursive && isDirectory(childEntry.mode)) list(child, `${prefix}${name}/`)
    }
  }
  list(found, at === '' ? '' : `${at}/`)
  return entries
}

/** The file or directory at a path of a tree that somebody named, and the path as it is from the root. @throws not-found */
export function descend(root: View, path: string, reference: Reference): { found: View; at: string } {
  const parts = path.split('/').filter(part => part !== '' && part !== '.')
  let found = root
  for (const [i, part] of parts.entries()) {
    const next = isDirectory(entryOfView(found).mode) ? childrenOf(found).get(part) : undefined
    if (next === undefined) {
      throw new StratumError(
        'not-found',
        `${formatReference(reference)} has no ${toUser(parts.slice(0, i + 1).join('/'))}`,
      )
    }
    found = next
  }
  return { found, at: parts.join('/') }
}

export interface ShownCommit {
  readonly metadata: CommitMetadata
  /** Every tag of the label that names it. */
  readonly tags: readonly Tag[]
}

/** @throws not-found */
export async function showCommit(context: Context, reference: Reference): Promise<ShownCommit> {
  return await look(context, [], () => {
    const { store } = context
    const { id, label } = resolveCommit(store, reference)
    const tags = [...readTags(store, label)].flatMap(([tag, commit]) =>
      commit === id && tag !== (id as string) ? [tag] : [],
    )
    return { metadata: readCommit(store, id), tags }
  })
}
