import fs from 'node:fs'
import path from 'node:path'
import { type Cluster, CONTROL_PLANE_ADDRESS, files } from './layout.ts'
import { run } from './run.ts'

const DAYS = '30'
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc']

/** The authority that everybody in the cluster trusts, and the pair of keys that service account tokens are signed with. */
export async function makeAuthority(cluster: Cluster): Promise<void> {
  fs.mkdirSync(path.join(cluster.folder, 'pki'), { recursive: true })
  const [key, certificate] = [files.key(cluster, 'ca'), files.certificate(cluster, 'ca')]
  const request = ['req', '-x509', ...NEW_KEY, '-subj', '/CN=test-ca', '-days', DAYS]
  await run('openssl', [...request, '-keyout', key, '-out', certificate])
  const accounts = files.key(cluster, 'accounts')
  await run('openssl', ['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', accounts])
  await run('openssl', ['ec', '-in', accounts, '-pubout', '-out', files.certificate(cluster, 'accounts')])
}

/**
 * A certificate, and a kubeconfig that uses it. `subject` is the user and its groups (`/O=group/CN=user`), `alternatives` the names and
 * addresses that a server answers to (`DNS:…,IP:…`).
 */
export async function makeIdentity(cluster: Cluster, name: string, subject: string, alternatives = ''): Promise<void> {
  const [key, certificate] = [files.key(cluster, name), files.certificate(cluster, name)]
  const [request, extensions] = [`${certificate}.request`, `${certificate}.extensions`]
  fs.writeFileSync(
    extensions,
    `extendedKeyUsage=clientAuth,serverAuth\n${alternatives === '' ? '' : `subjectAltName=${alternatives}\n`}`,
  )
  await run('openssl', ['req', ...NEW_KEY, '-keyout', key, '-out', request, '-subj', subject])
  const signer = ['-CA', files.certificate(cluster, 'ca'), '-CAkey', files.key(cluster, 'ca'), '-CAcreateserial']
  const sign = ['x509', '-req', '-in', request, ...signer, '-days', DAYS]
  await run('openssl', [...sign, '-out', certificate, '-extfile', extensions])
  writeKubeconfig(cluster, name)
}

/** JSON is YAML, too. */
function writeKubeconfig(cluster: Cluster, name: string): void {
  const server = {
    server: `https://${CONTROL_PLANE_ADDRESS}:443`,
    'certificate-authority': files.certificate(cluster, 'ca'),
  }
  const user = { 'client-certificate': files.certificate(cluster, name), 'client-key': files.key(cluster, name) }
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: server }],
    users: [{ name, user }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: name } }],
    'current-context': 'test',
  }
  fs.writeFileSync(files.kubeconfig(cluster, name), JSON.stringify(config))
}
