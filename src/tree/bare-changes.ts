import { OPAQUE, OVERLAY, METACOPY, REDIRECT } from '../erofs/xattrs.ts'
import { StratumError } from '../errors/stratum-error.ts'
import { toUser } from '../names/text.ts'
import { isDirectory } from './append.ts'
import type { Change, Entry } from './entry.ts'

/** OCI image-spec, layer.md: a file of this prefix deletes the name behind it; this one hides all that the directory held before. */
const WHITEOUT_PREFIX = '.wh.'
const OPAQUE_WHITEOUT = '.wh..wh..opq'

/**
 * A directory that is laid over a tree, as changes of that tree: directories merge, files replace, whiteouts (of OCI layers and of
 * overlayfs) delete. Its own root only holds it together and changes nothing. @throws unsupported where it is an upperdir that needs its base
 */
export function bareChanges(imported: Change): Change {
  return { children: mergeChildren(imported, '') }
}

function mergeChildren(directory: Change, path: string): Map<string, Change> {
  const children = new Map<string, Change>()
  for (const [name, child] of directory.children ?? []) {
    if (name === OPAQUE_WHITEOUT) continue
    if (!name.startsWith(WHITEOUT_PREFIX))
      children.set(name, mergeChild(directory, name, child, path === '' ? name : `${path}/${name}`))
    else if (!directory.children?.has(hiddenName(name))) children.set(hiddenName(name), { entry: null })
  }
  return children
}

function hiddenName(whiteout: string): string {
  return whiteout.slice(WHITEOUT_PREFIX.length)
}

function mergeChild(parent: Change, name: string, change: Change, path: string): Change {
  const { entry } = change
  if (!entry) return { entry: null }
  refuseIncomplete(entry, path)
  if (!isDirectory(entry.mode)) return { entry: plain(entry) }
  const merged: Change = { entry: plain(entry), children: mergeChildren(change, path) }
  const replaces = isOpaque(change) || parent.children?.has(`${WHITEOUT_PREFIX}${name}`)
  return replaces ? { ...merged, from: 0 } : merged
}

function isOpaque({ entry, children }: Change): boolean {
  return (
    children?.has(OPAQUE_WHITEOUT) || entry?.xattrs.some(([name, value]) => name === OPAQUE && value === 'y') || false
  )
}

/** A file of which an upperdir holds only the metadata, or a directory that was renamed in one, means nothing without the base. */
function refuseIncomplete({ xattrs }: Entry, path: string): void {
  const needed = xattrs.find(([name]) => name === METACOPY || name === REDIRECT)
  if (needed === undefined) return
  throw new StratumError(
    'unsupported',
    `${toUser(path)} comes from the upperdir of an overlay and is not whole without its base (${needed[0]})`,
    {
      hint: 'Import what the overlay shows instead of its upperdir',
    },
  )
}

function plain(entry: Entry): Entry {
  return entry.xattrs.some(([name]) => name.startsWith(OVERLAY))
    ? { ...entry, xattrs: entry.xattrs.filter(([name]) => !name.startsWith(OVERLAY)) }
    : entry
}
