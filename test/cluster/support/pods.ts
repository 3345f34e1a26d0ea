import { BUSYBOX_IMAGE } from '../images/small.ts'
import { apply, get, type KubeObject, kubectl, list, unique } from './cluster.ts'
import { waitFor } from './wait.ts'

/** Pods of the tests: busybox that sleeps, so that the test can do things in it. */
export interface PodSpec {
  readonly name?: string
  readonly namespace?: string
  readonly node?: string
  /** What the container runs; without it, it sleeps. A shell command. */
  readonly command?: string
  /** Mount paths and the volumes there. */
  readonly volumes?: Readonly<Record<string, KubeObject>>
  /** More fields of the volumeMount, by mount path. */
  readonly mounts?: Readonly<Record<string, KubeObject>>
  readonly pod?: KubeObject
  readonly container?: KubeObject
}

export function claim(name: string): KubeObject {
  return { persistentVolumeClaim: { claimName: name } }
}

export function podObject(spec: PodSpec): KubeObject {
  const volumes = Object.entries(spec.volumes ?? {})
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: spec.name ?? unique('pod'), namespace: spec.namespace ?? 'default' },
    spec: {
      terminationGracePeriodSeconds: 1,
      restartPolicy: 'Never',
      ...(spec.node === undefined ? {} : { nodeSelector: { 'kubernetes.io/hostname': spec.node } }),
      containers: [
        {
          name: 'main',
          image: BUSYBOX_IMAGE,
          imagePullPolicy: 'Never',
          command: ['sh', '-c', spec.command ?? 'trap exit TERM; while :; do sleep 3600 & wait; done'],
          volumeMounts: volumes.map(([mountPath], index) => ({
            name: `v${index}`,
            mountPath,
            ...spec.mounts?.[mountPath],
          })),
          ...spec.container,
        },
      ],
      volumes: volumes.map(([, source], index) => ({ name: `v${index}`, ...source })),
      ...spec.pod,
    },
  }
}

export interface Pod {
  readonly name: string
  readonly namespace: string
  /** Runs a shell command in the pod and gives what it printed. */
  sh(command: string): Promise<string>
  delete(): Promise<void>
}

/** Makes a pod and waits until it runs; if it does not, the error holds its Events. */
export async function startPod(spec: PodSpec): Promise<Pod> {
  const pod = await createPod(spec)
  await waitForPod(pod.name, pod.namespace)
  return pod
}

export async function createPod(spec: PodSpec): Promise<Pod> {
  const object = podObject(spec)
  await apply(object)
  return podNamed(object.metadata.name, object.metadata.namespace)
}

export function podNamed(name: string, namespace = 'default'): Pod {
  return {
    name,
    namespace,
    sh: command => kubectl('exec', name, '--namespace', namespace, '--', 'sh', '-c', command),
    delete: async () => {
      await kubectl('delete', 'pod', name, '--namespace', namespace, '--timeout=120s')
    },
  }
}

export async function waitForPod(name: string, namespace = 'default'): Promise<void> {
  await waitFor(
    `pod ${namespace}/${name} to run`,
    async () => {
      const pod = await get('pod', name, namespace)
      return pod.status.conditions?.some((it: KubeObject) => it.type === 'Ready' && it.status === 'True')
    },
    { explain: async () => (await eventsOf('Pod', name, namespace)).join('\n') },
  )
}

/** What the Events about an object say, oldest first. */
export async function eventsOf(kind: string, name: string, namespace = 'default'): Promise<string[]> {
  const selector = `involvedObject.kind=${kind},involvedObject.name=${name}`
  const events = await list('events', '--namespace', namespace, '--field-selector', selector)
  return events.map(event => `${event.reason}: ${event.message}`)
}

/** Waits for an Event about the object whose text matches. */
export function waitForEvent(kind: string, name: string, pattern: RegExp, namespace = 'default'): Promise<string> {
  return waitFor(
    `an Event about ${kind} ${name} that matches ${String(pattern)}`,
    async () => (await eventsOf(kind, name, namespace)).find(text => pattern.test(text)),
    { explain: async () => (await eventsOf(kind, name, namespace)).join('\n') },
  )
}
