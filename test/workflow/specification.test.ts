import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import { after, describe, test } from 'node:test'
import { parse } from 'smol-toml'
import { close } from '../../src/host/descriptors.ts'
import { attachMount, createMount } from '../../src/host/mount-api.ts'
import { readMounts } from '../../src/host/mountinfo.ts'
import { content, listContents, readFiles } from '../support/store.ts'
import { createUser, hashFolder, mountsBelow, shell, type User } from '../support/user.ts'
import { checkStore } from '../support/verifier.ts'

/** The specification, sentence by sentence; each test carries the one that it shows to be true. */
const APP = { 'bin/run': content('run '), 'etc/conf': 'key = 1\n', data: content('data ', 20_000) }
const ID = /^[0-9a-f]{64}$/

/** Who has imported /app as the label myapp. */
function importer(): User & { readonly id: string } {
  const user = createUser()
  user.directory('app', APP)
  const printed = user.ok('import', user.at('app'), '--label', 'myapp')
  return { ...user, id: printed.slice('myapp:'.length) }
}

/** The same with the tag v1.0, and HEAD mounted at the folder `mnt`. */
function developer(): User & { readonly id: string } {
  const user = importer()
  user.ok('tag', `myapp:${user.id}`, 'v1.0')
  user.ok('mount', 'myapp', user.at('mnt'))
  return user
}

function commitAnother(user: User, tag: string): string {
  fs.writeFileSync(user.at('mnt/new'), content(tag))
  return user.ok('commit', `myapp:${tag}`).slice('myapp:'.length)
}

function tagFile(user: User, tag: string): string {
  return fs.readFileSync(`${user.store}/refs/myapp/tags/${tag}`, 'utf8')
}

test('Workflow Examples, from "Import directory as new commit" to "Mount read-only tagged version"', () => {
  const user = createUser()
  user.directory('path/to/app', APP)
  const imported = user.ok('import', user.at('path/to/app'), '--label', 'myapp')
  assert.match(imported, /^myapp:[0-9a-f]{64}$/) // Returns: "myapp:a1b2c3d4e5f6..."
  user.ok('tag', imported, 'v1.0')
  user.ok('tag', imported.slice(0, 'myapp:'.length + 12), 'latest')
  user.ok('mount', 'myapp:latest', user.at('mnt'))
  fs.writeFileSync(user.at('mnt/etc/conf'), 'key = 2\n')
  assert.equal(fs.readFileSync(`${user.store}/refs/myapp/head/etc/conf`, 'utf8'), 'key = 2\n') // Changes go to refs/myapp/head/
  const committed = user.ok('commit', 'myapp:v1.1')
  assert.match(committed, /^myapp:[0-9a-f]{64}$/)
  assert.notEqual(committed, imported)
  const { base, lastCommit } = user.json('status', 'myapp')
  assert.deepEqual([`myapp:${base}`, `myapp:${lastCommit}`], [committed, committed]) // updates HEAD base
  assert.deepEqual(fs.readdirSync(`${user.store}/refs/myapp/head`), [])
  user.ok('mount', 'myapp:v1.0', user.at('readonly'))
  assert.equal(fs.readFileSync(user.at('readonly/etc/conf'), 'utf8'), APP['etc/conf'])
  assert.equal(fs.readFileSync(user.at('mnt/etc/conf'), 'utf8'), 'key = 2\n')
  assert.throws(() => fs.writeFileSync(user.at('readonly/etc/conf'), ''), { code: 'EROFS' }) // completely read-only
  const mount = readMounts().find(({ mountpoint }) => mountpoint === user.at('readonly'))
  assert.ok(!mount?.superOptions.some(option => option.startsWith('upperdir'))) // No upperdir
})

describe('Storage Architecture', () => {
  test('"stratum should be defined by tags similar to OCI, in a `label:tag` format."', () => {
    const user = developer()
    assert.equal(user.json('show', 'myapp:v1.0').commit, user.id)
  })

  test('"Commits are immutable and stored by their content hash (metadata hash for fast operations)"', () => {
    const user = developer()
    const folder = `${user.store}/commits/${user.id}`
    const before = hashFolder(folder)
    user.directory('copy', APP)
    const stat = (name: string): fs.Stats => fs.lstatSync(user.at(name))
    for (const name of ['', '/bin', '/bin/run', '/etc', '/etc/conf', '/data'])
      fs.utimesSync(user.at(`copy${name}`), stat(`app${name}`).atime, stat(`app${name}`).mtime)
    shell('cp', '-a', `${user.at('app')}/.`, user.at('copy'))
    assert.equal(user.ok('import', user.at('copy'), '--label', 'other'), `other:${user.id}`) // by content, not by name
    commitAnother(user, 'v2')
    user.ok('remove', 'other', '--yes')
    assert.equal(hashFolder(folder), before)
  })

  test('"Tags are mutable pointers/aliases that reference specific commits"', () => {
    const user = developer()
    const second = commitAnother(user, 'v2')
    user.ok('tag', `myapp:${user.id}`, 'stable')
    assert.equal(user.json('show', 'myapp:stable').commit, user.id)
    user.ok('tag', `myapp:${second}`, 'stable', '--force')
    assert.equal(user.json('show', 'myapp:stable').commit, second)
  })

  test('"HEAD is a special persistent mutable upperdir for layering changes before commit"', () => {
    const user = developer()
    fs.writeFileSync(user.at('mnt/draft'), 'not yet')
    user.ok('unmount', 'myapp')
    user.ok('mount', 'myapp', user.at('elsewhere'))
    assert.equal(fs.readFileSync(user.at('elsewhere/draft'), 'utf8'), 'not yet')
  })

  test('"Dual hash system: metadata hash (fast) for commit IDs, merkle root (secure) for verification"', () => {
    const user = developer()
    const { commit, merkleRoot } = user.json('show', 'myapp:v1.0')
    assert.equal(commit, user.id)
    assert.match(merkleRoot, ID)
    assert.equal(user.json('verify', 'myapp:v1.0').intact, true)
    assert.deepEqual(checkStore(user.store).problems, []) // which computes both hashes by a program of its own
  })

  test('"writable upperdir that can be committed and re-mounted on the fly"', () => {
    const user = developer()
    const [before] = mountsBelow(user.folder)
    fs.writeFileSync(user.at('mnt/new'), 'x')
    assert.equal(user.json('commit', 'myapp:v2').remounted.how, 'swapped')
    const [after] = mountsBelow(user.folder)
    assert.notEqual(after, before)
    assert.equal(fs.readFileSync(user.at('mnt/new'), 'utf8'), 'x')
  })
})

describe('Directory Structure', () => {
  test('every folder and file of the drawing is there', () => {
    const user = developer()
    commitAnother(user, 'v1.1')
    const is = (name: string): string => {
      const stat = fs.lstatSync(`${user.store}/${name}`)
      return stat.isDirectory() ? 'directory' : stat.isFile() ? 'file' : 'other'
    }
    const second = tagFile(user, 'v1.1').trim()
    assert.match(second, ID)
    assert.equal(tagFile(user, 'v1.0').trim(), user.id) // file containing commit hash
    for (const folder of ['objects', 'commits', `commits/${user.id}`, `commits/${second}`, 'refs', 'refs/myapp'])
      assert.equal(is(folder), 'directory', folder)
    for (const folder of ['refs/myapp/head', 'refs/myapp/tags']) assert.equal(is(folder), 'directory', folder)
    for (const id of [user.id, second])
      for (const file of ['metadata.toml', 'commit.cfs']) assert.equal(is(`commits/${id}/${file}`), 'file')
    assert.equal(is('refs/myapp/head.toml'), 'file')
  })

  test('Commit Metadata Format: "Each commit stores metadata in TOML format with the following structure"', () => {
    const user = developer()
    const second = commitAnother(user, 'v1.1')
    const read = (id: string): any => parse(fs.readFileSync(`${user.store}/commits/${id}/metadata.toml`, 'utf8'))
    const { commit, files, merkle } = read(second)
    assert.deepEqual([commit.metadata_hash, commit.parent_commit], [second, user.id])
    assert.match(commit.merkle_root, ID)
    assert.ok(Math.abs(new Date(commit.timestamp).getTime() - Date.now()) < 3_600_000)
    const bytes = [...Object.values(APP), content('v1.1')].reduce((sum, text) => sum + text.length, 0)
    assert.deepEqual({ ...files }, { count: 4, total_size: bytes })
    assert.deepEqual({ ...merkle }, { leaf_count: 4, tree_depth: 2 })
    assert.equal(read(user.id).commit.parent_commit, undefined) // Optional parent for history
  })

  test('`head.toml` is "metadata for current HEAD (base commit + changes)"', () => {
    const user = developer()
    const working = spawn('sleep', ['600'], { cwd: user.at('mnt') }) // keeps HEAD on its base
    after(() => working.kill())
    const second = commitAnother(user, 'v1.1')
    const { head, changes } = parse(fs.readFileSync(`${user.store}/refs/myapp/head.toml`, 'utf8')) as any
    assert.deepEqual([head.base_commit, head.last_commit], [user.id, second])
    assert.equal(changes.added, 1)
  })
})

describe('Workflow notes', () => {
  test('"`/run/stratum/state` - temporary state file for the current state of the stratum"', () => {
    const user = developer()
    const state = `${process.env.STRATUM_RUN}/state`
    const records = fs.readFileSync(state, 'utf8')
    assert.ok(records.includes(user.at('mnt')))
    fs.rmSync(state) // "won't persist across reboots"
    assert.equal(user.json('status', 'myapp').mounts[0].mountpoint, user.at('mnt'))
    user.ok('unmount', 'myapp')
    assert.deepEqual(mountsBelow(user.folder), [])
  })

  test('"`/run/user/<uid>/stratum/<label>` - fallback mountpoint for ephemeral mounts", and `<label:tag>`', () => {
    const user = importer()
    user.ok('tag', `myapp:${user.id}`, 'v1.0')
    const runUser = createMount('tmpfs', [['source', 'run-user']], 0) // the test has a mount namespace of its own
    fs.mkdirSync('/run/user', { recursive: true })
    attachMount(runUser, '/run/user')
    close(runUser)
    try {
      const real = { STRATUM_RUN_USER: '/run/user' }
      assert.equal(user.run(['mount', 'myapp'], real).stdout, '/run/user/0/stratum/myapp\n')
      assert.equal(user.run(['mount', 'myapp:v1.0'], real).stdout, '/run/user/0/stratum/myapp:v1.0\n')
      const asAnother = user.run(['mount', `myapp:${user.id}`], { ...real, SUDO_UID: '1000' })
      assert.match(asAnother.stdout, /^\/run\/user\/1000\/stratum\/myapp:[0-9a-f]{64}\n$/)
      fs.writeFileSync('/run/user/0/stratum/myapp/x', 'x')
      assert.throws(() => fs.writeFileSync('/run/user/0/stratum/myapp:v1.0/x', 'x'), { code: 'EROFS' })
      for (const what of ['myapp', 'myapp:v1.0']) user.ok('unmount', what)
      assert.deepEqual(fs.readdirSync('/run/user/0/stratum'), []) // what was made for the mount goes with it
    } finally {
      shell('umount', '--lazy', '--recursive', '/run/user')
    }
  })

  test('"consider using advisory locks to lock the state file and prevent concurrent commits"', async () => {
    const user = developer()
    const lock = ['flock', '--exclusive', `${user.store}/refs/myapp/lock`]
    const { status, stderr } = user.run(['commit', 'myapp:v2'], { STRATUM_LOCK_TIMEOUT: '0.2' }, [...lock, 'env'])
    assert.equal(status, 7)
    assert.match(stderr, /^error: myapp is locked by pid \d+ \(flock --exclusive .*\); waited 0\.2 s\n/)
    assert.equal(user.json('list', 'myapp').tags.length, 1)
  })
})

describe('init', () => {
  test('"`stratum init <label> <mountpoint>` - initialize a new empty state, mounts it to a mountpoint"', () => {
    const user = createUser()
    assert.equal(user.ok('init', 'fresh', user.at('mnt')), user.at('mnt'))
    assert.deepEqual(fs.readdirSync(user.at('mnt')), [])
    fs.writeFileSync(user.at('mnt/first'), 'x')
    assert.match(user.ok('commit', 'fresh:v1'), /^fresh:/)
    assert.equal(user.ok('ls', 'fresh:v1'), 'first')
  })

  test('"optionally taking `--migrate` to migrate an existing directory"', () => {
    const user = createUser()
    user.directory('app', APP)
    const before = hashFolder(user.at('app'))
    const { commit, original } = user.json('init', 'myapp', user.at('app'), '--migrate')
    assert.equal(hashFolder(user.at('app')), before)
    assert.equal(mountsBelow(user.folder).length, 1)
    assert.equal(original, user.at('app.pre-stratum'))
    assert.equal(hashFolder(original), before)
    assert.equal(user.ok('import', original, '--label', 'same'), `same:${commit}`)
    fs.writeFileSync(user.at('app/bin/run'), 'changed')
    assert.equal(fs.readFileSync(`${original}/bin/run`, 'utf8'), APP['bin/run'])
  })
})

describe('import', () => {
  test('"`stratum import <directory> --label <label>` - import a directory as a new commit, returns the commit hash"', () => {
    const user = createUser()
    user.directory('app', APP)
    const before = hashFolder(user.at('app'))
    const printed = user.ok('import', user.at('app'), '--label', 'myapp')
    assert.match(printed, /^myapp:[0-9a-f]{64}$/)
    user.ok('mount', printed, user.at('view'))
    assert.equal(hashFolder(user.at('view')), before)
    assert.equal(hashFolder(user.at('app')), before)
  })

  test('"`stratum import --bare <directory> <label:optional_tag>` - Import a bare directory to layer onto a stratum"', () => {
    const user = developer()
    user.directory('bare', { 'new_subdir/mod': 'mod', 'etc/conf': 'patched' })
    const before = hashFolder(user.at('bare'))
    const printed = user.ok('import', '--bare', user.at('bare'), 'myapp:modded') // "merged into the stratum, commit as new tag"
    assert.equal(printed, `myapp:${user.json('show', 'myapp:modded').commit}`)
    user.ok('mount', 'myapp:modded', user.at('view'))
    assert.deepEqual(readFiles(user.at('view')), { ...APP, 'new_subdir/mod': 'mod', 'etc/conf': 'patched' })
    assert.equal(hashFolder(user.at('bare')), before)
    user.directory('bare-2', { more: 'more' })
    const untagged = user.ok('import', '--bare', user.at('bare-2'), 'myapp', '--onto', 'modded') // the tag is optional
    assert.equal(user.ok('cat', untagged, 'more'), 'more')
    assert.equal(user.ok('cat', untagged, 'etc/conf'), 'patched')
  })

  test('"Useful for deltas and/or applying patches/mods": what lies on top of what is there deletes, too', () => {
    const user = developer()
    user.directory('bare', { 'etc/.wh.conf': '', 'bin/run': 'replaced' })
    user.ok('import', '--bare', user.at('bare'), 'myapp:patched')
    assert.equal(user.ok('ls', 'myapp:patched', '-R'), ['bin/', 'bin/run', 'data', 'etc/'].join('\n'))
    assert.equal(fs.readFileSync(user.at('mnt/etc/conf'), 'utf8'), APP['etc/conf']) // HEAD stays as it is
    user.ok('apply', 'myapp:patched', user.at('mnt'))
    assert.equal(fs.existsSync(user.at('mnt/etc/conf')), false)
  })
})

describe('mount', () => {
  test('"`stratum mount <label:optional_tag> <optional_mountpoint>` - mount a stratum by label and tag"', () => {
    const user = developer()
    assert.equal(user.ok('mount', 'myapp:v1.0', user.at('view')), user.at('view'))
    assert.deepEqual(readFiles(user.at('view')), APP)
  })

  test('"if no tag is specified, the `HEAD` should be used"', () => {
    const user = importer()
    user.ok('mount', 'myapp', user.at('mnt'))
    fs.writeFileSync(user.at('mnt/x'), 'x')
    assert.equal(fs.readFileSync(`${user.store}/refs/myapp/head/x`, 'utf8'), 'x')
  })

  test('"if no mountpoint is specified, a temporary mountpoint should be created [...] and returned in stdout"', () => {
    const user = importer()
    const { stdout, stderr } = user.run(['mount', 'myapp'])
    assert.equal(stdout, `${user.at('run-user/0/stratum/myapp')}\n`)
    assert.equal(stderr, 'HEAD of myapp, writable\n')
    assert.deepEqual(readFiles(stdout.trim()), APP)
  })
})

describe('commit', () => {
  test('"`stratum commit <label:optional_tag>` - commit current HEAD state to a new tag"', () => {
    const user = developer()
    const id = commitAnother(user, 'v2')
    assert.equal(tagFile(user, 'v2').trim(), id)
    assert.deepEqual(
      user
        .json('list', 'myapp')
        .tags.map(({ tag }: any) => tag)
        .sort(),
      ['v1.0', 'v2'],
    )
  })

  test('"if no tag is specified, it should hash the current state and use that as a tag"', () => {
    const user = developer()
    fs.writeFileSync(user.at('mnt/x'), 'x')
    const id = user.ok('commit', 'myapp').slice('myapp:'.length)
    assert.equal(tagFile(user, id).trim(), id)
    assert.equal(user.ok('import', user.at('mnt'), '--label', 'check', '--include-mounts'), `check:${id}`) // it is the hash of that state
  })

  test('"if the tag already exists, it should fail with an error"', () => {
    const user = developer()
    fs.writeFileSync(user.at('mnt/x'), 'x')
    const { stderr } = user.fails(5, 'commit', 'myapp:v1.0')
    assert.match(stderr, /myapp:v1\.0 exists/)
    assert.equal(tagFile(user, 'v1.0').trim(), user.id)
    assert.equal(user.json('status', 'myapp').dirty, true)
  })
})

describe('tag', () => {
  test('"`stratum tag <label:commit_hash> <new_tag>` - create a tag pointing to a specific commit hash"', () => {
    const user = importer()
    assert.equal(user.ok('tag', `myapp:${user.id}`, 'v1.0'), 'myapp:v1.0')
    assert.equal(tagFile(user, 'v1.0').trim(), user.id)
  })

  test('"`stratum tag <label:tag> <new_tag>` - copies a tag to a new tag"', () => {
    const user = developer()
    user.ok('tag', 'myapp:v1.0', 'stable')
    assert.deepEqual([tagFile(user, 'v1.0').trim(), tagFile(user, 'stable').trim()], [user.id, user.id])
  })

  test('"maybe consider --move to delete/rename the old tag"', () => {
    const user = developer()
    user.ok('tag', 'myapp:v1.0', 'stable', '--move')
    assert.deepEqual(
      user.json('list', 'myapp').tags.map(({ tag }: any) => tag),
      ['stable'],
    )
  })
})

describe('list', () => {
  test('"`stratum list <label>` - list all tags for a given label"', () => {
    const user = developer()
    commitAnother(user, 'v2')
    assert.deepEqual(user.ok('list', 'myapp', '-q').split('\n').sort(), ['v1.0', 'v2'])
    assert.match(user.ok('list', 'myapp'), /^TAG +COMMIT +COMMITTED +SIZE +FILES\n/)
  })

  test('"if no label is specified, list all existing labels"', () => {
    const user = developer()
    user.directory('other', { a: 'a' })
    user.ok('import', user.at('other'), '--label', 'team/other')
    assert.equal(user.ok('list', '-q'), 'myapp\nteam/other')
  })
})

describe('remove', () => {
  test('"`stratum remove <label:tag>` - remove a tag from a label"', () => {
    const user = developer()
    commitAnother(user, 'v2')
    user.ok('remove', 'myapp:v1.0')
    assert.equal(user.ok('list', 'myapp', '-q'), 'v2')
  })

  test('"if no tag is specified, remove the whole label and all its tags"', () => {
    const user = developer()
    user.ok('unmount', 'myapp')
    user.ok('remove', 'myapp', '--yes')
    assert.equal(user.ok('list', '-q'), '')
    user.fails(4, 'mount', 'myapp')
    assert.equal(fs.existsSync(`${user.store}/refs/myapp`), false)
  })

  test('"stratum should also garbage collect unused blobs when tags are removed"', () => {
    const user = developer()
    fs.writeFileSync(user.at('mnt/only-here'), content('blob '))
    user.ok('commit', 'myapp:v2')
    const second = tagFile(user, 'v2').trim()
    user.ok('apply', 'myapp:v1.0', user.at('mnt'))
    const before = listContents(user.store)
    const { stderr } = user.run(['remove', 'myapp:v2'])
    assert.match(stderr, /took 1 commit and 1 object, .* that nothing keeps\n/)
    assert.match(stderr, /in the trash, freed after .*\(now: stratum gc --now\)\n/)
    const after = listContents(user.store)
    assert.deepEqual(
      after.commits,
      before.commits.filter(id => id !== second),
    )
    assert.equal(after.objects.length, before.objects.length - 1)
    assert.deepEqual(readFiles(user.at('mnt')), APP)
  })

  test('a removal tells programs what was collected, and does not fail where the store is busy', () => {
    const user = developer()
    commitAnother(user, 'v2')
    user.ok('unmount', 'myapp')
    const lock = ['flock', '--shared', `${user.store}/lock`, 'env']
    const busy = user.run(['remove', 'myapp:v1.0', '--json'], {}, lock)
    assert.equal(busy.status, 0)
    assert.match(busy.json.collected.postponed, /is locked/)
    assert.equal(user.json('remove', 'myapp', '--yes').collected.commits, 2)
  })
})

describe('status', () => {
  test('"`stratum status <label:tag>` - show the current status of a stratum, including the current mountpoint"', () => {
    const user = developer()
    assert.ok(user.ok('status', 'myapp').includes(user.at('mnt')))
    assert.match(user.ok('status', 'myapp:v1.0'), /^mounted +no$/m)
    user.ok('mount', 'myapp:v1.0', user.at('view'))
    assert.ok(user.ok('status', 'myapp:v1.0').includes(user.at('view')))
  })

  test('"last commit + timestamp, and other metadata"', () => {
    const user = developer()
    const id = commitAnother(user, 'v2')
    fs.writeFileSync(user.at('mnt/draft'), 'x')
    assert.match(
      user.ok('status', 'myapp'),
      new RegExp(`^last commit +${id.slice(0, 12)} of \\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d: 4 files`, 'm'),
    )
    const status = user.json('status', 'myapp')
    assert.equal(status.lastCommit, id)
    assert.equal(status.committed, user.json('show', 'myapp:v2').timestamp)
    assert.deepEqual([status.files, status.dirty, status.uncommitted.added], [4, true, 1])
  })
})

describe('export', () => {
  test('"`stratum export <label:tag> <file>` - export a stratum to a file"', () => {
    const user = developer()
    user.ok('export', 'myapp:v1.0', user.at('app.tar'))
    fs.mkdirSync(user.at('unpacked'))
    shell('tar', '-xf', user.at('app.tar'), '-C', user.at('unpacked'))
    assert.deepEqual(readFiles(user.at('unpacked')), APP)
    assert.equal(user.ok('import', user.at('app.tar'), '--label', 'back'), `back:${user.id}`)
  })

  test('"if the tag does not exist, it should fail with an error"', () => {
    const user = developer()
    const { stderr } = user.fails(4, 'export', 'myapp:v9', user.at('app.tar'))
    assert.match(stderr, /myapp:v9 does not exist/)
    assert.equal(fs.existsSync(user.at('app.tar')), false)
  })
})

describe('apply', () => {
  test('"`stratum apply <label:tag> <mountpoint>` - [...] reverting the current state to a snapshot tag"', () => {
    const user = developer()
    commitAnother(user, 'v2')
    fs.writeFileSync(user.at('mnt/draft'), 'x')
    const { saved } = user.json('apply', 'myapp:v1.0', user.at('mnt'))
    assert.deepEqual(readFiles(user.at('mnt')), APP)
    assert.equal(user.ok('cat', `myapp:${saved}`, 'draft'), 'x') // what was not committed is not lost
    assert.equal(user.json('status', 'myapp').lastCommit, user.id)
  })

  test('"if an existing mountpoint is specified, it will re-mount that stratum on top of the current state"', () => {
    const user = developer()
    commitAnother(user, 'v2')
    const [before] = mountsBelow(user.folder)
    assert.equal(user.json('apply', 'myapp:v1.0', user.at('mnt')).how, 'swapped')
    const after = mountsBelow(user.folder)
    assert.equal(after.length, 1)
    assert.notEqual(after[0], before)
    user.ok('unmount', 'myapp')
    user.ok('apply', 'myapp:v2', user.at('other')) // and where none exists, it is made
    assert.equal(fs.existsSync(user.at('other/new')), true)
  })
})

describe('HEAD', () => {
  test('"HEAD will always be the current state so there can only be one writable HEAD per label"', () => {
    const user = developer()
    const { stderr } = user.fails(6, 'mount', 'myapp', user.at('second'))
    assert.ok(stderr.includes(user.at('mnt')), stderr)
    assert.match(stderr, /one HEAD has one mount\n {2}stratum unmount myapp/)
    assert.equal(mountsBelow(user.folder).length, 1)
  })

  test('"custom tag mounts should be read-only, and only HEAD will be writable"', () => {
    const user = developer()
    for (const reference of ['myapp:v1.0', `myapp:${user.id}`]) {
      const place = user.ok('mount', reference, user.at(`view-${reference.length}`))
      assert.throws(() => fs.writeFileSync(`${place}/x`, ''), { code: 'EROFS' })
      assert.throws(() => shell('mount', '-o', 'remount,rw', place))
      assert.throws(() => fs.writeFileSync(`${place}/x`, ''), { code: 'EROFS' })
    }
    fs.writeFileSync(user.at('mnt/x'), '')
  })
})
