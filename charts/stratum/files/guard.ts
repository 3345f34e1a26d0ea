import fs from 'node:fs'

/**
 * Run by a Job before the release is uninstalled: fails while pods use volumes of Stratum. Their mounts would go on working, but nobody
 * would unmount them, and the pods could neither end nor start again. Needs Node alone.
 */
const DRIVER = 'stratum.csi.dev'
const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount'
const PAGE = 500
const SHOWN = 20

interface Volume {
  csi?: { driver: string }
  persistentVolumeClaim?: { claimName: string }
  /** A claim named by the pod and the volume. */
  ephemeral?: object
  name: string
}
interface Meta {
  name: string
  namespace?: string
}
interface Pod {
  metadata: Meta
  spec: { volumes?: Volume[] }
  status?: { phase?: string }
}
interface Claim {
  metadata: Meta
  spec: { volumeName?: string }
}
interface PersistentVolume {
  metadata: Meta
  spec: { csi?: { driver: string } }
}

if (import.meta.main) await main()

async function main(): Promise<void> {
  const token = fs.readFileSync(`${ACCOUNT}/token`, 'utf8')
  const server = `https://${process.env.KUBERNETES_SERVICE_HOST}:${process.env.KUBERNETES_SERVICE_PORT}`
  const { users, volumes } = await findUsers(server, token)
  if (users.length > 0) {
    const more = users.length > SHOWN ? `\n  … and ${users.length - SHOWN} more` : ''
    console.log(
      `Stratum is not uninstalled: ${users.length} pods use its volumes.\n  ${users.slice(0, SHOWN).join('\n  ')}${more}\n` +
        'Delete them first (or scale what makes them to 0). To uninstall all the same: helm uninstall --no-hooks.',
    )
    process.exitCode = 1
    return
  }
  console.log(
    `No pod uses a volume of Stratum. ${volumes} PersistentVolumes remain, and so does all data on the nodes.`,
  )
}

/** The pods that use a volume of the driver and have not ended, as `namespace/name (volume)`. */
export async function findUsers(server: string, token: string): Promise<{ users: string[]; volumes: number }> {
  const read = <T>(path: string): Promise<T[]> => list<T>(server, path, token)
  const [pods, claims, volumes] = await Promise.all([
    read<Pod>('/api/v1/pods'),
    read<Claim>('/api/v1/persistentvolumeclaims'),
    read<PersistentVolume>('/api/v1/persistentvolumes'),
  ])
  const ours = new Set(volumes.filter(({ spec }) => spec.csi?.driver === DRIVER).map(({ metadata }) => metadata.name))
  const ourClaims = new Set(
    claims
      .filter(({ spec }) => ours.has(spec.volumeName ?? ''))
      .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`),
  )
  const users = pods.flatMap(({ metadata: { name, namespace }, spec, status }) => {
    if (status?.phase === 'Succeeded' || status?.phase === 'Failed') return []
    const used = (spec.volumes ?? []).filter(volume => {
      const claim = volume.persistentVolumeClaim?.claimName ?? (volume.ephemeral ? `${name}-${volume.name}` : '')
      return volume.csi?.driver === DRIVER || ourClaims.has(`${namespace}/${claim}`)
    })
    return used.map(volume => `${namespace}/${name} (${volume.name})`)
  })
  return { users, volumes: ours.size }
}

async function list<T>(server: string, path: string, token: string): Promise<T[]> {
  const items: T[] = []
  let next = ''
  do {
    const url = `${server}${path}?limit=${PAGE}&continue=${encodeURIComponent(next)}`
    const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } })
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
    const page = (await response.json()) as { items: T[]; metadata: { continue?: string } }
    items.push(...page.items)
    next = page.metadata.continue ?? ''
  } while (next !== '')
  return items
}
