import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { COMMANDS } from '../../src/cli/commands.ts'
import { globalOptions } from '../../src/cli/program.ts'
import { content } from '../support/store.ts'
import { createUser, shell, type User } from '../support/user.ts'

/** Where options come from: flag beats variable beats file beats default, for every command. And what a terminal changes. */
const BINARY = path.resolve(import.meta.dirname, '../../bin/stratum')

function withCommit(): User {
  const user = createUser()
  user.directory('app', { a: content('a') })
  user.ok('import', user.at('app'), '--label', 'app', '--tag', 'v1')
  return user
}

function settings(user: User, env: Readonly<Record<string, string>> = {}): Map<string, any> {
  const { json, stderr } = user.run(['config', 'show', '--json'], env)
  assert.ok(json, stderr)
  return new Map(json.settings.map((each: any) => [`${each.command} --${each.option}`, each]))
}

test('every option of every command has a variable of its own name, and config show lists it', () => {
  const user = createUser()
  const shown = settings(user)
  for (const { name, options = () => [] } of COMMANDS)
    for (const { long, envVar } of [...options(), ...globalOptions()]) {
      const option = (long ?? '').slice(2)
      assert.equal(envVar, `STRATUM_${option.replaceAll('-', '_').toUpperCase()}`)
      assert.equal(shown.get(`${name} --${option}`)?.variable, envVar)
      assert.equal(shown.get(`${name} --${option}`)?.source, option === 'store' ? 'variable' : 'default')
    }
})

test('a flag beats a variable, a variable beats the file, the file beats the default', () => {
  const user = createUser()
  user.directory('app', { a: 'a' })
  const importInto = (env: Record<string, string>, ...flags: string[]): string =>
    user.run(['import', user.at('app'), ...flags], env).stdout.split(':')[0]
  assert.equal(importInto({}), '') // there is no default
  fs.writeFileSync(user.at('config.toml'), '[options.import]\nlabel = "of-file"\n')
  assert.equal(importInto({}), 'of-file')
  assert.equal(importInto({ STRATUM_LABEL: 'of-variable' }), 'of-variable')
  assert.equal(importInto({ STRATUM_LABEL: 'of-variable' }, '--label', 'of-flag'), 'of-flag')
  const shown = (env = {}): unknown => settings(user, env).get('import --label')
  const common = { command: 'import', option: 'label', variable: 'STRATUM_LABEL' }
  assert.deepEqual(shown(), { ...common, value: 'of-file', source: 'file' })
  assert.deepEqual(shown({ STRATUM_LABEL: 'x' }), { ...common, value: 'x', source: 'variable' })
})

test('the file may name the store and whatever else every command takes', () => {
  const user = withCommit()
  fs.writeFileSync(
    user.at('config.toml'),
    `[options]\nstore = ${JSON.stringify(user.store)}\nquiet = true\nlock-timeout = 1.5\n`,
  )
  const { STRATUM_STORE: _, ...env } = process.env
  const ran = spawnSync(BINARY, ['list'], { encoding: 'utf8', env: { ...env, STRATUM_CONFIG: user.at('config.toml') } })
  assert.equal(ran.stdout, 'app\n', ran.stderr)
  assert.equal(settings(user).get('gc --lock-timeout').value, 1.5)
})

test('a switch is turned on by its variable, and off by one that is empty, 0, false or no', () => {
  const user = withCommit()
  for (const on of ['1', 'true', 'yes']) assert.equal(user.run(['list'], { STRATUM_QUIET: on }).stdout, 'app\n')
  for (const off of ['', '0', 'false', 'no', 'FALSE'])
    assert.match(user.run(['list'], { STRATUM_QUIET: off }).stdout, /^LABEL/, JSON.stringify(off))
  assert.equal(user.run(['remove', 'app'], { STRATUM_YES: '0' }).status, 2)
  assert.equal(user.run(['list', 'nothing'], { STRATUM_JSON: '0' }).stdout, '')
  assert.equal(user.ok('list', '-q'), 'app')
})

test('--no-save is said by STRATUM_NO_SAVE, and by no-save in the file', () => {
  const user = withCommit()
  user.ok('mount', 'app', user.at('head'))
  const apply = (env: Record<string, string> = {}): number | null => {
    fs.writeFileSync(user.at('head/draft'), 'x')
    return user.run(['apply', 'app:v1', user.at('head')], env).status
  }
  assert.equal(apply({ STRATUM_NO_SAVE: '1' }), 8)
  fs.writeFileSync(user.at('config.toml'), '[options.apply]\nno-save = true\n')
  assert.equal(apply(), 8)
  assert.equal(settings(user).get('apply --no-save').value, true)
  fs.writeFileSync(user.at('config.toml'), '[options.apply]\nno-save = false\n')
  assert.equal(apply(), 0)
})

for (const [text, message] of [
  ['this is no toml', /config\.toml: .*\n {2}docs\/cli\.md shows what the file may hold\n$/],
  ['options = 1', /config\.toml: \[options\] is not a table/],
  ['[options.list]\nlabel = "x"', /config\.toml: label of \[options\.list\] is no option/],
  ['[options.list]\nquiet = "yes"', /config\.toml: quiet of \[options\.list\] must be a boolean/],
  ['[options.list]\nlock-timeout = true', /config\.toml: lock-timeout of \[options\.list\] must be a string or number/],
  [
    '[options]\nlock-timeout = "soon"',
    /config\.toml: lock-timeout of \[options\.list\] is soon\. It must be a number of at least 0/,
  ],
  ['[options.lits]\nquiet = true', /config\.toml: \[options\.lits\] is no command/],
  ['[options]\nquite = true', /config\.toml: quite of \[options\] is no option/],
] as const)
  test(`a file with ${JSON.stringify(text)} is a usage error that names the place`, () => {
    const user = withCommit()
    fs.writeFileSync(user.at('config.toml'), text)
    const { stderr } = user.fails(2, 'list')
    assert.match(stderr, message)
  })

test('a value that is no number is a usage error that names the option or the variable', () => {
  const user = withCommit()
  assert.match(
    user.fails(2, 'list', '--lock-timeout', 'soon').stderr,
    /'--lock-timeout <seconds>' argument 'soon' is invalid\. It must be a number of at least 0/,
  )
  const ran = user.run(['list'], { STRATUM_LOCK_TIMEOUT: '-1' })
  assert.equal(ran.status, 2)
  assert.match(ran.stderr, /value '-1' from env 'STRATUM_LOCK_TIMEOUT' is invalid\. It must be a number/)
})

/** Runs the command line on a terminal of its own; what it wrote there. */
function onTerminal(user: User, line: string, env: Readonly<Record<string, string>> = {}, input = ''): string {
  const { stdout } = spawnSync('script', ['--quiet', '--return', '--command', line, '/dev/null'], {
    encoding: 'utf8',
    input,
    env: {
      ...process.env,
      CI: undefined,
      NO_COLOR: undefined,
      TERM: 'xterm-256color',
      STRATUM_STORE: user.store,
      ...env,
    },
  })
  return stdout
}

test('progress is shown on a terminal only, and not where CI, TERM=dumb, -q or --json say no', () => {
  const user = createUser()
  user.directory('many', Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`f${i}`, content(`${i}`, 5000)])))
  shell('tar', '-cf', user.at('many.tar'), '-C', user.at('many'), '.')
  // The archive comes in two pieces, so that there is time to tell something.
  const run = (flags = '', env: Readonly<Record<string, string>> = {}): string => {
    const archive = `(head -c 30000 ${user.at('many.tar')}; sleep 1; tail -c +30001 ${user.at('many.tar')})`
    fs.writeFileSync(user.at('slowly'), `${archive} | ${BINARY} import - --label app ${flags}`)
    return onTerminal(user, `sh ${user.at('slowly')}`, env)
  }
  assert.match(run(), /\r\x1b\[Kreading \d+ files, .*\/s.*\r\x1b\[K/s)
  for (const env of [{ CI: 'true' }, { TERM: 'dumb' }]) assert.doesNotMatch(run('', env), /\x1b/, JSON.stringify(env))
  for (const flag of ['-q', '--json']) assert.doesNotMatch(run(flag), /\x1b/, flag)
})

test('with NO_COLOR, and without, nothing is coloured on a terminal', () => {
  const user = withCommit()
  for (const env of [{}, { NO_COLOR: '1' }])
    for (const command of ['--help', 'list', 'log app', 'show app:v9'])
      assert.doesNotMatch(onTerminal(user, `${BINARY} ${command}`, env), /\x1b\[[\d;]*m/)
})

test('a label is removed on a terminal after a yes, and only then', () => {
  const user = withCommit()
  user.ok('mount', 'app', user.at('head'))
  fs.writeFileSync(user.at('head/draft'), 'x')
  user.ok('unmount', 'app')
  const question = /Remove app with HEAD, its uncommitted changes \(1 file\) and 1 tag\? \[y\/N\]/
  const no = onTerminal(user, `${BINARY} remove app`, {}, 'n\n')
  assert.match(no, question)
  assert.match(no, /error: nothing was removed/)
  assert.equal(user.ok('list', '-q'), 'app')
  assert.match(user.fails(2, 'remove', 'app').stderr, /needs --yes where nobody can be asked: app with HEAD, its/)
  assert.match(onTerminal(user, `${BINARY} remove app`, {}, 'y\n'), /removed app with HEAD/)
  assert.equal(user.ok('list', '-q'), '')
})

test('bin/stratum runs from any folder and through a symlink', () => {
  const user = withCommit()
  fs.symlinkSync(BINARY, user.at('stratum'))
  fs.symlinkSync(user.at('stratum'), user.at('again'))
  const env = { ...process.env, STRATUM_STORE: user.store }
  for (const program of [BINARY, user.at('stratum'), user.at('again'), './again']) {
    const { stdout, stderr } = spawnSync(program, ['list', '-q'], { cwd: user.folder, encoding: 'utf8', env })
    assert.equal(stdout, 'app\n', stderr)
  }
})

test('a command whose output nobody reads any more ends quietly', () => {
  const user = withCommit()
  const source = user.directory('many', {})
  for (let i = 0; i < 5000; i++) fs.writeFileSync(`${source}/${'x'.repeat(100)}-${i}`, '')
  user.ok('import', source, '--label', 'many', '--tag', 'v1')
  const output = shell('sh', '-c', `STRATUM_STORE=${user.store} ${BINARY} ls many:v1 2>&1 | head -1`)
  assert.match(output, /^x+-\d+\n$/)
})
