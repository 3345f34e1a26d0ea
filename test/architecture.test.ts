import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'

/** The rooms of src from the ground up: a room imports only from rooms below it. ARCHITECTURE.md says what each is for. */
const FLOORS = [
  ['errors'],
  ['names'],
  ['erofs', 'hashes'],
  ['tree'],
  ['images'],
  ['host', 'telemetry'],
  ['store'],
  ['objects'],
  ['commits'],
  ['refs', 'capture'],
  ['mounts'],
  ['heads', 'archives'],
  ['collect', 'check'],
  ['repository'],
  ['volumes'],
  ['csi', 'kube'],
  ['daemons'],
  ['cli'],
] as const
/** Rooms that only compute: they may hash, and nothing else of Node. */
const PURE = ['errors', 'names', 'erofs', 'hashes', 'tree', 'images']
const SRC = path.resolve(import.meta.dirname, '../src')

interface Import {
  from: string
  to: string
  text: string
}

const imports: Import[] = fs.globSync('**/*.ts', { cwd: SRC }).flatMap(file => {
  const text = fs.readFileSync(path.join(SRC, file), 'utf8')
  const found = [...text.matchAll(/(?:from|import\()\s*'([^']+)'/g), ...text.matchAll(/^import '([^']+)'/gm)]
  return found.map(([, target]) => ({
    from: file,
    to: target.startsWith('.') ? path.normalize(path.join(path.dirname(file), target)) : target,
    text: target,
  }))
})

const roomOf = (file: string): string => file.split('/')[0]
const floorOf = (room: string): number => FLOORS.findIndex(rooms => (rooms as readonly string[]).includes(room))

test('every room stands on a floor', () => {
  const rooms = fs.readdirSync(SRC, { withFileTypes: true }).filter(entry => entry.isDirectory())
  assert.deepEqual(
    rooms.map(({ name }) => name).filter(name => floorOf(name) < 0),
    [],
  )
})

test('imports only go down, and rooms of one floor do not know each other', () => {
  const wrong = imports.filter(({ from, text, to }) => {
    if (!text.startsWith('.') || !from.includes('/') || !to.includes('/')) return false
    const [room, target] = [roomOf(from), roomOf(to)]
    return room !== target && floorOf(target) >= floorOf(room)
  })
  assert.deepEqual(
    wrong.map(({ from, to }) => `${from} imports ${to}`),
    [],
  )
})

test('no file imports in a circle', () => {
  const edges = Map.groupBy(
    imports.filter(({ text }) => text.startsWith('.')),
    ({ from }) => from,
  )
  const done = new Set<string>()
  const visit = (file: string, above: readonly string[]): void => {
    assert.ok(!above.includes(file), `a circle: ${[...above.slice(above.indexOf(file)), file].join(' → ')}`)
    if (done.has(file)) return
    for (const { to } of edges.get(file) ?? []) visit(to, [...above, file])
    done.add(file)
  }
  for (const file of edges.keys()) visit(file, [])
})

test('pure rooms only compute', () => {
  const wrong = imports.filter(
    ({ from, text }) => PURE.includes(roomOf(from)) && !text.startsWith('.') && text !== 'node:crypto',
  )
  assert.deepEqual(
    wrong.map(({ from, text }) => `${from} imports ${text}`),
    [],
  )
})

test('only host/ makes system calls and runs programs', () => {
  const wrong = imports.filter(
    ({ from, text }) => ['koffi', 'execa', 'node:child_process'].includes(text) && roomOf(from) !== 'host',
  )
  assert.deepEqual(
    wrong.map(({ from, text }) => `${from} imports ${text}`),
    [],
  )
})

test('what takes long to load is loaded only by who uses it', () => {
  const heavy = ['@grpc/grpc-js', 'prom-client', 'pino']
  const allowed: Record<string, readonly string[]> = {
    csi: ['@grpc/grpc-js'],
    telemetry: ['prom-client', 'pino'],
  }
  const wrong = imports.filter(
    ({ from, text }) => heavy.includes(text) && !(allowed[roomOf(from)] ?? []).includes(text),
  )
  assert.deepEqual(
    wrong.map(({ from, text }) => `${from} imports ${text}`),
    [],
  )
})

/** What is loaded together with a file: what it imports as a value, not within a function. */
function loadedWith(file: string): Set<string> {
  const loaded = new Set<string>()
  const load = (name: string): void => {
    if (loaded.has(name)) return
    loaded.add(name)
    if (name.endsWith('.ts')) for (const target of valueImports(name)) load(target)
  }
  load(file)
  return loaded
}

function valueImports(file: string): string[] {
  const text = fs.readFileSync(path.join(SRC, file), 'utf8')
  return [...text.matchAll(/^import (?!type )(?:[^';]* from )?'([^']+)'/gm)].map(([, target]) =>
    target.startsWith('.') ? path.normalize(path.join(path.dirname(file), target)) : target,
  )
}

test('a mount loads neither hashes nor what starts programs, makes commits or stops writers', () => {
  const loaded = new Set(
    ['cli/main.ts', 'cli/commands/mount.ts', 'store/open-store.ts'].flatMap(f => [...loadedWith(f)]),
  )
  const slow = ['node:crypto', 'node:child_process', 'commits/create-commit.ts', 'heads/freeze.ts', 'heads/remount.ts']
  assert.deepEqual(
    slow.filter(name => loaded.has(name)),
    [],
  )
  assert.ok(loaded.has('heads/mount-head.ts')) // imports are found at all
})
