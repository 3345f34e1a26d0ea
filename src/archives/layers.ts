import { isDirectory } from '../tree/append.ts'
import type { Change } from '../tree/entry.ts'
import { malformed, shown } from './errors.ts'
import { type Budget, childrenOf, find, kindOf, splitName } from './tree-builder.ts'

/** What a layer hides of those below it (OCI image-spec, layer.md, "Whiteouts"). It never hides what is in the layer itself. */
export interface Whiteouts {
  /** Whether a member is a whiteout, which then is noted. @throws malformed */
  note(name: string): boolean
  /** Takes what is hidden out of the tree of the layers below. */
  applyTo(base: Change): void
}

const PREFIX = '.wh.'
const OPAQUE = '.wh..wh..opq'
/** What AUFS kept for itself, which some old layers still hold. */
const AUFS_PREFIX = '.wh..wh.'

export function createWhiteouts({ charge }: Budget): Whiteouts {
  const hidden: string[][] = []
  const emptied: string[][] = []
  return {
    note(name) {
      const parts = splitName(name)
      const own = parts.findIndex(part => part.startsWith(AUFS_PREFIX))
      const last = parts.pop() ?? ''
      if (last === OPAQUE) emptied.push(parts)
      else if (own >= 0) return true
      else if (last === PREFIX || last === `${PREFIX}.` || last === `${PREFIX}..`)
        throw malformed('it is a whiteout of no name')
      else if (last.startsWith(PREFIX)) hidden.push([...parts, last.slice(PREFIX.length)])
      else return false
      charge(name.length)
      return true
    },
    applyTo(base) {
      for (const parts of emptied) find(base, parts)?.children?.clear()
      for (const parts of hidden) find(base, parts.slice(0, -1))?.children?.delete(parts.at(-1) as string)
    },
  }
}

/** Lays a layer over those below it: directories merge, everything else replaces. @throws malformed where a name leads through a symlink */
export function layOver(base: Change, layer: Change, path = ''): void {
  if (layer.entry) base.entry = layer.entry
  const children = childrenOf(base)
  for (const [name, child] of layer.children ?? []) {
    const at = path === '' ? name : `${path}/${name}`
    const below = children.get(name)
    if (child.entry && !isDirectory(child.entry.mode)) children.set(name, child)
    else if (below === undefined) children.set(name, child)
    else if (below.entry && !isDirectory(below.entry.mode)) {
      if (!child.entry)
        throw malformed(`a name leads through ${shown(at)}, which is ${kindOf(below.entry)} in a layer below`)
      children.set(name, child)
    } else layOver(below, child, at)
  }
}
