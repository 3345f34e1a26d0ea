import fs from 'node:fs'
import path from 'node:path'
import { close } from '../host/descriptors.ts'
import { cloneFile, exists, fileSystemSpace, makeDirectories, parentOf, removeTree } from '../host/files.ts'
import { freezerOf } from '../host/cgroup.ts'
import { hasNoWriter } from '../host/locks.ts'
import { getXattr, setXattr } from '../host/xattrs.ts'
import { randomHex } from '../host/random.ts'
import { kernelRelease, mountForm } from '../mounts/layers.ts'
import { nodePath, toUser } from '../names/text.ts'
import { isStratumError } from '../errors/stratum-error.ts'
import type { Store } from '../store/layout.ts'
import { openStore } from '../store/open-store.ts'
import { createStaging, type Staging } from '../store/staging.ts'
import { createEmptyCommit } from './empty-commit.ts'
import { createHead } from '../heads/create-head.ts'
import { createHeadMount } from '../heads/probe-superblock.ts'
import type { Label } from '../names/label.ts'

/** One thing that Stratum needs or could use. */
export interface Finding {
  readonly what: string
  readonly found: string
  /** `note`: works without, less well. */
  readonly state: 'ok' | 'note' | 'missing'
  /** How to get it. */
  readonly advice?: string
}

const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  0xef53: 'ext4',
  0x58465342: 'XFS',
  0x9123683e: 'btrfs',
  0x01021994: 'tmpfs',
  0x794c7630: 'overlay',
  0x6969: 'NFS',
  0xf2f52010: 'f2fs',
}

/** Tries what a store at this place would need, on real files in a folder of its own beside it, which is removed again. */
export async function examine(storePath: string): Promise<Finding[]> {
  const findings = [kernel(), privilege()]
  let opened: ReturnType<typeof openScratch> | undefined
  try {
    opened = openScratch(storePath)
    const scratch = opened.path
    findings.push(
      fileSystem(scratch),
      leases(scratch),
      reflinks(scratch),
      await overlay(scratch),
      freezer(),
      verity(),
      space(scratch),
    )
  } catch (error) {
    findings.push({
      what: 'store folder',
      found: (error as Error).message,
      state: 'missing',
      advice: `it must be writable: ${toUser(storePath)}`,
    })
  } finally {
    opened?.discard()
  }
  return findings
}

/**
 * A folder in the store's staging area, which nobody clears away while we live, or beside the first folder above it that exists: on the
 * same file system.
 */
function openScratch(storePath: string): Pick<Staging, 'path' | 'discard'> {
  const store = storeIfAny(storePath)
  if (store !== undefined) return createStaging(store)
  let parent = storePath
  while (!exists(parent)) parent = parentOf(parent)
  const scratch = path.posix.join(parent === storePath ? `${storePath}/staging` : parent, `.doctor-${randomHex(4)}`)
  makeDirectories(scratch, 0o700)
  return { path: scratch, discard: () => removeTree(scratch) }
}

function storeIfAny(storePath: string): Store | undefined {
  try {
    return openStore(storePath)
  } catch (error) {
    if (isStratumError(error)) return undefined
    throw error
  }
}

function kernel(): Finding {
  const what = 'kernel'
  try {
    const form = mountForm()
    const found = `Linux ${kernelRelease()}: layers ${form === 'detached' ? 'by descriptor' : form === 'attached' ? 'by path' : 'over loop devices'}`
    return form === 'loop'
      ? { what, found, state: 'note', advice: 'from Linux 6.12 on no loop devices are needed' }
      : { what, found, state: 'ok' }
  } catch (error) {
    return { what, found: (error as Error).message, state: 'missing', advice: 'a kernel of 6.8 or later' }
  }
}

function privilege(): Finding {
  const isRoot = process.getuid?.() === 0
  return isRoot
    ? { what: 'privilege', found: 'root', state: 'ok' }
    : {
        what: 'privilege',
        found: `uid ${process.getuid?.()}`,
        state: 'missing',
        advice: 'mounting needs root: sudo stratum …',
      }
}

function fileSystem(scratch: string): Finding {
  const { type } = fileSystemSpace(scratch)
  const name = FILE_SYSTEMS[type] ?? `type 0x${type.toString(16)}`
  if (name === 'overlay' || name === 'NFS')
    return {
      what: 'file system',
      found: name,
      state: 'missing',
      advice: 'an overlay cannot write to it: put the store on ext4, XFS or btrfs (--store)',
    }
  try {
    setXattr(scratch, 'trusted.overlay.stratum', 'doctor')
    return getXattr(scratch, 'trusted.overlay.stratum') === 'doctor'
      ? { what: 'file system', found: name, state: 'ok' }
      : { what: 'file system', found: `${name} loses extended attributes`, state: 'missing' }
  } catch (error) {
    return {
      what: 'file system',
      found: `${name}: ${(error as Error).message}`,
      state: 'missing',
      advice: 'it must keep trusted.* extended attributes',
    }
  }
}

function withFile<T>(file: string, work: (descriptor: number) => T): T {
  const descriptor = fs.openSync(nodePath(file), 'w+')
  try {
    return work(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
}

function leases(scratch: string): Finding {
  withFile(`${scratch}/lease`, () => undefined)
  const file = fs.openSync(nodePath(`${scratch}/lease`), 'r')
  try {
    return hasNoWriter(file)
      ? { what: 'leases', found: 'granted', state: 'ok' }
      : { what: 'leases', found: 'refused', state: 'note', advice: 'unchanged files are read again at each commit' }
  } finally {
    fs.closeSync(file)
  }
}

function reflinks(scratch: string): Finding {
  const works = withFile(`${scratch}/a`, from => {
    fs.writeSync(from, 'a'.repeat(4096))
    return withFile(`${scratch}/b`, to => cloneFile(from, to))
  })
  return works
    ? { what: 'reflinks', found: 'yes', state: 'ok' }
    : {
        what: 'reflinks',
        found: 'no',
        state: 'note',
        advice: 'XFS and btrfs copy large files at once: best for databases that are committed with --freeze',
      }
}

/** The real thing: an empty HEAD of a store of its own, mounted by descriptors only. */
async function overlay(scratch: string): Promise<Finding> {
  const what = 'writable mount'
  try {
    const store = openStore(`${scratch}/store`, { create: true })
    const label = 'doctor' as Label
    const head = createHead(store, label, await createEmptyCommit(store))
    close(createHeadMount(store, label, head))
    return { what, found: 'EROFS image, data-only objects and upperdir in one overlay', state: 'ok' }
  } catch (error) {
    const { message } = error as Error
    return {
      what,
      found: message,
      state: 'missing',
      advice:
        (isStratumError(error) && error.hint) ||
        'overlayfs and EROFS must be in the kernel (CONFIG_OVERLAY_FS, CONFIG_EROFS_FS)',
    }
  }
}

function freezer(): Finding {
  const own = freezerOf(process.pid)
  if (own === undefined)
    return {
      what: 'freezer',
      found: 'none',
      state: 'note',
      advice: 'commit --freeze needs the cgroup freezer (cgroup v2, or the freezer hierarchy of v1)',
    }
  return { what: 'freezer', found: `cgroup v${own.version}`, state: 'ok' }
}

function verity(): Finding {
  const enabled = fs.existsSync('/proc/sys/fs/verity')
  return enabled
    ? { what: 'fs-verity', found: 'in the kernel; not enforced yet', state: 'ok' }
    : {
        what: 'fs-verity',
        found: 'not in the kernel',
        state: 'note',
        advice: 'digests are checked by stratum verify, not by the kernel',
      }
}

const LOW_BYTES = 1e9

function space(scratch: string): Finding {
  const { freeBytes, freeInodes } = fileSystemSpace(scratch)
  const found = `${(freeBytes / 1e9).toFixed(1)} GB and ${freeInodes.toLocaleString('en')} inodes free`
  return freeBytes < LOW_BYTES
    ? { what: 'space', found, state: 'note', advice: 'stratum gc frees what nothing refers to' }
    : { what: 'space', found, state: 'ok' }
}
