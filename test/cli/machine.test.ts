import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import { after, test } from 'node:test'
import { COMMANDS } from '../../src/cli/commands.ts'
import { content } from '../support/store.ts'
import { scaled } from '../support/scale.ts'
import { createUser, hashFolder, mountsBelow, shell, type User } from '../support/user.ts'
import { checkStore } from '../support/verifier.ts'

/** Machines that lack something: rights, a kernel, space, a disk that can be written; stores of the future and stores that are damaged. */
const mounted: string[] = []
after(() => {
  for (const place of mounted.reverse()) shell('umount', '--lazy', '--recursive', place)
})

function withCommit(store?: string): User {
  const user = createUser(store)
  user.ok('import', user.directory('one', { a: content('a'), 'd/b': content('b') }), '--label', 'app', '--tag', 'v1')
  return user
}

/** Each command with arguments that would do something. */
const CALLS: readonly (readonly [name: string, ...args: string[]])[] = [
  ['init', 'new', 'mnt'],
  ['import', 'one', '--label', 'new'],
  ['mount', 'app', 'mnt'],
  ['mount', 'app:v1', 'mnt'],
  ['unmount', 'app'],
  ['commit', 'app'],
  ['tag', 'app:v1', 'v2'],
  ['apply', 'app:v1', 'mnt'],
  ['remove', 'app:v1'],
  ['export', 'app:v1', 'x.tar'],
  ['list'],
  ['status', 'app:v1'],
  ['log', 'app'],
  ['diff', 'app:v1', 'app:v1'],
  ['show', 'app:v1'],
  ['ls', 'app:v1'],
  ['cat', 'app:v1', 'a'],
  ['gc'],
  ['verify'],
  ['fsck'],
  ['du'],
]

function call(user: User, [name, ...args]: readonly [string, ...string[]]): string[] {
  const paths = new Set(['mnt', 'one', 'x.tar'])
  return [name, ...args.map(arg => (paths.has(arg) ? user.at(arg) : arg))]
}

test('every command says so when it is not run by root, and changes nothing', () => {
  const user = withCommit()
  for (const folder of [process.env.TMPDIR ?? '', user.folder]) fs.chmodSync(folder, 0o755)
  const before = hashFolder(user.store)
  const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--']
  const named = new Set(CALLS.map(([name]) => name))
  for (const { name } of COMMANDS.filter(({ group }) => group !== 'Kubernetes'))
    assert.ok(named.has(name) || ['doctor', 'config', 'completion'].includes(name), name)
  for (const each of CALLS) {
    const { status, stderr } = user.run([...call(user, each)], {}, nobody)
    assert.equal(status, 11, `${each.join(' ')}: ${stderr}`)
    assert.match(
      stderr,
      /^error: .*(permission denied|not permitted|needs root).*\n {2}.*(root|sudo).*\n$/s,
      each.join(' '),
    )
  }
  assert.equal(hashFolder(user.store), before)
  const doctor = user.run(['doctor'], {}, nobody)
  assert.equal(doctor.status, 11)
  assert.match(doctor.stdout, /MISSING +privilege +uid 65534/)
  assert.equal(user.run(['config', 'show'], {}, nobody).status, 0)
})

test('without the right to mount, everything works but what mounts, which says what is missing', () => {
  const user = withCommit()
  const without = ['setpriv', '--bounding-set=-sys_admin', '--inh-caps=-all', '--']
  const { status, stderr } = user.run(['mount', 'app:v1', user.at('mnt')], {}, without)
  assert.equal(status, 11, stderr)
  assert.match(stderr, /stratum doctor/)
  assert.deepEqual(mountsBelow(user.folder), [])
  assert.equal(user.run(['tag', 'app:v1', 'v2'], {}, without).status, 0)
})

test('an old kernel is named with what it lacks', () => {
  const user = withCommit()
  const { status, stderr } = user.run(['mount', 'app:v1', user.at('mnt')], {
    STRATUM_KERNEL_RELEASE: '5.15.0-91-generic',
  })
  assert.equal(status, 11)
  assert.match(stderr, /Linux 5\.15\.0-91-generic is too old: Stratum needs 6\.8, .*\n {2}stratum doctor/)
  assert.deepEqual(mountsBelow(user.folder), [])
  const doctor = user.run(['doctor'], { STRATUM_KERNEL_RELEASE: '5.15.0' })
  assert.equal(doctor.status, 11)
  assert.match(doctor.stdout, /MISSING +kernel +Linux 5\.15\.0 is too old/)
  assert.equal(user.run(['doctor'], { STRATUM_KERNEL_RELEASE: '6.11.0' }).stdout.includes('loop devices'), true)
})

test('a store of a newer format is left alone; one with unknown features is read, or left alone', () => {
  const user = withCommit()
  const settings = `${user.store}/stratum.toml`
  const text = fs.readFileSync(settings, 'utf8')
  for (const [change, message] of [
    [text.replace('format = 1', 'format = 2'), /has format 2, which this version of stratum does not know/],
    [text.replace(/^incompatible = \[\s*\]/m, 'incompatible = [ "wormholes" ]'), /uses wormholes, which/],
  ] as const) {
    fs.writeFileSync(settings, change)
    const before = hashFolder(user.store)
    for (const each of CALLS) {
      const { status, stderr } = user.run(call(user, each))
      assert.equal(status, 11, each.join(' '))
      assert.match(stderr, message)
      assert.match(stderr, /Use the version of stratum that wrote it/)
    }
    assert.equal(hashFolder(user.store), before)
  }
  fs.writeFileSync(settings, text.replace('read_only_compatible = []', 'read_only_compatible = [ "hints" ]'))
  assert.equal(user.ok('cat', 'app:v1', 'a'), content('a'))
  for (const args of [
    ['tag', 'app:v1', 'v2'],
    ['gc'],
    ['import', user.at('one'), '--label', 'x'],
    ['remove', 'app:v1'],
  ])
    assert.match(user.fails(11, ...args).stderr, /can read but not write/)
})

for (const [what, damage, args, status, message] of [
  [
    'stratum.toml',
    (s: string) => fs.writeFileSync(`${s}/stratum.toml`, 'format = '),
    ['list'],
    9,
    /stratum\.toml is damaged/,
  ],
  [
    'a tag',
    (s: string) => fs.writeFileSync(`${s}/refs/app/tags/v1`, 'x\n'),
    ['show', 'app:v1'],
    9,
    /the tag app:v1 is damaged: it holds no commit id\n {2}stratum log app/,
  ],
  [
    'a tag of a commit that is gone',
    (s: string) => fs.writeFileSync(`${s}/refs/app/tags/v1`, `${'a'.repeat(64)}\n`),
    ['mount', 'app:v1', '/nowhere'],
    9,
    /app:v1 names a commit that is not in the store\n {2}stratum fsck/,
  ],
  [
    'head.toml',
    (s: string) => fs.writeFileSync(`${s}/refs/app/head.toml`, '[head]\n'),
    ['mount', 'app', '/nowhere'],
    9,
    /head\.toml of app is damaged: .*\n {2}stratum fsck/,
  ],
  [
    'metadata.toml',
    (s: string) => overwrite(s, 'commits/*/metadata.toml'),
    ['show', 'app:v1'],
    9,
    /metadata\.toml.*damaged/,
  ],
  ['the image', (s: string) => overwrite(s, 'commits/*/commit.cfs'), ['ls', 'app:v1'], 9, /commit [0-9a-f]{12}|image/],
  [
    'the image, mounted',
    (s: string) => overwrite(s, 'commits/*/commit.cfs'),
    ['mount', 'app:v1', '/nowhere'],
    9,
    /image|commit/,
  ],
  [
    'an object',
    (s: string) => overwrite(s, 'objects/??/*'),
    ['cat', 'app:v1', 'a'],
    9,
    /object [0-9a-f]{64} has 7000 bytes instead of 101\n {2}stratum fsck --repair/,
  ],
  [
    'an object that is gone',
    (s: string) => fs.globSync('objects/??/*', { cwd: s }).forEach(name => fs.rmSync(`${s}/${name}`)),
    ['cat', 'app:v1', 'a'],
    9,
    /the object of a, [0-9a-f]{64}, is not in the store\n {2}stratum fsck --repair/,
  ],
] as const)
  test(`a damaged store is an integrity error that names ${what}`, () => {
    const user = withCommit()
    user.ok('mount', 'app', user.at('head'))
    user.ok('unmount', 'app')
    damage(user.store)
    const before = hashFolder(user.store, { without: /^(refs\/app\/)?lock$|gate/ })
    const ran = user.run(args)
    assert.equal(ran.status, status, ran.stdout + ran.stderr)
    assert.match(ran.stderr, message)
    assert.equal(hashFolder(user.store, { without: /^(refs\/app\/)?lock$|gate/ }), before)
    assert.deepEqual(mountsBelow(user.folder), [])
  })

function overwrite(store: string, glob: string): void {
  for (const name of fs.globSync(glob, { cwd: store })) {
    fs.chmodSync(`${store}/${name}`, 0o600)
    fs.writeFileSync(`${store}/${name}`, 'damaged'.repeat(1000))
  }
}

test('a lock whose holder died holds nobody up', () => {
  const user = withCommit()
  const holder = spawn('flock', ['--exclusive', `${user.store}/refs/app/lock`, 'sleep', '1000'], {
    stdio: 'ignore',
    detached: true,
  })
  const isLocked = (): boolean => user.run(['tag', 'app:v1', 'v2'], { STRATUM_LOCK_TIMEOUT: '0' }).status === 7
  for (let tries = 0; !isLocked(); tries++) assert.ok(tries < 1000)
  process.kill(-(holder.pid ?? 0), 'SIGKILL')
  assert.equal(user.ok('tag', 'app:v1', 'v3'), 'app:v3')
})

/** A file system of its own of so many KiB, without blocks kept for root. */
function smallDisk(user: User, kilobytes: number): string {
  const place = user.at(`disk-${kilobytes}`)
  fs.mkdirSync(place)
  shell('truncate', '-s', `${kilobytes}K`, `${place}.image`)
  shell('mkfs.ext4', '-q', '-b', '1024', '-m', '0', '-N', '1024', '-O', '^has_journal', `${place}.image`)
  shell('mount', '-o', 'loop', `${place}.image`, place)
  mounted.push(place)
  return place
}

test('a disk that is full at any stage of an import: no space, nothing half done, and room is found again', () => {
  const machine = createUser()
  const files = Object.fromEntries(
    Array.from({ length: 60 }, (_, i) => [`d${i % 7}/f${i}`, content(`file ${i} `, 3000)]),
  )
  const source = machine.directory('source', files)
  let [full, fitted] = [0, 0]
  for (let step = 0; step < scaled(8); step++) {
    const user = createUser(`${smallDisk(machine, 700 + Math.round((step * 400) / scaled(8)))}/store`)
    const small = user.run(['import', machine.directory('tiny', { t: 't' }), '--label', 'app', '--tag', 'v0'])
    const { status, stderr } = user.run(['import', source, '--label', 'app', '--tag', 'v1'])
    if (status === 0) fitted++
    else {
      full++
      assert.equal(status, 13, stderr)
      assert.match(stderr, /no space left on the file system/)
    }
    if (small.status !== 0) continue
    assert.equal(user.json('list', 'app').tags.length, status === 0 ? 2 : 1)
    assert.deepEqual(fs.readdirSync(`${user.store}/staging`), [])
    assert.equal(user.json('fsck').clean, true)
    assert.deepEqual(checkStore(user.store).problems, [])
  }
  assert.ok(full > 0 && fitted > 0, `${full} full, ${fitted} fitted`)
})

test('a disk that is full for a commit: HEAD keeps what was written, and is committed when there is room', () => {
  const machine = createUser()
  const place = smallDisk(machine, 3000)
  const user = createUser(`${place}/store`)
  user.ok('import', machine.directory('one', { a: content('a') }), '--label', 'app', '--tag', 'v1')
  user.ok('mount', 'app', user.at('head'))
  mounted.push(user.at('head'))
  fs.writeFileSync(user.at('head/big'), content('big', 300_000))
  shell('sh', '-c', `cat /dev/zero > ${place}/filler 2> /dev/null || true`)
  const { stderr } = user.fails(13, 'commit', 'app:v2')
  assert.match(stderr, /no space left on the file system/)
  assert.equal(fs.readFileSync(user.at('head/big'), 'utf8'), content('big', 300_000))
  fs.rmSync(`${place}/filler`)
  user.ok('commit', 'app:v2')
  assert.equal(user.ok('cat', 'app:v2', 'big'), content('big', 300_000))
  assert.equal(user.json('fsck').clean, true)
})

for (const [what, args] of [
  ['import', ['import', 'two', '--label', 'app', '--tag', 'v2']],
  ['commit', ['commit', 'app:v2']],
  ['tag', ['tag', 'app:v1', 'v2']],
  ['apply', ['apply', 'app:v1', 'head']],
] as const)
  test(`no space at any changing call of ${what} is exit 13 or no harm, and the next try succeeds`, () => {
    const user = withCommit()
    user.directory('two', { c: content('c'), 'd/b': content('other') })
    user.ok('mount', 'app', user.at('head'))
    const line = args.map(arg => (['two', 'head'].includes(arg) ? user.at(arg) : arg))
    let at = 1
    for (let isOver = false; !isOver; at += Math.max(1, Math.round(7 / scaled(1)))) {
      user.ok('tag', 'app:v1', 'any', '--force') // if the call that failed was to make HEAD writable again, the next command does it
      fs.writeFileSync(user.at('head/draft'), content(`draft ${at}`))
      const { status, stderr } = user.run(line, { STRATUM_FAULT: `ENOSPC@${at}` })
      // The log is written first: a move that then found no space is finished by the next command.
      const isFinished = status === 5 && /app:v2 exists/.test(stderr)
      assert.ok(status === 13 || status === 0 || isFinished, `call ${at}: ${status} ${stderr}`)
      if (status === 13) assert.match(stderr, /no space left on the file system/)
      if (what !== 'apply') assert.equal(fs.readFileSync(user.at('head/draft'), 'utf8'), content(`draft ${at}`))
      if (what !== 'apply' && (status === 0 || isFinished)) user.ok('remove', 'app:v2')
      isOver = status === 0 && at > 60
    }
    assert.equal(user.json('fsck').clean, true)
    user.ok(...line)
    assert.equal(user.json('fsck').clean, true)
  })

test('a store on a read-only file system can be read, listed and exported, and is changed by nothing', () => {
  const machine = createUser()
  const place = smallDisk(machine, 4000)
  const user = withCommit(`${place}/store`)
  shell('mount', '-o', 'remount,ro', place)
  const before = hashFolder(user.store)
  assert.equal(user.ok('cat', 'app:v1', 'a'), content('a'))
  assert.equal(user.ok('mount', 'app:v1', user.at('view')), user.at('view'))
  assert.equal(fs.readFileSync(user.at('view/a'), 'utf8'), content('a'))
  user.ok('unmount', user.at('view'))
  user.ok('export', 'app:v1', user.at('x.tar'))
  for (const args of [
    ['import', user.at('one'), '--label', 'new'],
    ['tag', 'app:v1', 'v2'],
    ['mount', 'app', user.at('mnt')],
    ['remove', 'app:v1'],
    ['apply', 'app:v1', user.at('mnt')],
  ])
    assert.match(user.fails(11, ...args).stderr, /read-only/, args.join(' '))
  assert.equal(hashFolder(user.store), before)
})
