import fs from 'node:fs'
import { StratumError } from '../../errors/stratum-error.ts'

/** How an API server is reached and who we are there. */
export interface ApiServer {
  readonly address: { readonly host: string; readonly port: number } | { readonly socketPath: string }
  /** Certificates that the server's must be signed by, PEM. Without a CA there is no TLS: only for a unix socket. */
  readonly ca: string | undefined
  /** The bearer token of now: kubelet writes a new one before the old one ends. */
  token(): string | undefined
  /** Counts the answers. */
  readonly onAnswer?: (verb: string, code: string) => void
}

/** A pod's own access: the folder that kubelet mounts, and the namespace of the pod. */
export interface InCluster {
  readonly server: ApiServer
  readonly namespace: string
}

export const SERVICE_ACCOUNT_FOLDER = '/var/run/secrets/kubernetes.io/serviceaccount'
const TOKEN_LIFE_MS = 60_000

/**
 * The API server as a pod sees it, by the variables and files that kubelet gives it. STRATUM_SERVICE_ACCOUNT names another folder, for a process outside
 * of a pod. @throws unavailable outside of a pod
 */
export function inClusterServer(env: NodeJS.ProcessEnv = process.env): InCluster {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env
  const folder = env.STRATUM_SERVICE_ACCOUNT ?? SERVICE_ACCOUNT_FOLDER
  if (!host || !port) {
    throw new StratumError('unavailable', 'this process is not in a cluster: KUBERNETES_SERVICE_HOST is not set', {
      hint: 'Leave --cluster away to serve this machine alone',
    })
  }
  const read = (name: string): string => {
    try {
      return fs.readFileSync(`${folder}/${name}`, 'utf8')
    } catch (cause) {
      throw new StratumError('unavailable', `${folder}/${name} cannot be read: ${(cause as Error).message}`, {
        cause,
        hint: 'The pod needs a service account whose token is mounted (automountServiceAccountToken)',
      })
    }
  }
  return {
    server: {
      address: { host, port: Number(port) },
      ca: read('ca.crt'),
      token: remembered(() => read('token').trim(), TOKEN_LIFE_MS),
    },
    namespace: read('namespace').trim(),
  }
}

function remembered(read: () => string, lifeMs: number): () => string {
  let [value, until] = ['', Number.NEGATIVE_INFINITY]
  return () => {
    if (performance.now() < until) return value
    value = read()
    until = performance.now() + lifeMs
    return value
  }
}
