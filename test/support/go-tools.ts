import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'

/** The Go module of the tests, which pins the official CSI module and csi-sanity. */
const MODULE = path.resolve(import.meta.dirname, '../csi/sanity')
const CACHE = path.join(os.homedir(), '.cache/stratum-tests')

const PACKAGES = {
  'csi-sanity': 'github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity',
  'csi-descriptors': './descriptors',
} as const

/** A program of the Go module, built if that was not done for these versions yet. */
export function goTool(name: keyof typeof PACKAGES): string {
  const hash = createHash('sha256')
  for (const file of ['go.mod', 'go.sum', 'descriptors/main.go']) hash.update(fs.readFileSync(path.join(MODULE, file)))
  const built = path.join(CACHE, `${name}-${hash.digest('hex').slice(0, 16)}`)
  if (fs.existsSync(built)) return built
  fs.mkdirSync(CACHE, { recursive: true })
  const making = `${built}.${process.pid}`
  const env = { ...process.env, TMPDIR: '/tmp', CGO_ENABLED: '0' }
  execFileSync('go', ['build', '-mod=readonly', '-trimpath', '-o', making, PACKAGES[name]], {
    cwd: MODULE,
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  fs.renameSync(making, built)
  return built
}
