import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'

/** That docs/kubernetes speaks of what there is: links lead somewhere, messages are those of the program, every example is explained. */
const ROOT = path.resolve(import.meta.dirname, '../..')
const FOLDER = path.join(ROOT, 'docs/kubernetes')
const pages = fs.readdirSync(FOLDER).filter(name => name.endsWith('.md'))
const read = (name: string): string => fs.readFileSync(path.join(FOLDER, name), 'utf8')

/** Messages of Kubernetes and Helm. */
const FOREIGN = [
  'driver name stratum.csi.dev not found in the list of registered CSI drivers',
  'waiting for first consumer to be created before binding',
  'did not have enough free storage',
  'additional properties',
  'not allowed',
  'violates PodSecurity',
  'no matches for kind "VolumeSnapshotClass"',
  'job stratum-uninstall-guard failed',
]

test('every link leads to a file, and to a section of it', () => {
  for (const page of pages)
    for (const [, target] of read(page).matchAll(/\]\((?!https?:)([^)]+)\)/g)) {
      const [file, anchor] = target.split('#')
      const full = file === '' ? path.join(FOLDER, page) : path.resolve(FOLDER, file)
      assert.ok(fs.existsSync(full), `${page}: ${target}`)
      if (anchor === undefined) continue
      const anchors = [...fs.readFileSync(full, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, title]) => anchorOf(title))
      assert.ok(anchors.includes(anchor), `${page}: ${target}`)
    }
})

test('every message in troubleshooting is one of the program, or known to be of Kubernetes', () => {
  const files = ['src/**/*.ts', 'charts/stratum/templates/**/*'].flatMap(pattern => fs.globSync(pattern, { cwd: ROOT }))
  const sources = files
    .filter(file => fs.statSync(path.join(ROOT, file)).isFile())
    .map(file => fs.readFileSync(path.join(ROOT, file), 'utf8'))
    .join('\n')
  const unknown = [...read('troubleshooting.md').matchAll(/^\| ([^|]*`[^|]*)\|/gm)]
    .flatMap(([, cell]) => [...cell.matchAll(/`([^`]+)`/g)].map(([, message]) => message))
    .filter(message => !FOREIGN.includes(message) && !sources.includes(message))
  assert.deepEqual(unknown, [])
})

test('every example is linked to', () => {
  const all = pages.map(read).join('\n')
  const examples = fs.readdirSync(path.join(ROOT, 'deploy/examples'))
  assert.deepEqual(
    examples.filter(name => !all.includes(`(../../deploy/examples/${name})`)),
    [],
  )
})

function anchorOf(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^\w\- ]/g, '')
    .replaceAll(' ', '-')
}
