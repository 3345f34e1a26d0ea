import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { COMMANDS } from '../../src/cli/commands.ts'
import { globalOptions } from '../../src/cli/program.ts'
import { type Printed, validate } from '../support/schema.ts'
import { content, type Ran } from '../support/store.ts'
import { createUser, type User } from '../support/user.ts'

/**
 * The contract of cli.md for every command: stdout is data and stderr the rest, -q leaves the one thing that was asked for, --json prints
 * what docs/schema/cli-1.json says, nothing is coloured, --help helps, and what is wrong is a usage error.
 */
interface Sample {
  readonly command: string
  /** What comes behind the command; `n` is another number for each run, for commands that cannot be run twice. */
  readonly args: (n: number) => readonly string[]
  /** Before each run, not looked at. */
  readonly before?: (n: number) => void
  readonly status?: number
  /** What plain stdout is. */
  readonly stdout: RegExp
  /** What -q leaves of it; the same if not said. */
  readonly quiet?: RegExp
  /** What stderr says beside it. */
  readonly stderr?: RegExp
  /** The shape of the last JSON object, and of those before it. */
  readonly shape: string
  readonly items?: string
}

const user = prepare()
const NOTHING = /^$/
const ID_LINE = /^app:[0-9a-f]{64}\n$/

/** A store with history, damage in nothing, and HEAD mounted with changes. */
function prepare(): User {
  const user = createUser()
  user.directory('source', { a: content('a'), 'd/b': content('b'), link: '-> a' })
  user.directory('other', { a: content('other'), 'd/b': content('b') })
  user.ok('import', user.at('source'), '--label', 'app', '--tag', 'v1', '-m', 'the first')
  user.ok('import', user.at('other'), '--label', 'app', '--tag', 'v2')
  user.ok('import', user.at('source'), '--label', 'garbage', '--tag', 'v1')
  user.ok('tag', 'app:v1', 'latest')
  user.ok('mount', 'app', user.at('head'))
  fs.writeFileSync(user.at('head/new'), content('new'))
  user.ok('mount', 'app:v2', user.at('view'))
  return user
}

/** A label of its own for each run. */
function imported(n: number, tag = 'v1'): void {
  fs.writeFileSync(user.at('source/n'), content(`${n} `))
  user.ok('import', user.at('source'), '--label', `l${n}`, '--tag', tag)
}

const SAMPLES: readonly Sample[] = [
  {
    command: 'init',
    args: n => [`init${n}`, user.at(`init${n}`)],
    stdout: /^\/.*\/init\d+\n$/,
    stderr: /^HEAD of init\d+, empty, is mounted\nto mount it at every boot, in \/etc\/fstab: init\d+ .*\n$/,
    shape: 'init',
  },
  {
    command: 'import',
    args: n => [user.at('other'), '--label', 'app', '--tag', `i${n}`],
    stdout: ID_LINE,
    stderr: /^2 files, .*; the same tree was in the store already\n$/,
    shape: 'import',
  },
  {
    command: 'import',
    args: n => ['--bare', user.at('other'), `app:b${n}`],
    stdout: ID_LINE,
    stderr: /laid over [0-9a-f]{12}; a mounted HEAD stays as it is: stratum apply app:b\d+ <mountpoint>\n$/,
    shape: 'import',
  },
  {
    command: 'mount',
    args: n => ['app:v1', user.at(`m${n}`)],
    stdout: /^\/.*\/m\d+\n$/,
    stderr: /^app:v1, read-only\n$/,
    shape: 'mount',
  },
  {
    command: 'unmount',
    before: n => user.ok('mount', 'app:v2', user.at(`u${n}`)),
    args: n => [user.at(`u${n}`)],
    stdout: NOTHING,
    stderr: /^unmounted \/.*\/u\d+\n$/,
    shape: 'unmount',
  },
  {
    command: 'commit',
    before: n => fs.writeFileSync(user.at('head/new'), content(`new ${n}`)),
    args: n => [`app:c${n}`],
    stdout: ID_LINE,
    stderr: /^\+\d+ -\d+ M\d+, .*\n/,
    shape: 'commit',
  },
  {
    command: 'tag',
    args: n => ['app:v1', `t${n}`],
    stdout: /^app:t\d+\n$/,
    stderr: /^app:t\d+ is [0-9a-f]{12} \(new\)\n$/,
    shape: 'tag',
  },
  {
    command: 'apply',
    before: n => fs.writeFileSync(user.at('head/new'), content(`draft ${n}`)),
    args: () => ['app:v1', user.at('head')],
    stdout: ID_LINE,
    stderr: /^HEAD of app at \/.*\/head is [0-9a-f]{12}\nwhat was there before is app:before-apply-.*\n$/,
    shape: 'apply',
  },
  {
    command: 'apply',
    args: () => ['app:v2', user.at('head'), '--dry-run'],
    stdout: /^M a .*\n/m,
    quiet: NOTHING,
    shape: 'apply-preview',
    items: 'apply-item',
  },
  {
    command: 'remove',
    before: n => imported(n),
    args: n => [`l${n}`, '--yes'],
    stdout: NOTHING,
    stderr: /^removed l\d+ with HEAD and 1 tag\ntook 1 commit and 1 object/,
    shape: 'remove',
  },
  {
    command: 'remove',
    args: () => ['garbage:v1', '--dry-run'],
    stdout: /^would remove garbage:v1 \([0-9a-f]{12}\)\n$/,
    quiet: NOTHING,
    shape: 'remove',
  },
  {
    command: 'export',
    args: n => ['app:v1', user.at(`e${n}.tar`)],
    stdout: ID_LINE,
    stderr: /e\d+\.tar: 3 files, /,
    shape: 'export',
  },
  {
    command: 'list',
    args: () => [],
    stdout: /^LABEL +TAGS +HEAD +COMMITTED +SIZE\napp +/,
    quiet: /^app\ngarbage\n/,
    shape: 'list',
  },
  {
    command: 'list',
    args: () => ['app'],
    stdout: /^TAG +COMMIT +COMMITTED +SIZE +FILES\n/,
    quiet: /^v1$/m,
    shape: 'list-tags',
  },
  {
    command: 'status',
    args: () => [],
    stdout: /^WHAT +MOUNTPOINT +MODE +SINCE\n/,
    quiet: /^\/.*\/head$/m,
    shape: 'status',
  },
  { command: 'status', args: () => ['app'], stdout: /^label +app\n/, quiet: /^\/.*\/head\n$/, shape: 'status-head' },
  {
    command: 'status',
    before: () => fs.writeFileSync(user.at('head/new'), content('status')),
    args: () => ['app', '--exit-code'],
    status: 20,
    stdout: /^uncommitted +\+1 -0 M0/m,
    quiet: /^\/.*\/head\n$/,
    shape: 'status-head',
  },
  {
    command: 'status',
    args: () => ['app:v2'],
    stdout: /^commit +app:v2 is /,
    quiet: /^\/.*\/view\n$/,
    shape: 'status-commit',
  },
  {
    command: 'log',
    args: () => ['app'],
    stdout: /^\d{4}-\d\d-\d\d \d\d:\d\d {2}\w/,
    quiet: /^\d{4}.*Z \w+$/m,
    shape: 'log',
    items: 'log-item',
  },
  {
    command: 'diff',
    args: () => ['app:v1', 'app:v2'],
    stdout: /^M a .*\n/m,
    quiet: NOTHING,
    stderr: /^app:v1 → app:v2: /,
    shape: 'diff',
    items: 'diff-item',
  },
  {
    command: 'diff',
    args: () => ['app:v1', 'app:v2', '--exit-code'],
    status: 20,
    stdout: /^M a .*\n/m,
    quiet: NOTHING,
    stderr: /^app:v1 → app:v2: /,
    shape: 'diff',
    items: 'diff-item',
  },
  {
    command: 'show',
    args: () => ['app:v1'],
    stdout: /^commit +[0-9a-f]{64}\n/,
    quiet: /^[0-9a-f]{64}\n$/,
    shape: 'show',
  },
  {
    command: 'ls',
    args: () => ['app:v1', '-l', '-R'],
    stdout: /^MODE /,
    quiet: /^d\/b$/m,
    shape: 'ls',
    items: 'ls-item',
  },
  { command: 'cat', args: () => ['app:v1', 'd/b'], stdout: /^b+$/, shape: 'cat' },
  {
    command: 'gc',
    before: n => {
      imported(n)
      imported(n, 'v2')
      user.run(['remove', `l${n}:v1`], {}, ['flock', '--shared', `${user.store}/lock`, 'env'])
    },
    args: () => [],
    stdout: /in the trash, freed after/,
    quiet: NOTHING,
    shape: 'gc',
  },
  {
    command: 'gc',
    args: () => ['--dry-run'],
    stdout: /^nothing to collect\n$/,
    quiet: NOTHING,
    stderr: /in the trash already/,
    shape: 'gc-preview',
  },
  {
    command: 'gc',
    args: () => ['explain', 'app:v1'],
    stdout: /^commit [0-9a-f]{12} is kept\n {2}/,
    quiet: NOTHING,
    shape: 'gc-explain',
  },
  { command: 'verify', args: () => ['app:v1'], stdout: NOTHING, stderr: /^intact: 1 commit, /, shape: 'verify' },
  { command: 'fsck', args: () => [], stdout: NOTHING, stderr: /^clean: \d+ labels, /, shape: 'fsck' },
  { command: 'du', args: () => [], stdout: /^LABEL +COMMITS /, quiet: NOTHING, shape: 'du' },
  {
    command: 'du',
    args: () => ['app:v1'],
    stdout: /^TAGS +COMMIT /,
    quiet: /^\d+\n$/,
    stderr: /^HEAD holds /,
    shape: 'du-label',
  },
  {
    command: 'doctor',
    args: () => [],
    stdout: /^ +WHAT +FOUND\nok +kernel/,
    quiet: NOTHING,
    stderr: /^/,
    shape: 'doctor',
  },
  {
    command: 'config',
    args: () => ['show'],
    stdout: /^COMMAND +OPTION /,
    quiet: NOTHING,
    stderr: /^file: /,
    shape: 'config',
  },
  {
    command: 'completion',
    args: () => ['bash'],
    stdout: /complete -o default -F _stratum stratum\n$/,
    shape: 'completion',
  },
  {
    command: 'completion',
    args: () => ['--references'],
    stdout: /^app\napp:/,
    quiet: NOTHING,
    shape: 'completion-references',
  },
]

let number = 0
const printed: Printed[] = []

function runSample({ command, args, before }: Sample, ...flags: string[]): Ran {
  number++
  before?.(number)
  return user.run([command, ...args(number), ...flags], { TERM: 'xterm-256color' })
}

test('every command has a sample here', () => {
  // A service prints nothing and ends with a signal: test/csi and test/cluster run those.
  const commands = COMMANDS.filter(({ group }) => group !== 'Kubernetes')
  const missing = commands.filter(({ name }) => !SAMPLES.some(({ command }) => command === name))
  assert.deepEqual(missing, [])
})

for (const [index, sample] of SAMPLES.entries()) {
  const { command, status = 0, stdout, quiet = stdout, stderr = NOTHING, shape, items } = sample
  test(`${command}, sample ${index}: data on stdout, the rest on stderr, one thing with -q, documented JSON`, () => {
    const plain = runSample(sample)
    assert.deepEqual([plain.status, plain.signal], [status, null], plain.stderr)
    assert.match(plain.stdout, stdout)
    assert.match(plain.stderr, stderr)
    const short = runSample(sample, '-q')
    assert.equal(short.status, status)
    assert.match(short.stdout, quiet)
    assert.equal(short.stderr, '')
    const json = runSample(sample, '--json')
    assert.equal(json.status, status)
    assert.equal(json.stderr, '')
    const objects = json.stdout
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
    const last = objects.length - 1
    if (items === undefined) assert.equal(last, 0)
    for (const [at, object] of objects.entries())
      printed.push({ name: command, shape: at < last ? (items as string) : shape, object })
    assert.equal(objects[last].exitCode, status === 0 ? undefined : status)
    // Nothing is coloured on what is no terminal.
    for (const text of [plain.stdout, plain.stderr, short.stdout, json.stdout]) assert.doesNotMatch(text, /\x1b/)
  })

  test(`${command}, sample ${index}: an error is one on stderr, or one JSON object on stdout, and has its exit status`, () => {
    const nowhere = { STRATUM_STORE: user.at('no-store'), STRATUM_LABEL: 'app' }
    const withoutStore = ['init', 'import', 'doctor', 'config', 'completion'].includes(command)
    if (withoutStore && command !== 'import') return
    const args = [command, ...sample.args(++number)]
    const given =
      command === 'import' && !args.includes('--bare') ? [command, user.at('missing'), '--label', 'x'] : args
    const expected = given.length === args.length ? 10 : 4
    const plain = user.run(given, nowhere)
    assert.deepEqual([plain.status, plain.stdout], [expected, ''], plain.stderr)
    assert.match(plain.stderr, /^error: \S.*\n( {2}\S.*\n)?$/)
    const json = user.run([...given, '--json'], nowhere)
    assert.deepEqual([json.status, json.stderr], [expected, ''])
    assert.equal(json.json.error.exitCode, expected)
    assert.equal(json.json.command, command)
    printed.push({ name: `${command}, which fails`, shape: 'error', object: json.json })
    assert.equal(fs.existsSync(user.at('no-store')), false, 'a failing command made a store')
  })
}

test('every object that was printed is what the schema says, and every shape of the schema was printed', () => {
  assert.deepEqual(validate(printed), { problems: [], unused: [] })
  const [{ object }] = printed
  const wrong = [
    { ...(object as object), unknown: 1 },
    { ...(object as object), commit: 7 },
  ]
  const { problems } = validate(wrong.map(object => ({ name: 'wrong', shape: 'init', object })))
  assert.equal(problems.length, wrong.length) // the validation can fail
})

for (const { name, args = [], options = () => [] } of COMMANDS)
  test(`${name}: --help names each argument and option with its variable; what is unknown is a usage error`, () => {
    const help = user.run([name, '--help'])
    assert.deepEqual([help.status, help.stderr], [0, ''])
    const text = help.stdout.replaceAll(/\s+/g, ' ')
    assert.ok(text.startsWith(`Usage: stratum ${name} [options]`))
    for (const [argument] of args) assert.ok(text.includes(` ${argument.slice(1, -1)} `), argument)
    for (const { long, envVar, hidden } of [...options(), ...globalOptions()]) {
      assert.equal(text.includes(` ${long}`), !hidden, long)
      if (!hidden) assert.match(text, new RegExp(`env: ${envVar}\\b`))
    }
    assert.equal(user.ok('help', name), help.stdout.trimEnd())
    const unknown = user.fails(2, name, '--no-such-option')
    assert.equal(unknown.stdout, '')
    assert.match(unknown.stderr, /^error: unknown option '--no-such-option'.*\n( {2}\S.*\n)?$/)
    user.fails(2, name, ...args.map(([argument]) => argument), 'app', 'one-too-many', 'and-another')
    if (args.some(([argument]) => argument.startsWith('<'))) user.fails(2, name)
  })

test('stratum alone shows the commands and is a usage error; an unknown command says which is near', () => {
  const alone = user.run([])
  assert.equal(alone.status, 2)
  for (const { name, summary } of COMMANDS)
    assert.ok(alone.stdout.replaceAll(/\s+/g, ' ').includes(`${name} `), summary)
  assert.equal(user.run(['--help']).status, 0)
  assert.match(user.ok('--version'), /^\d+\.\d+\.\d+$/)
  assert.match(user.fails(2, 'comit').stderr, /unknown command 'comit'.*Did you mean commit/s)
  const json = user.run(['comit', '--json'])
  assert.deepEqual([json.status, json.stderr, json.json.error.code], [2, '', 'usage'])
})
