import { TYPE } from '../erofs/format.ts'
import type { StagedObjects } from '../objects/staged-objects.ts'
import { isDirectory } from '../tree/append.ts'
import type { Change, Content, Entry } from '../tree/entry.ts'
import { entryOf } from '../tree/to-entry.ts'
import type { ByteReader } from './byte-reader.ts'
import { inside, shown } from './errors.ts'
import { createWhiteouts, layOver, type Whiteouts } from './layers.ts'
import { type ReadMember, readTar } from './read-tar.ts'
import { storeMember } from './store-member.ts'
import { type Budget, createTreeBuilder, type TreeBuilder } from './tree-builder.ts'

/** What reading an archive needs besides its bytes, and what it finds out. */
export interface TreeReading {
  readonly objects: StagedObjects
  readonly budget: Budget
  readonly signal: AbortSignal | undefined
  readonly onFile: ((bytes: number) => void) | undefined
  /** Names whose ACL could not be kept. */
  readonly lost: string[]
}

/** The tree of an uncompressed tar archive, its files stored. Directories that it only speaks of have no entry yet. @throws malformed, unsupported, no-space */
export async function readTree(input: ByteReader, reading: TreeReading): Promise<Change> {
  const builder = createTreeBuilder(reading.budget, undefined)
  for await (const member of readTar(input)) await takeMember(builder, member, reading)
  return builder.tree
}

/** Reads a layer and lays it over the tree of those below. */
export async function readLayer(input: ByteReader, base: Change, reading: TreeReading): Promise<void> {
  const builder = createTreeBuilder(reading.budget, base)
  const whiteouts = createWhiteouts(reading.budget)
  for await (const member of readTar(input)) {
    await takeMember(builder, member, reading, whiteouts)
  }
  whiteouts.applyTo(base)
  layOver(base, builder.tree)
}

async function takeMember(
  builder: TreeBuilder,
  member: ReadMember,
  reading: TreeReading,
  whiteouts?: Whiteouts,
): Promise<void> {
  const { name, kind, linkName, lostAcl } = member
  reading.signal?.throwIfAborted()
  if (lostAcl) reading.lost.push(name)
  try {
    if (whiteouts?.note(name) === true) return
    if (kind === 'link') builder.link(name, linkName)
    else builder.put(name, await entryOfMember(member, reading))
  } catch (error) {
    throw inside(error, shown(name))
  }
}

async function entryOfMember(member: ReadMember, { objects, onFile }: TreeReading): Promise<Entry> {
  const { stat, xattrs, linkName } = member
  const type = stat.mode >> 12
  let content: Content | undefined
  if (type === TYPE.regular) content = await storeMember(objects, member)
  else if (type === TYPE.symlink) content = { size: 0, digest: undefined, data: linkName }
  if (!isDirectory(stat.mode)) onFile?.(content?.size ?? 0)
  return entryOf({ stat, xattrs, path: 'it' }, content, false) // its name is put before each message
}
