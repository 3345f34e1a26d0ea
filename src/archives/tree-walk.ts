import type { Image, NodeId } from '../erofs/arena.ts'
import { eachEntry } from '../erofs/directory.ts'
import { isDirectory } from '../tree/append.ts'
import type { Entry } from '../tree/entry.ts'
import { readEntry } from '../tree/read-entry.ts'

/** A name of a tree, for whoever writes it out. */
export interface WalkedName {
  /** From the root, latin1; the root itself is empty. */
  readonly path: string
  readonly entry: Entry
  /** Set for a further name of a hard link: the first one. */
  readonly primary: string | undefined
}

/** Every name of an image: a directory before what is in it, siblings by bytes. */
export function* walkImage(image: Image): Generator<WalkedName> {
  yield* walk(image, image.root, '', new Map())
}

function* walk(image: Image, node: NodeId, path: string, firstNames: Map<NodeId, string>): Generator<WalkedName> {
  const entry = readEntry(image, node)
  const primary = entry.linked ? firstNames.get(node) : undefined
  if (entry.linked && primary === undefined) firstNames.set(node, path)
  yield { path, entry, primary }
  if (!isDirectory(entry.mode)) return
  const children: [string, NodeId][] = []
  eachEntry(image, node, (name, child) => children.push([name, child]))
  for (const [name, child] of children) yield* walk(image, child, path === '' ? name : `${path}/${name}`, firstNames)
}
