import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { describeCluster, files } from './machine/layout.ts'
import { startCluster } from './machine/start.ts'
import { KUBERNETES, programFolder } from './programs/programs.ts'

/** A cluster to look around in: a shell with kubectl and helm. It ends with the shell. See run.ts. */
const [folder, images, driverTag] = process.argv.slice(2)
const cluster = describeCluster(folder, 2)
await startCluster(cluster, images.split(','))
console.log(`the cluster is up (${folder}); the driver's image is localhost/stratum:${driverTag}`)
const settings = path.join(folder, 'bashrc')
fs.writeFileSync(settings, `PS1='cluster# '\nPATH=${programFolder(KUBERNETES)}:$PATH\n`)
const env = {
  ...process.env,
  KUBECONFIG: files.kubeconfig(cluster, 'admin'),
  STRATUM_TEST_CLUSTER: folder,
  STRATUM_IMAGE_TAG: driverTag,
}
spawnSync('bash', ['--rcfile', settings], { stdio: 'inherit', env })
