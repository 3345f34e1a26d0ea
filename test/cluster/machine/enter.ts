import { type ChildProcess, spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { say } from '../programs/cache.ts'
import { removeControlGroups, thawControlGroups } from './control-groups.ts'

/**
 * A cluster lives in mount, network, pid and ipc namespaces of its own, below one process. When that process ends, however it ends, the
 * kernel takes everything down: processes, mounts, networks. What remains are its folder and its control groups, which are removed here,
 * or by the next run if this one was killed.
 */
const PREFIX = 'stratum-cluster-'
const OWNER = 'owner.pid'
/** The variable that names the mount namespace which is not the cluster's. */
export const OUTSIDE = 'STRATUM_TEST_CLUSTER_OUTSIDE'

/** The namespaces end with the process that asks for them, even if it is killed. */
const NAMESPACES = [
  '--pdeathsig=KILL',
  'unshare',
  '--mount',
  '--net',
  '--pid',
  '--ipc',
  '--propagation=private',
  '--fork',
  '--kill-child',
  '--mount-proc',
]

/** Runs a script in a new cluster's namespaces, gives it the cluster's folder as its first argument, and removes what is left after it. */
export async function runInCluster(script: string, args: readonly string[]): Promise<number> {
  removeLeftovers()
  const folder = fs.mkdtempSync(path.join(clusterFolder(), PREFIX))
  fs.writeFileSync(path.join(folder, OWNER), String(process.pid))
  const program = ['tini', '--', process.execPath, script, folder, ...args]
  const child = spawn('setpriv', [...NAMESPACES, ...program], {
    stdio: 'inherit',
    env: { ...process.env, [OUTSIDE]: fs.readlinkSync('/proc/self/ns/mnt') },
  })
  try {
    return await endOf(child)
  } finally {
    await removeCluster(folder)
  }
}

/** Interrupts reach the child by itself (the terminal) or are handed on; either way this process stays to clean up. */
function endOf(child: ChildProcess): Promise<number> {
  const handOn = (): void => void child.kill('SIGKILL')
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, handOn)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', status => resolve(status ?? 130))
  })
}

/** Not in a file system in memory: stores want one with real disks' abilities, and images are large. */
function clusterFolder(): string {
  const folder = process.env.STRATUM_TEST_CLUSTER_FOLDER ?? (fs.existsSync('/var/tmp') ? '/var/tmp' : os.tmpdir())
  fs.mkdirSync(folder, { recursive: true })
  return folder
}

/** What runs that were killed have left. */
function removeLeftovers(): void {
  for (const name of fs.readdirSync(clusterFolder())) {
    const owner = path.join(clusterFolder(), name, OWNER)
    if (!name.startsWith(PREFIX) || !fs.existsSync(owner)) continue
    if (fs.existsSync(`/proc/${fs.readFileSync(owner, 'utf8')}`)) continue
    say(`removing what is left of ${name}`)
    removeControlGroups(name)
    fs.rmSync(path.join(clusterFolder(), name), { recursive: true, force: true })
  }
}

async function removeCluster(folder: string): Promise<void> {
  const name = path.basename(folder)
  thawControlGroups(name)
  for (let attempt = 0; attempt < 50 && removeControlGroups(name) > 0; attempt++) await sleep(200)
  fs.rmSync(folder, { recursive: true, force: true })
}
