import fs from 'node:fs'

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

/** What is also called aside: a thread of the pool, which names nothing, makes the call that another one has named. */
const ASIDE = ['syncfs', 'fsync', 'umount']

/** For strace's `-e trace=`, with which `write` and `openat` are to be traced, too: by them the hook notes. */
export const CHANGING = [
  'mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,symlink,symlinkat,link,linkat,mknod,mknodat',
  'chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,utimensat,setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr',
  'truncate,ftruncate,fallocate,fsync,fdatasync,syncfs,move_mount,umount2,mount_setattr',
].join(',')

export interface Seen {
  readonly thread: string
  readonly call: string
  readonly line: string
}

/** Every changing call of a run below a folder, and what the hook was told, in the order of each thread. */
export function readTrace(file: string, folder: string, notes: string): { calls: Seen[]; unnamed: string[] } {
  const [last, calls, uncovered]: [Map<string, string>, Seen[], Seen[]] = [new Map(), [], []]
  const awaited = new Map(ASIDE.map(name => [name, 0])) // how many that were named were not seen yet
  const takeAwaited = (name = ''): boolean => {
    const count = awaited.get(name) ?? 0
    if (count > 0) awaited.set(name, count - 1)
    return count > 0
  }
  for (const line of fs.readFileSync(file, 'latin1').split('\n')) {
    const [, thread, call, rest] = /^(\d+) +(\w+)\((.*)$/.exec(line) ?? []
    if (call === undefined) continue
    const told = rest.includes(notes) && /"step ([\w-]+)\\n"/.exec(rest)?.[1]
    if (told) {
      last.set(thread, told)
      if (awaited.has(told)) awaited.set(told, (awaited.get(told) ?? 0) + 1)
    } else if (call !== 'write' && call !== 'openat' && rest.includes(folder) && !rest.includes(notes)) {
      // Names that are not there or are there already are asked for by trying: no change.
      if (/ = -1 E(NOENT|EXIST|NOTEMPTY|BUSY|NOTTY|OPNOTSUPP)/.test(rest)) continue
      const seen = { thread, call, line: line.slice(0, 200) }
      calls.push(seen)
      const own = last.get(thread)
      if (own !== undefined && CALLS_OF[own]?.test(call)) takeAwaited(own)
      else if (own !== undefined || !takeAwaited(ASIDE.find(name => CALLS_OF[name].test(call)))) uncovered.push(seen)
    }
  }
  return { calls, unnamed: uncovered.filter(each => !isOfState(each)).map(({ line }) => line) }
}

/** The state file of this boot is written outside the store and dies with it: nothing in it counts. */
function isOfState({ line }: Seen): boolean {
  return /\/run(\/stratum)?\/?(state|layers)?["<>,]/.test(line)
}
