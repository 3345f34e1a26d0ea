import { close } from '../host/descriptors.ts'
import { isErrno } from '../errors/errno.ts'
import { isStratumError } from '../errors/stratum-error.ts'
import { createLayeredMount, type Layers } from '../mounts/layers.ts'
import { formatMountSource, placeOf } from '../mounts/source.ts'
import type { Label } from '../names/label.ts'
import type { HeadRecord } from '../refs/head-file.ts'
import { paths, type Store } from '../store/layout.ts'
import { headMounts } from './head-mounts.ts'
import { mayBeMounted } from './unclean.ts'

/**
 * Whether no mount of this upperdir lives any more, in any namespace, attached or not: the kernel refuses a second mount of it with EBUSY
 * as long as the first superblock exists. It looks at that before anything else, so ESTALE (a copied upperdir) says the same. A HEAD that
 * was not mounted in this boot, or came back in order from its last mount, need not be tried: head.toml names the boot before any mount
 * of it. The caller holds the label's lock and has checked the pair.
 */
export function isSuperblockGone(store: Store, label: Label, head: HeadRecord): boolean {
  if (!mayBeMounted(head) && headMounts(store, label).length === 0) return true
  try {
    close(createHeadMount(store, label, head))
    return true
  } catch (error) {
    if (isStratumError(error, 'in-use')) return false
    if (isErrno(error, 'ESTALE')) return true
    throw error
  }
}

/** What a mount of HEAD may be asked for. */
export type HeadMountOptions = Pick<Layers, 'allowSuidAndDevices' | 'securityContext'>

/** HEAD's overlay, attached nowhere yet. @throws in-use while another one of it lives; ESTALE for a copied pair */
export function createHeadMount(store: Store, label: Label, head: HeadRecord, options: HeadMountOptions = {}): number {
  return createLayeredMount({
    image: paths.image(store, head.base),
    objects: paths.objects(store),
    source: headSource(store, label, head),
    upper: { upperdir: paths.upper(store, label), workdir: paths.work(store, label) },
    ...options,
  })
}

export function headSource(
  store: Store,
  label: Label,
  { base, generation }: Pick<HeadRecord, 'base' | 'generation'>,
): string {
  return formatMountSource({ label, commit: base, store: store.id, place: placeOf(store), generation, tag: undefined })
}
