import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import { after, test } from 'node:test'
import { ERROR_TABLE } from '../../src/errors/table.ts'
import type { ErrorCode } from '../../src/errors/codes.ts'
import { content, type Files } from '../support/store.ts'
import { createUser, hashFolder, mountsBelow, type User } from '../support/user.ts'

/**
 * What is wrong is refused with its error, its exit status, a message that names the thing and, where there is one, the next command; and
 * store, HEAD and mounts stay as they were, byte for byte. (Archives: test/archives/bad-archives.test.ts.)
 */
type Case = readonly [what: string, args: readonly string[], code: ErrorCode, message: RegExp, next?: RegExp]

const FILES: Files = { a: content('a'), 'd/b': content('b') }
const user = prepare()
const { store } = user
const one = user.json('show', 'app:v1').commit as string
const LABEL_RULE = /A label is made of lower-case letters/
const TAG_RULE = /A tag has at most 128 letters/
const LIST = /stratum list/
const x = (count: number): string => 'x'.repeat(count)

/** Commits with ids that begin alike, HEAD with changes, a mount of HEAD and one of a tag. */
function prepare(): User {
  const user = createUser()
  user.ok('import', user.directory('one', FILES), '--label', 'app', '--tag', 'v1')
  user.ok('import', user.directory('two', { ...FILES, c: content('c') }), '--label', 'app', '--tag', 'v2')
  user.ok('import', user.at('two'), '--label', 'other', '--tag', 'v1')
  user.ok('tag', 'app:v1', 'latest')
  user.ok('mount', 'app', user.at('head'))
  fs.writeFileSync(user.at('head/draft'), content('draft'))
  user.ok('mount', 'app:v1', user.at('view'))
  fs.writeFileSync(user.at('file'), 'no directory and no archive')
  fs.mkdirSync(user.at('empty'))
  return user
}

/** Makes a second commit of the label whose id begins like the first one's, as far as a resolution can tell. */
function ambiguousPrefix(): string {
  const prefix = one.slice(0, 8)
  const twin = `${prefix}${'0'.repeat(56)}`
  fs.mkdirSync(`${store}/commits/${twin}`)
  for (const name of ['metadata.toml', 'commit.cfs'])
    fs.copyFileSync(`${store}/commits/${one}/${name}`, `${store}/commits/${twin}/${name}`)
  fs.writeFileSync(`${store}/refs/app/tags/twin`, `${twin}\n`)
  return prefix
}
const prefix = ambiguousPrefix()

const LABELS: readonly Case[] = [
  'App',
  'a b',
  '-a',
  'a-',
  'a..b',
  '..',
  '.',
  'a/',
  '/a',
  'a//b',
  'a/../b',
  'é',
  x(256),
  '',
].map(label => [
  `the label ${JSON.stringify(label.slice(0, 20))}`,
  ['import', user.at('one'), '--label', label],
  'usage',
  label.length > 255 ? /is longer than 255 bytes/ : /is not a label/,
  LABEL_RULE,
])

const TAGS: readonly Case[] = [`.v1`, '-v1', 'v 1', 'v/1', '..', 'é', x(129), x(256), ''].map(tag => [
  `the tag ${JSON.stringify(tag.slice(0, 20))}`,
  ['import', user.at('one'), '--label', 'app', `--tag=${tag}`],
  'usage',
  /is not a tag/,
  TAG_RULE,
])

const REFERENCES: readonly Case[] = [
  ['HEAD as a new tag', ['tag', 'app:v1', 'HEAD'], 'usage', /"HEAD" cannot be a tag: HEAD is the writable state/],
  [
    'head as a new tag',
    ['import', user.at('one'), '--label', 'app', '--tag', 'head'],
    'usage',
    /"head" cannot be a tag/,
  ],
  ['HEAD as the tag of a commit', ['commit', 'app:HEAD'], 'usage', /HEAD cannot be a tag: name a new tag/],
  ['another id as a tag', ['tag', 'app:v1', 'f'.repeat(64)], 'usage', /ffffffffffff… is the id of another commit/],
  ['a colon at the end', ['mount', 'app:'], 'usage', /"app:" ends with a colon/],
  ['an unknown label', ['mount', 'nobody'], 'not-found', /there is no label nobody/, LIST],
  [
    'a label with a slip',
    ['mount', 'ohter'],
    'not-found',
    /there is no label ohter/,
    /^Did you mean other\? stratum list/,
  ],
  ['a tag where a label is meant', ['list', 'app:v1'], 'usage', /"app:v1" is not a label/, /without a tag: app$/],
  [
    'a label where a tag is meant',
    ['tag', 'app:v1', 'app:v3'],
    'usage',
    /"app:v3" is not a tag/,
    /without its label: v3$/,
  ],
  ['an unknown tag', ['mount', 'app:v9'], 'not-found', /app:v9 does not exist/, /app has .*v1/],
  ['an unknown id', ['show', `app:${'e'.repeat(64)}`], 'not-found', /app:e+ does not exist/, /app has .*v1/],
  ["another label's commit", ['show', `other:${one}`], 'not-found', /other:.* does not exist/, /other has v1/],
  ['a prefix that is too short', ['show', `app:${one.slice(0, 7)}`], 'not-found', /does not exist/, /8 or more digits/],
  ['an ambiguous prefix', ['show', `app:${prefix}`], 'usage', /could be 2 commits: /, /Write more digits/],
  [
    'a tag that exists (import)',
    ['import', user.at('two'), '--label', 'app', '--tag', 'v1'],
    'exists',
    /app:v1 exists: it is [0-9a-f]{12}/,
    /stratum tag app:<commit> v1 --force/,
  ],
  [
    'a tag that exists (commit)',
    ['commit', 'app:v2'],
    'exists',
    /app:v2 exists: it is [0-9a-f]{12}/,
    /stratum tag app:<commit> v2 --force/,
  ],
  ['a tag that exists (tag)', ['tag', 'app:v1', 'v2'], 'exists', /app:v2 exists: it is [0-9a-f]{12}/, /--force/],
  ['a tag that exists (bare)', ['import', '--bare', user.at('one'), 'app:v2'], 'exists', /app:v2 exists/, /--force/],
  ['a move of what is no tag', ['tag', `app:${one}`, 'v8', '--move'], 'usage', /--move renames a tag/],
  ['removing an unknown tag', ['remove', 'app:v9'], 'not-found', /app:v9 is no tag/, /stratum list app/],
  ['removing an unknown label', ['remove', 'nobody', '--yes'], 'not-found', /there is no label nobody/, LIST],
  [
    'removing a label unasked',
    ['remove', 'other'],
    'usage',
    /needs --yes .*: other with HEAD and 1 tag/,
    /stratum remove other --dry-run/,
  ],
  [
    'removing a label that is mounted',
    ['remove', 'app', '--yes'],
    'in-use',
    /is mounted at .*\/(head|view) since .* \(pid \d+\)/,
    /stratum unmount \//,
  ],
  [
    'removing a tag that is mounted',
    ['remove', 'app:v1'],
    'in-use',
    /app:v1 is mounted at .*\/view since .* \(pid \d+\)/,
    /stratum unmount \/.*\/view/,
  ],
  [
    'a bare import into nothing',
    ['import', '--bare', user.at('one'), 'nobody:v1'],
    'not-found',
    /there is no label nobody/,
    LIST,
  ],
  [
    'exporting HEAD of a label that is not there',
    ['export', 'nobody', user.at('x.tar')],
    'not-found',
    /there is no label nobody/,
    LIST,
  ],
  [
    'init of a label that is there',
    ['init', 'app', user.at('empty')],
    'exists',
    /the label app exists/,
    /stratum mount app <mountpoint>/,
  ],
  ['an unknown path (ls)', ['ls', 'app:v1', 'nothing'], 'not-found', /nothing/],
  ['an unknown path (cat)', ['cat', 'app:v1', 'd/nothing'], 'not-found', /d\/nothing/],
  ['a directory (cat)', ['cat', 'app:v1', 'd'], 'usage', /d in app:v1 is no regular file/],
  ['an unknown object (explain)', ['gc', 'explain', 'd'.repeat(64)], 'not-found', /d{12}/],
]

const DIRECTORIES: readonly Case[] = [
  [
    'a directory that is missing',
    ['import', user.at('nowhere'), '--label', 'new'],
    'not-found',
    /importing \/\S*\/nowhere: no such file or directory$/,
  ],
  [
    'a file that is no archive',
    ['import', user.at('file'), '--label', 'new'],
    'malformed',
    /\/file: this is no tar archive/,
  ],
  [
    'a bare directory that is a file',
    ['import', '--bare', user.at('file'), 'app:v8'],
    'usage',
    /\/file is not a directory/,
  ],
  ['a bare directory that is missing', ['import', '--bare', user.at('nowhere'), 'app:v8'], 'not-found', /\/nowhere/],
  ['the store itself', ['import', store, '--label', 'new'], 'usage', /\/store is the store itself/],
  [
    'a directory in the store',
    ['import', `${store}/refs`, '--label', 'new'],
    'usage',
    /\/store\/refs is in the store \/.*\/store/,
  ],
  [
    'a directory with the store in it',
    ['import', user.folder, '--label', 'new', '--one-file-system'],
    'usage',
    /the store is inside the directory, at store/,
  ],
  [
    'an own mountpoint',
    ['import', user.at('head'), '--label', 'new'],
    'usage',
    /\/head is a mount of app/,
    /stratum commit app stores what is in it.*--include-mounts/,
  ],
  [
    'an own mountpoint of a tag',
    ['import', user.at('view'), '--label', 'new'],
    'usage',
    /\/view is a mount of app/,
    /in the store already/,
  ],
  [
    'a mountpoint inside',
    ['import', user.at('around'), '--label', 'new'],
    'usage',
    /inside/,
    /--one-file-system.*--include-mounts|--include-mounts.*--one-file-system/,
  ],
  ['migrating what is not there', ['init', 'new', user.at('nowhere'), '--migrate'], 'not-found', /\/nowhere/],
  ['migrating a file', ['init', 'new', user.at('file'), '--migrate'], 'usage', /\/file is not a directory/],
  ['migrating a mountpoint', ['init', 'new', user.at('view'), '--migrate'], 'in-use', /\/view is a mountpoint/],
  [
    'migrating a directory in use',
    ['init', 'new', user.at('busy'), '--migrate'],
    'in-use',
    /\/busy is in use: .*sleep.*\(?pid \d+|pid \d+ \(sleep/,
    /Stop them first/,
  ],
  [
    'migrating beside an original',
    ['init', 'new', user.at('kept'), '--migrate'],
    'exists',
    /\/kept\.pre-stratum exists/,
    /Move it away/,
  ],
]

const MOUNTPOINTS: readonly Case[] = [
  [
    'a mountpoint that is not empty',
    ['mount', 'app:v2', user.at('one')],
    'in-use',
    /\/one is not empty/,
    /Take an empty directory/,
  ],
  ['a mountpoint that is a file', ['mount', 'app:v2', user.at('file')], 'usage', /\/file is not a directory/],
  [
    'a mountpoint below a file',
    ['mount', 'app:v2', user.at('file/x')],
    'usage',
    /\/file\/x is below something that is no directory/,
  ],
  [
    'a mountpoint that is mounted already',
    ['mount', 'app:v2', user.at('view')],
    'in-use',
    /\/view is a mountpoint already \(app:v1\)/,
    /Unmount that first/,
  ],
  [
    'a second mount of HEAD',
    ['mount', 'app', user.at('empty')],
    'in-use',
    /app is mounted at .*\/head since .*: one HEAD has one mount/,
    /stratum unmount app/,
  ],
  [
    'unmounting what is not mounted',
    ['unmount', 'other:v1'],
    'not-found',
    /"other:v1" is not mounted/,
    /stratum status/,
  ],
  [
    'unmounting a plain directory',
    ['unmount', user.at('empty')],
    'not-found',
    /nothing of this store is mounted at .*\/empty/,
    /stratum status/,
  ],
  ['unmounting what is in use', ['unmount', user.at('view')], 'in-use', /app:v1 is in use at .*\/view: .*sleep/],
  [
    'apply elsewhere',
    ['apply', 'app:v2', user.at('empty')],
    'in-use',
    /HEAD of app is mounted at .*\/head, not at .*\/empty/,
    /\/head/,
  ],
  [
    "apply at another's mountpoint",
    ['apply', 'other:v1', user.at('view')],
    'in-use',
    /\/view is a mountpoint of something else \(app:v1\)/,
  ],
  ['apply of HEAD', ['apply', 'app', user.at('head')], 'usage', /app is HEAD itself/],
  [
    'apply to a HEAD with changes, with --no-save',
    ['apply', 'app:v2', user.at('head'), '--no-save'],
    'unclean',
    /HEAD of app has changes that are not committed/,
    /stratum diff app/,
  ],
  [
    'an export onto a directory',
    ['export', 'app:v1', user.at('empty'), '--format', 'tar'],
    'usage',
    /\/empty is there and is no regular file/,
  ],
  [
    'an export onto a file that is there',
    ['export', 'app:v1', user.at('file'), '--format', 'tar'],
    'exists',
    /\/file exists/,
    /--force/,
  ],
  ['an export of no format', ['export', 'app:v1', user.at('x.zip')], 'usage', /tells no format/, /\.tar\.zst/],
  [
    'an export into a directory that is missing',
    ['export', 'app:v1', user.at('nowhere/x.tar')],
    'not-found',
    /nowhere/,
  ],
  [
    'no store there',
    ['list', '--store', user.at('empty')],
    'no-store',
    /there is no store at .*\/empty/,
    /--store or STRATUM_STORE/,
  ],
  ['a store that is a file', ['list', '--store', user.at('file')], 'no-store', /\/file is not a directory/],
  [
    'a store that is another directory',
    ['import', user.at('one'), '--label', 'x', '--store', user.at('two')],
    'no-store',
    /\/two is no store: it has no stratum\.toml and is not empty/,
  ],
]

fs.mkdirSync(user.at('around/inside'), { recursive: true })
user.ok('mount', 'app:v2', user.at('around/inside'))
user.directory('busy', { x: '' })
user.directory('kept', { x: '' })
fs.mkdirSync(user.at('kept.pre-stratum'))
const holders = ['busy', 'view'].map(name => spawn('sleep', ['1000'], { cwd: user.at(name), stdio: 'ignore' }))
after(() => holders.forEach(holder => holder.kill('SIGKILL')))

/** Locks, which are made when they are asked for, and the probe of the clock are no state. */
const WITHOUT = /^(gate|lock|refs\/new(\/lock)?|refs\/nobody(\/lock)?|state\/probe)$/

function everything(): unknown {
  const folders = ['one', 'two', 'empty', 'busy', 'kept', 'head'].map(name => hashFolder(user.at(name)))
  const others = [folders, fs.readFileSync(user.at('file'), 'utf8')]
  return [hashFolder(store, { without: WITHOUT }), mountsBelow(user.folder), others, fs.readdirSync(user.folder).sort()]
}
const before = everything()

for (const [what, args, code, message, next] of [...LABELS, ...TAGS, ...REFERENCES, ...DIRECTORIES, ...MOUNTPOINTS])
  test(`${what}: ${code}, and everything is as before`, () => {
    const { status, json } = user.run([...args, '--json'])
    const { error } = json
    assert.deepEqual([error.code, status], [code, ERROR_TABLE[code].exit], error.message)
    assert.match(error.message, message)
    if (next !== undefined) assert.match(error.hint ?? '', next)
    assert.deepEqual(everything(), before)
  })

test('a NUL in a name cannot even be given, and one in a variable neither', () => {
  assert.throws(() => user.run(['mount', 'app\0']), { code: 'ERR_INVALID_ARG_VALUE' })
})

test('a directory that others may not read is refused by name to who is not root', () => {
  // Root reads everything: without that right, an unreadable directory is an error and no half import.
  fs.mkdirSync(user.at('closed/secret'), { recursive: true })
  fs.chmodSync(user.at('closed/secret'), 0)
  const drop = ['setpriv', '--bounding-set=-dac_override,-dac_read_search', '--inh-caps=-all', '--']
  const { status, stderr } = user.run(['import', user.at('closed'), '--label', 'closed'], {}, drop)
  assert.equal(status, 11, stderr)
  assert.match(stderr, /importing .*\/closed: permission denied \(.*secret\)/)
  assert.equal(user.run(['list', 'closed']).status, 4)
})

test('what is wrong with the label is told before anything is read or waited for', () => {
  const lock = ['flock', '--exclusive', `${store}/gate`, 'env']
  assert.equal(user.run(['import', user.at('one'), '--label', 'Wrong'], { STRATUM_LOCK_TIMEOUT: '0' }, lock).status, 2)
})
