import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { unmount } from '../../src/host/mount-api.ts'
import { readTags } from '../../src/refs/tags.ts'
import { LABEL, type Lab } from './lab.ts'
import { makeSource, type Scene } from './kills.ts'
import { hashFolder } from './user.ts'

/** The commands that change something, each where it has as much to do as it can have; archives, collections and commits have suites of their own. */
const FIRST = { 'bin/run': 'run '.repeat(40), conf: 'key = 1\n', data: 'data '.repeat(2000) }
const SECOND = { 'bin/run': 'other '.repeat(40), data: 'data '.repeat(2000), new: 'new '.repeat(50) }

async function first(lab: Lab): Promise<void> {
  await lab.import(makeSource(lab, 'first', FIRST))
  await lab.tag(`app:${idOf(lab)}`, 'v1')
}

async function both(lab: Lab): Promise<void> {
  await first(lab)
  const id = await lab.import(makeSource(lab, 'second', SECOND))
  await lab.tag(`app:${id}`, 'v2')
}

/** The commit that a label with one commit has. */
function idOf({ store }: Lab): string {
  return fs.readdirSync(path.join(store.path, 'commits'))[0]
}

function draft(lab: Lab): void {
  fs.writeFileSync(path.join(lab.head, 'draft'), 'draft '.repeat(30))
}

async function headAtV1(lab: Lab): Promise<void> {
  await both(lab)
  await lab.tag('app:v1', 'latest')
  await lab.mount()
}

/** Keeps HEAD from being exchanged, so that it is written to file by file. */
function keepBusy(lab: Lab): void {
  const child = spawn('sleep', ['1000'], { cwd: lab.head, stdio: 'ignore' })
  child.unref()
  BUSY.push(child)
}
const BUSY: ReturnType<typeof spawn>[] = []

export function releaseBusy(): void {
  for (const child of BUSY.splice(0)) child.kill('SIGKILL')
}

function breakStore({ store, paths }: Lab): void {
  const [commit] = fs.readdirSync(path.join(store.path, 'commits'))
  fs.rmSync(path.join(store.path, 'commits', commit, 'metadata.toml'))
  const [object] = fs.globSync('objects/??/*', { cwd: store.path })
  fs.chmodSync(path.join(store.path, object), 0o666)
  fs.writeFileSync(path.join(store.path, object), 'damaged')
  fs.writeFileSync(path.join(paths.label, 'tags/broken'), 'no commit\n')
  fs.rmdirSync(path.join(store.path, 'objects/00'))
  fs.mkdirSync(path.join(store.path, 'staging/dead'))
}

const at = (lab: Lab, name: string): string => path.join(lab.folder, name)

/** Whether some tag has what was not committed. */
function isDraftSaved({ store }: Lab): boolean {
  return [...readTags(store, LABEL)].some(([tag, id]) => {
    const image = fs.readFileSync(path.join(store.path, 'commits', id, 'commit.cfs'), 'latin1')
    return tag.startsWith('before-apply') && image.includes('draft')
  })
}

export const SCENES: readonly Scene[] = [
  {
    name: 'init',
    prepare: async () => undefined,
    args: lab => ['init', 'fresh', at(lab, 'mnt')],
    done: [5],
    stepsMin: 25,
  },
  {
    name: 'init --migrate',
    prepare: async lab => void makeSource(lab, 'dir', FIRST),
    args: lab => ['init', 'fresh', at(lab, 'dir'), '--migrate'],
    done: [5],
    stepsMin: 50,
    also: lab => hashFolder(at(lab, 'dir.pre-stratum')),
  },
  {
    name: 'init --migrate --remove-original',
    prepare: async lab => void makeSource(lab, 'dir', { conf: 'key' }),
    args: lab => ['init', 'fresh', at(lab, 'dir'), '--migrate', '--remove-original'],
    done: [5],
    stepsMin: 40,
    also: lab => fs.existsSync(at(lab, 'dir.pre-stratum')),
  },
  {
    name: 'import',
    prepare: async lab => void (await first(lab), makeSource(lab, 'second', SECOND)),
    args: lab => ['import', at(lab, 'second'), '--label', 'app', '--tag', 'v2'],
    done: [5],
    stepsMin: 25,
  },
  {
    name: 'import --bare',
    prepare: async lab =>
      void (await first(lab), makeSource(lab, 'bare', { 'bin/.wh.run': '', more: 'more '.repeat(40) })),
    args: lab => ['import', '--bare', at(lab, 'bare'), 'app:v2'],
    done: [5],
    stepsMin: 20,
  },
  {
    name: 'the first mount of HEAD',
    prepare: first,
    args: lab => ['mount', 'app', lab.head],
    done: [6],
    stepsMin: 10,
  },
  {
    name: 'mount of a tag',
    prepare: first,
    args: () => ['mount', 'app:v1'],
    done: [6],
    stepsMin: 3,
  },
  {
    name: 'unmount, with a fold that was put off',
    async prepare(lab) {
      await headAtV1(lab)
      const open = fs.openSync(path.join(lab.head, 'data'), 'r+') // a writer, who keeps HEAD on its base
      draft(lab)
      fs.utimesSync(lab.head, 0, 0)
      await lab.commit({ name: 'v3' })
      fs.closeSync(open)
    },
    args: () => ['unmount', 'app'],
    done: [4],
    stepsMin: 15,
  },
  { name: 'tag', prepare: both, args: () => ['tag', 'app:v1', 'stable'], stepsMin: 5 },
  { name: 'tag --force', prepare: both, args: () => ['tag', 'app:v1', 'v2', '--force'], stepsMin: 5 },
  { name: 'tag --move', prepare: both, args: () => ['tag', 'app:v1', 'stable', '--move'], done: [4], stepsMin: 6 },
  { name: 'remove of a tag', prepare: both, args: () => ['remove', 'app:v1'], done: [4], stepsMin: 12 },
  {
    name: 'remove of a label',
    async prepare(lab) {
      await headAtV1(lab)
      draft(lab)
      await lab.unmount()
    },
    args: () => ['remove', 'app', '--yes'],
    done: [4],
    stepsMin: 15,
  },
  {
    name: 'apply, by exchange',
    async prepare(lab) {
      await headAtV1(lab)
      draft(lab)
    },
    args: lab => ['apply', 'app:v2', lab.head],
    stepsMin: 40,
  },
  {
    name: 'apply of a HEAD that is not mounted',
    async prepare(lab) {
      await headAtV1(lab)
      draft(lab)
      unmount(lab.head)
    },
    args: lab => ['apply', 'app:v2', lab.head],
    stepsMin: 40,
  },
  {
    name: 'apply, through the mount',
    savesHalf: true,
    also: isDraftSaved,
    async prepare(lab) {
      await headAtV1(lab)
      draft(lab)
      keepBusy(lab)
    },
    args: lab => ['apply', 'app:v2', lab.head],
    stepsMin: 40,
  },
  {
    name: 'apply --path',
    savesHalf: true,
    also: isDraftSaved,
    async prepare(lab) {
      await headAtV1(lab)
      draft(lab)
    },
    args: lab => ['apply', 'app:v2', lab.head, '--path', 'bin'],
    stepsMin: 25,
  },
  {
    name: 'fsck --repair',
    async prepare(lab) {
      await both(lab)
      breakStore(lab)
    },
    args: () => ['fsck', '--repair'],
    status: 9,
    isDamaged: true,
    done: [0],
    stepsMin: 15,
  },
]
