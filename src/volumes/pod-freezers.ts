import { headMounts } from '../heads/head-mounts.ts'
import type { Freezer } from '../host/cgroup.ts'
import { findPodGroups, podHasProcesses } from '../host/pod-groups.ts'
import type { Label } from '../names/label.ts'
import { headPath } from './head-overlay.ts'
import { headTargets, type Published } from './ledger.ts'
import type { Volumes } from './volumes.ts'

/**
 * The control groups of all pods that can write to a label's HEAD, to stand still for a commit. Undefined where that cannot be told
 * (HEAD is mounted by somebody else, too; no kubelet is here): then whoever holds it is to be looked for.
 */
export function podFreezers(volumes: Volumes, label: Label): readonly Freezer[] | undefined {
  const uids = podsOf(volumes, label)
  if (uids === undefined) return undefined
  const groups = findPodGroups(uids)
  // A pod without a group has ended, unless its processes say otherwise.
  const isUnseen = [...uids].some(uid => !groups.has(uid) && podHasProcesses(uid))
  return isUnseen ? undefined : [...groups.values()]
}

/** By the targets in the ledger, and by the mounts that kubelet made of parts of them (subPath), which lie in the pods' folders. */
function podsOf(volumes: Volumes, label: Label): Set<string> | undefined {
  const { ledger, store, driver } = volumes
  const uids = new Set<string>()
  for (const { pod } of headTargets(ledger, label)) {
    if (pod === undefined) return undefined
    uids.add(pod.uid)
  }
  const own = headPath(volumes, label)
  for (const { mountpoint } of headMounts(store, label)) {
    if (mountpoint === own || ledger.published.has(mountpoint)) continue
    const uid = podOfPath(driver.kubeletDir, mountpoint)
    if (uid === undefined) return undefined
    uids.add(uid)
  }
  return uids
}

function podOfPath(kubeletDir: string | undefined, path: string): string | undefined {
  const top = `${kubeletDir}/pods/`
  return kubeletDir !== undefined && path.startsWith(top) ? path.slice(top.length).split('/', 1)[0] : undefined
}

/** Targets whose pod seems to be gone: no group, no process. They are reported only: a pod that was deleted by force may still run. */
export function orphanedTargets({ ledger }: Volumes): Published[] {
  const entries = [...ledger.published.values()]
  const uids = new Set(entries.flatMap(({ pod }) => (pod === undefined ? [] : [pod.uid])))
  const groups = findPodGroups(uids)
  const gone = new Set([...uids].filter(uid => !groups.has(uid) && !podHasProcesses(uid)))
  return entries.filter(({ pod }) => pod !== undefined && gone.has(pod.uid))
}
