import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { quoteShell as q } from './measure.ts'

/** A program that stores versions of a directory. Each command is one line for a shell. */
export interface Peer {
  readonly name: string
  readonly version: string
  /** Makes an empty store in this folder. */
  init(store: string): void
  /** Stores the source as version `tag`; the first time and every time after. */
  save(store: string, source: string, tag: string): string
  /** Removes version `tag` and everything that only it needs. */
  remove?(store: string, tag: string): string
  /** Checks that `tag` really is stored: returns the number of files in it. */
  count(store: string, tag: string): number
  /** Prints what one file was in version `tag`; of an archive, all of it is read for that. */
  read(store: string, tag: string, file: string): string
}

const ROOT = path.resolve(import.meta.dirname, '..')
export const STRATUM = path.join(ROOT, 'bin/stratum')

function lines(command: string): number {
  const { stdout, status, stderr } = spawnSync('sh', ['-c', command], { encoding: 'utf8', maxBuffer: 1 << 28 })
  if (status !== 0) throw new Error(`${command}\n${stderr}`)
  return stdout.split('\n').filter(Boolean).length
}

function version(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8' }).split('\n')[0]
}

const RESTIC = 'RESTIC_PASSWORD=bench'
const BORG = 'BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes BORG_RELOCATED_REPO_ACCESS_IS_OK=yes'

function snapshotId(store: string, tag: string): string {
  const [snapshot] = JSON.parse(
    execFileSync('sh', ['-c', `${RESTIC} restic -r ${q(store)} snapshots --tag ${tag} --json`], { encoding: 'utf8' }),
  ) as { id: string }[]
  return snapshot.id
}

export function peers(oracle: string): Peer[] {
  return [
    {
      name: 'stratum',
      version: version(STRATUM, '--version'),
      init: store => void fs.mkdirSync(store, { recursive: true }),
      save: (store, source, tag) => `${STRATUM} import ${q(source)} --label bench --tag ${tag} --store ${q(store)} -q`,
      remove: (store, tag) =>
        `${STRATUM} remove bench:${tag} --store ${q(store)} -q && ${STRATUM} gc --now --store ${q(store)} -q`,
      count: (store, tag) => lines(`${STRATUM} ls bench:${tag} -R --store ${q(store)} | grep -v '/$'`),
      read: (store, tag, file) => `${STRATUM} cat bench:${tag} ${q(file)} --store ${q(store)}`,
    },
    {
      name: 'cp -a',
      version: version('cp', '--version'),
      init: store => void fs.mkdirSync(store, { recursive: true }),
      save: (store, source, tag) => `cp -a ${q(source)} ${q(`${store}/${tag}`)}`,
      count: (store, tag) => lines(`find ${q(`${store}/${tag}`)} -type f`),
      read: (store, tag, file) => `cat ${q(`${store}/${tag}/${file}`)}`,
    },
    {
      name: 'git',
      version: version('git', '--version'),
      init(store) {
        fs.mkdirSync(store, { recursive: true })
        execFileSync('git', ['init', '-q', '--bare', store])
        for (const [key, value] of [
          ['user.name', 'bench'],
          ['user.email', 'bench@localhost'],
          ['core.fsync', 'all'],
          // One sync for many objects, as Stratum does it: with one for each, git takes ten times as long.
          ['core.fsyncMethod', 'batch'],
          ['gc.auto', '0'],
        ])
          execFileSync('git', ['-C', store, 'config', key, value])
      },
      save: (store, source, tag) => {
        const git = `git --git-dir=${q(store)} --work-tree=${q(source)}`
        return `${git} add -A . && ${git} commit -q -m ${tag} && ${git} tag ${tag}`
      },
      count: (store, tag) => lines(`git --git-dir=${q(store)} ls-tree -r --name-only ${tag}`),
      read: (store, tag, file) => `git --git-dir=${q(store)} show ${q(`${tag}:${file}`)}`,
    },
    {
      name: 'ostree',
      version: version('sh', '-c', 'ostree --version | sed -n 2p'),
      init(store) {
        fs.mkdirSync(store, { recursive: true })
        execFileSync('ostree', ['init', `--repo=${store}`, '--mode=bare'])
      },
      save: (store, source, tag) =>
        `ostree commit --repo=${q(store)} -b ${tag} --tree=dir=${q(source)} --link-checkout-speedup`,
      remove: (store, tag) =>
        `ostree refs --repo=${q(store)} --delete ${tag} && ostree prune --repo=${q(store)} --refs-only`,
      count: (store, tag) => lines(`ostree ls -R --repo=${q(store)} ${tag} | grep '^-'`),
      read: (store, tag, file) => `ostree cat --repo=${q(store)} ${tag} ${q(`/${file}`)}`,
    },
    {
      name: 'restic',
      version: version('restic', 'version'),
      init: store => void execFileSync('sh', ['-c', `${RESTIC} restic init -q -r ${q(store)}`]),
      save: (store, source, tag) => `cd ${q(source)} && ${RESTIC} restic -q -r ${q(store)} backup --tag ${tag} .`,
      remove: (store, tag) => `${RESTIC} restic -q -r ${q(store)} forget --prune ${snapshotId(store, tag)}`,
      count: (store, tag) => lines(`${RESTIC} restic -r ${q(store)} ls -l --tag ${tag} latest | grep '^-'`),
      read: (store, tag, file) => `${RESTIC} restic -q -r ${q(store)} dump --tag ${tag} latest ${q(`/${file}`)}`,
    },
    {
      name: 'borg',
      version: version('borg', '--version'),
      init: store => void execFileSync('sh', ['-c', `${BORG} borg init -e none ${q(store)}`]),
      save: (store, source, tag) => `cd ${q(source)} && ${BORG} borg create -C lz4 ${q(store)}::${tag} .`,
      remove: (store, tag) => `${BORG} borg delete ${q(store)}::${tag} && ${BORG} borg compact ${q(store)}`,
      count: (store, tag) => lines(`${BORG} borg list ${q(store)}::${tag} | grep '^-'`),
      read: (store, tag, file) => `${BORG} borg extract --stdout ${q(store)}::${tag} ${q(file)}`,
    },
    {
      name: 'tar+zstd',
      version: version('tar', '--version'),
      init: store => void fs.mkdirSync(store, { recursive: true }),
      save: (store, source, tag) => `tar -C ${q(source)} --xattrs --zstd -cf ${q(`${store}/${tag}.tar.zst`)} .`,
      count: (store, tag) => lines(`tar --zstd -tf ${q(`${store}/${tag}.tar.zst`)} | grep -v '/$'`),
      read: (store, tag, file) => `tar --zstd -xOf ${q(`${store}/${tag}.tar.zst`)} ${q(`./${file}`)}`,
    },
    {
      name: 'mkcomposefs',
      version: '1.0.8',
      init: store => void fs.mkdirSync(`${store}/objects`, { recursive: true }),
      save: (store, source, tag) =>
        `${oracle}/mkcomposefs --digest-store=${q(`${store}/objects`)} ${q(source)} ${q(`${store}/${tag}.cfs`)}`,
      count: (store, tag) => lines(`${oracle}/composefs-info dump ${q(`${store}/${tag}.cfs`)} | awk '$3 ~ /^100/'`),
      read: (store, tag, file) =>
        `cat ${q(`${store}/objects`)}/$(${oracle}/composefs-info dump ${q(`${store}/${tag}.cfs`)} | awk '$1 == "/${file}" { print $9 }')`,
    },
  ]
}

/** A peer that stored nothing is fast: all files have to be there, and one that was changed has to be what it is in the source. */
export function requireStored(peer: Peer, store: string, source: string, { tag, sample }: Version): void {
  const expected = lines(`find ${q(source)} -type f`)
  const stored = peer.count(store, tag)
  if (stored < expected) throw new Error(`${peer.name} stored ${stored} of ${expected} files`)
  const content = execFileSync('sh', ['-c', peer.read(store, tag, sample)])
  if (!content.equals(fs.readFileSync(`${source}/${sample}`)))
    throw new Error(`${peer.name} gives other bytes for ${sample} than were stored`)
}

/** A version of the source, and a file that was written since the one before. */
interface Version {
  readonly tag: string
  readonly sample: string
}
