import fs from 'node:fs'
import path from 'node:path'
import { kubectl } from '../machine/kubectl.ts'
import type { Cluster } from '../machine/layout.ts'

/** What somebody needs who reads the failure of a test on a machine that is gone by then. Never fails itself. */
const LINES_PER_LOG = 40
const EVENTS = ['--all-namespaces', '--field-selector=type!=Normal', '--sort-by=.metadata.creationTimestamp']

export async function collectEvidence(cluster: Cluster): Promise<string> {
  const parts = [
    await ask(cluster, ['get', 'pods,pv,pvc,volumesnapshots,volumesnapshotcontents', '--all-namespaces', '-o', 'wide']),
    await ask(cluster, ['get', 'scm,stratumlabels', '--all-namespaces', '-o', 'wide']),
    await ask(cluster, ['get', 'events', ...EVENTS], 40),
    ...(await podLogs(cluster)),
    ...componentLogs(cluster),
  ]
  return parts.join('\n')
}

async function ask(cluster: Cluster, args: readonly string[], lines = 200): Promise<string> {
  const title = `── kubectl ${args.join(' ')}`
  try {
    return `${title}\n${lastLines(await kubectl(cluster, ['--request-timeout=20s', ...args]), lines)}`
  } catch (error) {
    return `${title}\n${String(error).slice(0, 400)}`
  }
}

async function podLogs(cluster: Cluster): Promise<string[]> {
  const pods = await kubectl(cluster, ['get', 'pods', '--namespace', 'stratum-system', '-o', 'name']).catch(() => '')
  const names = pods.split('\n').filter(name => name !== '')
  const options = ['--namespace', 'stratum-system', '--all-containers', '--prefix', `--tail=${LINES_PER_LOG}`]
  return Promise.all(names.map(name => ask(cluster, ['logs', ...options, name])))
}

/** Only what tells of trouble: klog begins such lines with W, E or F. etcd and the API server complain a lot while they start. */
function componentLogs(cluster: Cluster): string[] {
  const folder = path.join(cluster.folder, 'log')
  const names = fs.readdirSync(folder).filter(name => !/^(etcd|kube-apiserver)/.test(name))
  return names.map(name => {
    const trouble = fs
      .readFileSync(path.join(folder, name), 'utf8')
      .split('\n')
      .filter(line => !/^[ID]\d{4} |level=(info|debug)|requestheader-client-ca/.test(line))
    return `── ${name}\n${lastLines(trouble.join('\n'), LINES_PER_LOG / 2)}`
  })
}

function lastLines(text: string, count: number): string {
  return text
    .trimEnd()
    .split('\n')
    .slice(-count)
    .map(line => line.slice(0, 500))
    .join('\n')
}
