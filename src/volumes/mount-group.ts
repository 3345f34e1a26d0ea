import { toStratumError } from '../errors/errno.ts'
import { setOwnerAndMode } from '../host/files.ts'
import { statPath } from '../host/stat.ts'
import { getXattr, setXattr } from '../host/xattrs.ts'
import type { Label } from '../names/label.ts'
import { paths } from '../store/layout.ts'
import { formatGift, GIVEN_GROUP, type GivenGroup, GROUP_BITS, isAsGiven, parseGift } from '../tree/layer-changes.ts'
import { headPath } from './head-overlay.ts'
import type { Volumes } from './volumes.ts'

/**
 * Lets a group write into the root of a HEAD, and what is made there belong to it (VOLUME_MOUNT_GROUP). Only the root: a `chown -R` would
 * change every file. A note on the upperdir, made first, keeps it out of commits. The caller holds the label's lock.
 */
export function giveToGroup(volumes: Volumes, label: Label, gid: number): void {
  const path = headPath(volumes, label)
  try {
    const root = statPath(path)
    if (root.gid === gid && (root.mode & GROUP_BITS) === GROUP_BITS) return
    const upper = paths.upper(volumes.store, label)
    const earlier = parseGift(getXattr(upper, GIVEN_GROUP) ?? '')
    const gift: GivenGroup =
      earlier !== undefined && isAsGiven(root, earlier)
        ? { ...earlier, gid }
        : { gid, gidBefore: root.gid, modeBefore: root.mode & 0o7777 }
    setXattr(upper, GIVEN_GROUP, formatGift(gift))
    setOwnerAndMode(path, root.uid, gid, (root.mode & 0o7777) | GROUP_BITS)
  } catch (error) {
    throw toStratumError(error, `giving ${label} to group ${gid}`)
  }
}
