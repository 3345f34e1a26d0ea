import fs from 'node:fs'
import { isErrno } from '../errors/errno.ts'
import type { Freezer } from './cgroup.ts'
import { processes } from './mountinfo.ts'

/** Where the control groups of the machine are, for tests and for containers that have them elsewhere. */
const ROOT_VARIABLE = 'STRATUM_CGROUP_ROOT'
const ROOT = '/sys/fs/cgroup'
const DEPTH_MAX = 8

/**
 * The groups of pods, by their UIDs, as kubelet makes them: `pod<uid>` with cgroupfs, `…-pod<uid with _>.slice` with systemd. Version 2,
 * or the freezer of version 1. What is not found has no group.
 */
export function findPodGroups(uids: ReadonlySet<string>): Map<string, Freezer> {
  const found = new Map<string, Freezer>()
  const names = new Map([...uids].map(uid => [nameKey(`pod${uid}`), uid]))
  for (const top of hierarchyTops()) {
    if (found.size === uids.size) break
    for (const { name, path } of groupsBelow(top.path)) {
      const uid = names.get(nameKey(name))
      if (uid !== undefined && !found.has(uid)) found.set(uid, { version: top.version, path })
    }
  }
  return found
}

/** Groups that may be or hold those of pods, from the top down. */
function* groupsBelow(folder: string, depth = 0): Generator<{ name: string; path: string }> {
  for (const name of subgroups(folder)) {
    const path = `${folder}/${name}`
    yield { name, path }
    if (mayHoldPods(name) && depth < DEPTH_MAX) yield* groupsBelow(path, depth + 1)
  }
}

/** `kubelet-kubepods-burstable-pod1_2.slice` and `pod1-2` are the same. */
function nameKey(name: string): string {
  return name
    .replace(/\.slice$/, '')
    .replace(/^.*-(?=pod)/, '')
    .replaceAll('_', '-')
}

function mayHoldPods(name: string): boolean {
  return !/\.(scope|service|mount|socket|swap)$/.test(name) && !/(^|-)pod[0-9a-f]/.test(name)
}

function hierarchyTops(): Freezer[] {
  const root = process.env[ROOT_VARIABLE] ?? ROOT
  const tops: Freezer[] = [
    { version: 1, path: `${root}/freezer` },
    { version: 2, path: root },
    { version: 2, path: `${root}/unified` },
  ]
  return tops.filter(({ version, path }) => fs.existsSync(`${path}/${version === 1 ? 'tasks' : 'cgroup.controllers'}`))
}

function subgroups(path: string): string[] {
  try {
    return fs.readdirSync(path, { withFileTypes: true }).flatMap(entry => (entry.isDirectory() ? [entry.name] : []))
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENODEV')) return []
    throw error
  }
}

/** Whether some process says that it is in a group of this pod. */
export function podHasProcesses(uid: string): boolean {
  const forms = [uid, uid.replaceAll('-', '_')]
  return processes().some(pid => {
    try {
      const groups = fs.readFileSync(`/proc/${pid}/cgroup`, 'utf8')
      return forms.some(form => groups.includes(`pod${form}`))
    } catch {
      return false // it ended meanwhile
    }
  })
}
