import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { after, test } from 'node:test'
import { assertRecovers, openScene, runCalmly, runScene } from '../support/kills.ts'
import { scaled } from '../support/scale.ts'
import { releaseBusy, SCENES } from '../support/scenes.ts'

/**
 * The hook by which the other kills are made (`host/faults.ts`) against strace, which knows nothing of it: every changing call that the
 * kernel sees on store, HEAD and their surroundings was named to the hook right before, by the same thread; and kills that strace makes end well too.
 */
const NAMES = [
  'init --migrate',
  'import',
  'tag --move',
  'remove of a label',
  'apply, by exchange',
  'unmount, with a fold that was put off',
]
const scenes = SCENES.filter(({ name }) => NAMES.includes(name))

/** The calls by which a thing of the hook may show. */
const CALLS_OF: Readonly<Record<string, RegExp>> = {
  syncfs: /^syncfs$/,
  fsync: /^f(data)?sync$/,
  create: /^openat2?$|^linkat$|^rename/,
  write: /^p?write(v|64)?$|^f?truncate$|^fallocate$/,
  append: /^p?write(v|64)?$|^f(data)?sync$|^openat$/,
  truncate: /^f?truncate$|^f(data)?sync$/,
  mkdir: /^mkdir/,
  rename: /^rename/,
  exchange: /^renameat2$/,
  unlink: /^unlink/,
  rmdir: /^rmdir$|^unlinkat$/,
  rm: /^rmdir$|^unlink/,
  symlink: /^symlink/,
  mknod: /^mknod/,
  link: /^link/,
  chown: /chown/,
  chmod: /chmod/,
  utimens: /^utimens/,
  setxattr: /setxattr/,
  removexattr: /removexattr/,
  mount: /^fsconfig$|^fsmount$/,
  attach: /^move_mount$/,
  'clone-mount': /^open_tree$/,
  'mount-attributes': /^mount_setattr$/,
  umount: /^umount2?$/,
  remount: /^fsconfig$|^mount$/,
}

const CHANGING = [
  'mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,symlink,symlinkat,link,linkat,mknod,mknodat',
  'chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,utimensat,setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr',
  'truncate,ftruncate,fallocate,fsync,fdatasync,syncfs,move_mount,umount2,mount_setattr',
].join(',')

interface Seen {
  readonly thread: string
  readonly call: string
  readonly line: string
}

/** Every changing call of a run below a folder, and what the hook was told, in the order of each thread. */
function readTrace(file: string, folder: string, notes: string): { calls: Seen[]; uncovered: Seen[] } {
  const [last, calls, uncovered]: [Map<string, string>, Seen[], Seen[]] = [new Map(), [], []]
  for (const line of fs.readFileSync(file, 'latin1').split('\n')) {
    const [, thread, call, rest] = /^(\d+) +(\w+)\((.*)$/.exec(line) ?? []
    if (call === undefined) continue
    const told = rest.includes(notes) && /"step ([\w-]+)\\n"/.exec(rest)?.[1]
    if (told) last.set(thread, told)
    else if (call !== 'write' && call !== 'openat' && rest.includes(folder) && !rest.includes(notes)) {
      // Names that are not there or are there already are asked for by trying: no change.
      if (/ = -1 E(NOENT|EXIST|NOTEMPTY|BUSY|NOTTY|OPNOTSUPP)/.test(rest)) continue
      const seen = { thread, call, line: line.slice(0, 200) }
      calls.push(seen)
      if (!(CALLS_OF[last.get(thread) ?? '']?.test(call) ?? false)) uncovered.push(seen)
    }
  }
  return { calls, uncovered }
}

/** The state file of this boot is written outside the store and dies with it: nothing in it counts. */
function isOfState({ line }: Seen): boolean {
  return /\/run(\/stratum)?\/?(state|layers)?["<>,]/.test(line)
}

for (const scene of scenes)
  test(`${scene.name}: every changing call that strace sees was named to the hook`, async () => {
    using lab = await openScene(scene)
    const [trace, notes] = ['trace', 'notes'].map(name => path.join(lab.folder, name))
    const strace = ['strace', '-f', '-y', '-s', '300', '-o', trace, '-e', `trace=${CHANGING},write,openat`]
    const { status, stderr } = runScene(lab, scene.args(lab), `note@${notes}`, strace)
    assert.equal(status, scene.status ?? 0, stderr)
    releaseBusy()
    const { calls, uncovered } = readTrace(trace, lab.folder, notes)
    assert.ok(calls.length > 5, `${calls.length} calls`)
    assert.deepEqual(
      uncovered.filter(each => !isOfState(each)).map(({ line }) => line),
      [],
    )
  })

/** Calls that mean much for each command; `when` counts in each thread for itself. */
const INJECTED = ['fsync', 'rename', 'renameat2', 'mkdir', 'unlink', 'move_mount', 'umount2']

for (const scene of scenes)
  test(`${scene.name}, killed by strace, is done by the same command again, and nothing is left over`, async t => {
    const { state } = await runCalmly(scene)
    let kills = 0
    for (const call of INJECTED)
      for (let when = 1; when <= scaled(3); when++) {
        using lab = await openScene(scene)
        const inject = `inject=${call}:signal=KILL:when=${when * 2 - 1}`
        const strace = ['strace', '-f', '-qq', '-o', '/dev/null', '-e', `trace=${call}`, '-e', inject]
        const { signal, status } = runScene(lab, scene.args(lab), undefined, strace)
        if (signal !== 'SIGKILL' && status !== 137) break // so many of these it has not
        kills++
        await assertRecovers(scene, lab, state, `killed at ${call} ${when * 2 - 1}`)
        releaseBusy()
      }
    t.diagnostic(`${kills} kills`)
    assert.ok(kills > 1, `${kills} kills`)
  })

after(releaseBusy)
