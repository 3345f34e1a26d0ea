import type { NodeId } from '../erofs/arena.ts'
import type { Annex } from './append.ts'
import { FLAG, type Slot, slotChain, type Tree } from './tree.ts'

/** One name with its inode and flags. */
export interface NameRow {
  nameAt: number
  nameLength: number
  node: NodeId
  flag: number
}

/** The columns of a tree that is being put together, breadth-first. */
export interface Columns {
  push(row: NameRow, linked: boolean): void
  pushDirectory(row: NameRow, parent: number): void
  directoryCount(): number
  /** Says that the names that follow are those of the next directory. */
  openDirectory(): void
  /** Says that a node may get several names; `mayBeLinked` then answers true for it. */
  noteLinked(node: NodeId): void
  mayBeLinked(node: NodeId): boolean
  /** For `finishColumns`. */
  readonly built: BuiltColumns
}

interface BuiltColumns {
  slots: number
  nameAt: Uint32Array
  nameLength: Uint8Array
  node: Uint32Array
  flag: Uint8Array
  readonly slot: number[]
  readonly first: number[]
  readonly down: number[]
  readonly parent: number[]
  readonly namesOf: Map<NodeId, Slot[]>
}

export function createColumns(expectedNames: number): Columns {
  const built: BuiltColumns = {
    slots: 0,
    ...allocate(expectedNames + 1024),
    slot: [],
    first: [],
    down: [],
    parent: [],
    namesOf: new Map(),
  }
  const push = (row: NameRow, linked: boolean): void => {
    if (built.slots === built.flag.length) Object.assign(built, allocate(Math.ceil(built.slots * 1.3), built))
    const slot = built.slots++
    built.nameAt[slot] = row.nameAt
    built.nameLength[slot] = row.nameLength
    built.node[slot] = row.node
    built.flag[slot] = linked ? row.flag | FLAG.linked : row.flag
    if (linked) namesOf(built, row.node).push(slot)
  }
  return {
    built,
    push,
    pushDirectory(row, parent) {
      built.slot.push(built.slots)
      built.parent.push(parent)
      push(row, false)
    },
    directoryCount: () => built.slot.length,
    openDirectory() {
      built.first.push(built.slots)
      built.down.push(built.slot.length)
    },
    noteLinked: node => void namesOf(built, node),
    mayBeLinked: node => built.namesOf.size > 0 && built.namesOf.has(node),
  }
}

function namesOf({ namesOf }: BuiltColumns, node: NodeId): Slot[] {
  let list = namesOf.get(node)
  if (list === undefined) namesOf.set(node, (list = []))
  return list
}

type NameColumns = Pick<BuiltColumns, 'nameAt' | 'nameLength' | 'node' | 'flag'>

/** Columns for so many names, in shared memory, with what is in `old`. */
function allocate(names: number, old?: NameColumns): NameColumns {
  const grown: NameColumns = {
    nameAt: new Uint32Array(new SharedArrayBuffer(names * 4)),
    nameLength: new Uint8Array(new SharedArrayBuffer(names)),
    node: new Uint32Array(new SharedArrayBuffer(names * 4)),
    flag: new Uint8Array(new SharedArrayBuffer(names)),
  }
  if (old !== undefined) for (const key of ['nameAt', 'nameLength', 'node', 'flag'] as const) grown[key].set(old[key])
  return grown
}

export function finishColumns(annex: Annex, { built }: Columns): Tree {
  const { slots, nameAt, nameLength, node, flag } = built
  built.first.push(slots)
  const directories = {
    slot: Uint32Array.from(built.slot),
    first: Uint32Array.from(built.first),
    down: Uint32Array.from(built.down),
    parent: Uint32Array.from(built.parent),
  }
  const links = new Map<NodeId, number>()
  const primary = new Map<Slot, Slot>()
  for (const [linkedNode, names] of built.namesOf) {
    links.set(linkedNode, names.length)
    if (names.length < 2) continue
    const first = firstInDepth(names.map(name => slotChain(directories, name)))
    for (const name of names) {
      if (name === first) continue
      flag[name] |= FLAG.alias
      primary.set(name, first)
    }
  }
  return {
    image: annex.image,
    addedXattrs: annex.xattrs,
    slots,
    nameAt,
    nameLength,
    node,
    flag,
    directories,
    links,
    primary,
  }
}

/** The slot whose chain comes first depth-first. Slots grow with names among siblings, so chains compare like paths. */
function firstInDepth(chains: Slot[][]): Slot {
  const [first] = chains.sort((a, b) => {
    let i = 0
    while (a[i] === b[i]) i++
    return a[i] - b[i]
  })
  return first[first.length - 1]
}
