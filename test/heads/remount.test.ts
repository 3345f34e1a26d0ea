import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { unmount } from '../../src/host/mount-api.ts'
import type { CommitResult } from '../../src/repository/commit.ts'
import { type Actor, startActor } from '../support/actor.ts'
import { createLab, type Lab } from '../support/lab.ts'

/** Whoever uses HEAD while it is committed keeps what they have: a file, a mapping, a lock, a connection. HEAD is re-mounted when they are gone. */
const FILES = { 'd/file': 'base '.repeat(100), 'd/other': 'other', 'd/big': 'x'.repeat(300_000) }

interface Held {
  readonly lab: Lab
  readonly actor: Actor
  /** In HEAD. */
  at(name: string): string
}

/** Takes hold of HEAD, commits, uses what was taken, lets go, commits again: only then HEAD is re-mounted. */
async function holdThrough(
  hold: (held: Held) => Promise<void>,
  use: (held: Held) => Promise<void>,
  letGo: (held: Held) => Promise<void> = async ({ actor }) => actor.stop(),
): Promise<void> {
  const lab = await createLab(FILES)
  await lab.mount()
  await using actor = await startActor()
  const held: Held = { lab, actor, at: name => path.join(lab.head, name) }
  fs.writeFileSync(held.at('d/new'), 'written before')
  await hold(held)
  const first = await lab.commit({ name: 'v1' })
  assert.equal(first.remounted.how, 'later', JSON.stringify(first.remounted))
  await use(held)
  fs.writeFileSync(held.at('d/after'), 'written after')
  await letGo(held)
  const second = await lab.commit({ name: 'v2' })
  assert.equal(second.remounted.how, 'swapped', JSON.stringify(second.remounted))
  assert.equal(fs.readFileSync(held.at('d/new'), 'utf8'), 'written before')
  assert.equal(fs.readFileSync(held.at('d/after'), 'utf8'), 'written after')
  assert.deepEqual(fs.readdirSync(lab.paths.upper), [])
  await lab.unmount()
}

const read = (file: string): string => fs.readFileSync(file, 'latin1')

test('a file that is open for writing', async () => {
  await holdThrough(
    async ({ actor, at }) => void (await actor.run(`fd = os.open(${JSON.stringify(at('d/file'))}, os.O_RDWR)`)),
    async ({ actor, lab, at }) => {
      await actor.run(`os.pwrite(fd, b'WRITTEN', 0)`)
      assert.match(read(at('d/file')), /^WRITTEN/)
      await lab.commit({ name: 'open' })
      await lab.mount('app:open', lab.makeFolder('open'))
      assert.match(read(path.join(lab.folder, 'open/d/file')), /^WRITTEN/)
      await lab.unmount('app:open')
    },
  )
})

test('a shared mapping without a descriptor', async () => {
  await holdThrough(
    async ({ actor, at }) => {
      await actor.run(
        `fd = os.open(${JSON.stringify(at('d/file'))}, os.O_RDWR); m = mmap.mmap(fd, 0); os.close(fd); m[0] = 65`,
      )
    },
    async ({ actor, lab, at }) => {
      await actor.run(`m[0:6] = b'MAPPED'`)
      assert.match(read(at('d/file')), /^MAPPED/)
      await lab.commit({ name: 'mapped' })
      await lab.mount('app:mapped', lab.makeFolder('mapped'))
      assert.match(read(path.join(lab.folder, 'mapped/d/file')), /^MAPPED/)
      await lab.unmount('app:mapped')
    },
  )
})

test('a bind mount elsewhere', async () => {
  await holdThrough(
    async ({ lab, at }) => void execFileSync('mount', ['--bind', at('d'), lab.makeFolder('bound')]),
    async ({ lab, at }) => {
      fs.writeFileSync(path.join(lab.folder, 'bound/through'), 'through the bind mount')
      assert.equal(read(at('d/through')), 'through the bind mount')
    },
    async ({ lab }) => unmount(path.join(lab.folder, 'bound')),
  )
})

test('a mount namespace that shows it too', async () => {
  let other: Actor | undefined
  await holdThrough(
    async () => {
      other = await startActor({ ownNamespace: true })
    },
    async ({ at }) => {
      await other?.run(`open(${JSON.stringify(at('d/there'))}, 'w').write('from the other namespace')`)
      assert.equal(read(at('d/there')), 'from the other namespace')
    },
    async () => other?.stop(),
  )
})

test('a working directory inside', async () => {
  await holdThrough(
    async ({ actor, at }) => void (await actor.run(`os.chdir(${JSON.stringify(at('d'))})`)),
    async ({ actor, at }) => {
      await actor.run(`open('relative', 'w').write('by a relative path')`)
      assert.equal(read(at('d/relative')), 'by a relative path')
    },
  )
})

test('a socket that is listened on', async () => {
  await holdThrough(
    async ({ actor, at }) => {
      await actor.run(
        `os.chdir(${JSON.stringify(at('d'))}); s = socket.socket(socket.AF_UNIX); s.bind('socket'); s.listen(); os.chdir('/')`,
      )
    },
    async ({ actor, at }) => {
      await using client = await startActor()
      await client.run(
        `os.chdir(${JSON.stringify(at('d'))}); c = socket.socket(socket.AF_UNIX); c.connect('socket'); c.send(b'hello'); os.chdir('/')`,
      )
      assert.equal(await actor.run(`s.accept()[0].recv(9)`), 'hello')
    },
  )
})

test('a fifo that somebody reads', async () => {
  await holdThrough(
    async ({ actor, at }) => {
      await actor.run(
        `os.mkfifo(${JSON.stringify(at('d/fifo'))}); r = os.open(${JSON.stringify(at('d/fifo'))}, os.O_RDONLY | os.O_NONBLOCK)`,
      )
    },
    async ({ actor, at }) => {
      await using writer = await startActor()
      await writer.run(`w = os.open(${JSON.stringify(at('d/fifo'))}, os.O_WRONLY); os.write(w, b'through the fifo')`)
      assert.equal(await actor.run(`os.read(r, 99)`), 'through the fifo')
    },
  )
})

for (const [kind, take, attempt] of [
  ['flock', 'fcntl.flock(fd, fcntl.LOCK_EX)', 'fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)'],
  [
    'record lock',
    'fcntl.lockf(fd, fcntl.LOCK_SH, 10)',
    `fd = os.open(os.readlink('/proc/self/fd/%d' % fd), os.O_RDWR); fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 10)`,
  ],
] as const) {
  test(`a ${kind} on a file that is open for reading only`, async () => {
    await holdThrough(
      async ({ actor, at }) =>
        void (await actor.run(`fd = os.open(${JSON.stringify(at('d/file'))}, os.O_RDONLY); ${take}`)),
      async ({ at }) => {
        await using rival = await startActor()
        await rival.run(`fd = os.open(${JSON.stringify(at('d/file'))}, os.O_RDONLY)`)
        await assert.rejects(rival.run(attempt), /EAGAIN|EWOULDBLOCK|EACCES/)
      },
    )
  })
}

test('a file that is open for reading sees what is written later', async () => {
  await holdThrough(
    async ({ actor, at }) => {
      fs.appendFileSync(at('d/file'), 'copied up') // a file of the base that was opened before stays the base's for its reader
      await actor.run(`fd = os.open(${JSON.stringify(at('d/file'))}, os.O_RDONLY)`)
    },
    async ({ actor, at }) => {
      fs.writeFileSync(at('d/file'), 'NEW CONTENT')
      assert.equal(await actor.run(`os.pread(fd, 99, 0)`), 'NEW CONTENT')
    },
  )
})

test('a file without a name gets one later', async () => {
  await holdThrough(
    async ({ actor, at }) =>
      void (await actor.run(
        `fd = os.open(${JSON.stringify(at('d'))}, os.O_TMPFILE | os.O_RDWR, 0o600); os.write(fd, b'nameless')`,
      )),
    async ({ actor, at }) => {
      await actor.run(
        `assert libc.linkat(-100, b'/proc/self/fd/%d' % fd, -100, ${JSON.stringify(at('d/named'))}.encode(), 0x400) == 0; os.write(fd, b' no more')`,
      )
      assert.equal(read(at('d/named')), 'nameless no more')
    },
  )
})

test('a loop device on a file inside', { skip: !fs.existsSync('/dev/loop-control') }, async () => {
  let loop = ''
  await holdThrough(
    async ({ at }) => {
      loop = execFileSync('losetup', ['--find', '--show', at('d/big')], { encoding: 'utf8' }).trim()
    },
    async ({ at }) => {
      execFileSync('dd', [`of=${loop}`, 'bs=4096', 'conv=fsync', 'status=none'], { input: 'L'.repeat(4096) })
      execFileSync('sync', [at('d/big')])
      assert.match(read(at('d/big')), /^L{4096}x/)
    },
    async () => {
      execFileSync('losetup', ['--detach', loop])
      // The kernel lets go of the file when the last user of the device has closed it.
      for (let i = 0; i < 500 && execFileSync('losetup', ['-a'], { encoding: 'utf8' }).includes(`${loop}:`); i++)
        await new Promise(resolve => setTimeout(resolve, 10))
    },
  )
})

test('a file system that is mounted inside', async () => {
  await holdThrough(
    async ({ at }) => {
      fs.mkdirSync(at('d/inside'))
      execFileSync('mount', ['-t', 'tmpfs', 'inside', at('d/inside')])
      fs.writeFileSync(at('d/inside/file'), 'in another file system')
    },
    async ({ at }) => assert.equal(read(at('d/inside/file')), 'in another file system'),
    async ({ at }) => unmount(at('d/inside')),
  )
})

test('a mount that is attached nowhere', async () => {
  await holdThrough(
    async ({ actor, lab }) => {
      await actor.run(`tree = open_tree(${JSON.stringify(lab.head)})`)
      await actor.run(`fd = os.open('d/file', os.O_RDONLY, dir_fd=tree); fcntl.flock(fd, fcntl.LOCK_EX)`)
    },
    async ({ actor, at }) => {
      await actor.run(`w = os.open('d/detached', os.O_CREAT | os.O_WRONLY, dir_fd=tree); os.write(w, b'through it')`)
      assert.equal(read(at('d/detached')), 'through it')
      await using rival = await startActor()
      await rival.run(`fd = os.open(${JSON.stringify(at('d/file'))}, os.O_RDONLY)`)
      await assert.rejects(rival.run(`fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)`), /EAGAIN|EWOULDBLOCK/)
    },
  )
})

test('somebody who is told of changes (inotify)', async () => {
  await holdThrough(
    async ({ actor, at }) =>
      void (await actor.run(
        `i = libc.inotify_init1(os.O_NONBLOCK); libc.inotify_add_watch(i, ${JSON.stringify(at('d'))}.encode(), 0x102)`,
      )),
    async ({ actor, at }) => {
      fs.writeFileSync(at('d/watched'), 'tell them')
      assert.match(String(await actor.run(`os.read(i, 4096)`)), /watched/)
    },
  )
})

test('what was written by path right after a commit is in the next one, though HEAD was re-mounted in between', async () => {
  const lab = await createLab(FILES)
  await lab.mount()
  let last: CommitResult | undefined
  for (let round = 0; round < 5; round++) {
    fs.writeFileSync(path.join(lab.head, `round-${round}`), `${round}`)
    last = await lab.commit()
    assert.equal(last.remounted.how, 'swapped')
  }
  await lab.mount(`app:${last?.commit.metadata.id}`, lab.makeFolder('last'))
  for (let round = 0; round < 5; round++) assert.equal(read(path.join(lab.folder, `last/round-${round}`)), `${round}`)
})
