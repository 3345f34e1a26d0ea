import { isErrno } from '../errors/errno.ts'
import { isStratumError, StratumError } from '../errors/stratum-error.ts'
import { bootId } from '../host/boot.ts'
import { close } from '../host/descriptors.ts'
import { syncFileSystem } from '../host/files.ts'
import { ATTRIBUTE, attachMount, setMountAttributes } from '../host/mount-api.ts'
import { listMounted, recordMount } from '../mounts/records.ts'
import type { Label } from '../names/label.ts'
import { toUser } from '../names/text.ts'
import { type HeadRecord, readHead, writeHead } from '../refs/head-file.ts'
import { paths, type Store } from '../store/layout.ts'
import { headMounts } from './head-mounts.ts'
import { checkPair } from './pair.ts'
import { createHeadMount, type HeadMountOptions, headSource, isSuperblockGone } from './probe-superblock.ts'
import { noteBoot } from './unclean.ts'

export interface MountHeadOptions extends HeadMountOptions {
  readonly readOnly?: boolean
}

/** A HEAD whose upperdir the kernel does not take over its base any more: it was copied, or the kernel's file handles changed. */
export class CopiedHeadError extends StratumError {}

/**
 * Mounts HEAD. That it may be written to in this boot is durable before the first write can happen. The caller holds the label's lock and
 * the store's shared one. @throws in-use, integrity, unsupported; CopiedHeadError, which `refreshCopiedHead` answers
 */
export async function mountHead(
  store: Store,
  label: Label,
  head: HeadRecord,
  mountpoint: string,
  options: MountHeadOptions = {},
): Promise<void> {
  const [existing] = headMounts(store, label)
  if (existing !== undefined) {
    const recorded = listMounted(store).find(({ mountpoint: at }) => at === existing.mountpoint)
    const since = recorded?.since === undefined ? '' : ` since ${recorded.since}`
    const what = existing.isWhole ? label : `a directory of ${label}`
    const orBind = existing.isWhole
      ? `, or bind it elsewhere: mount --bind ${toUser(existing.mountpoint)} ${toUser(mountpoint)}`
      : ''
    throw new StratumError(
      'in-use',
      `${what} is mounted at ${toUser(existing.mountpoint)}${since}: one HEAD has one mount`,
      {
        hint: `stratum unmount ${label}${orBind}`,
        details: { mountpoint: toUser(existing.mountpoint) },
      },
    )
  }
  checkPair(label, paths.upper(store, label), paths.work(store, label), head)
  const mount = createOrExplain(store, label, head, options)
  try {
    if (options.readOnly) setMountAttributes(mount, ATTRIBUTE.readOnly)
    writeHead(store, label, noteBoot(head))
    const takeBack = await recordMount(headSource(store, label, head), mountpoint)
    try {
      attachMount(mount, mountpoint)
    } catch (error) {
      await takeBack()
      throw error
    }
  } finally {
    close(mount)
  }
}

function createOrExplain(store: Store, label: Label, head: HeadRecord, options: HeadMountOptions): number {
  try {
    return createHeadMount(store, label, head, options)
  } catch (error) {
    if (isStratumError(error, 'in-use')) {
      throw new StratumError('in-use', `HEAD of ${label} is still mounted somewhere that is not seen from here`, {
        cause: error,
        hint: 'End the processes that use it (another namespace, a lazy unmount)',
      })
    }
    if (!isErrno(error, 'ESTALE')) throw error
    throw new CopiedHeadError(
      'integrity',
      `the upperdir of ${label} was copied, or written by another kernel: the kernel does not take it as it is`,
      { cause: error },
    )
  }
}

/**
 * To be called when a mount of HEAD was seen to be gone: what was written is put on disk, and then a later boot has nothing to suspect.
 * Does nothing while the superblock lives on somewhere.
 */
export function settleUnmounted(store: Store, label: Label): HeadRecord | undefined {
  const head = readHead(store, label)
  if (head === undefined || head.bootId !== bootId() || headMounts(store, label).length > 0) return head
  if (!isSuperblockGone(store, label, head)) return head
  syncFileSystem(store.path)
  const settled = { ...head, bootId: '' }
  writeHead(store, label, settled)
  return settled
}
