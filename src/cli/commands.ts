import { type CommandSpec, nonNegative, option } from './program.ts'

const MESSAGE = (): ReturnType<typeof option> => option('-m, --message <text>', 'what it is, for the log')
const REFERENCE = 'label, label:tag or label:<commit id>'

/** Every command, in the order of the help. */
export const COMMANDS: readonly CommandSpec[] = [
  {
    name: 'import',
    group: 'Work',
    summary: 'store a directory as a new commit of a label',
    args: [['<directory>', 'what to store']],
    options: [
      option('--label <label>', 'the label that gets the commit').makeOptionMandatory(),
      option('--tag <tag>', 'a tag for the commit (else its id is the tag)'),
      MESSAGE(),
      option('--one-file-system', 'leave out what is mounted inside the directory').default(false),
      option('--include-mounts', 'take along what is mounted inside the directory')
        .default(false)
        .conflicts('oneFileSystem'),
    ],
    help: 'Prints label:<commit id>.\n\n  stratum import /srv/app --label app --tag v1',
    load: () => import('./commands/import.ts'),
  },
  {
    name: 'mount',
    group: 'Work',
    summary: "mount a label's HEAD, writable, or one of its commits, read-only",
    args: [
      ['<reference>', REFERENCE],
      ['[mountpoint]', 'an empty directory; without it, one below /run/user that is printed'],
    ],
    options: [
      option('--read-only', 'mount read-only whatever is named').default(false),
      option('--allow-suid-and-devices', 'let set-user-id programs and device files take effect').default(false),
    ],
    load: () => import('./commands/mount.ts'),
  },
  {
    name: 'unmount',
    group: 'Work',
    summary: 'take a mount away',
    args: [['<what>', 'a mountpoint, label or label:tag']],
    load: () => import('./commands/unmount.ts'),
  },
  {
    name: 'commit',
    group: 'Work',
    summary: 'make a commit of HEAD as it is now',
    args: [['<label[:tag]>', 'the label, and a new tag for the commit (else its id is the tag)']],
    options: [
      MESSAGE(),
      option('--live', 'let writers run on: every file whole (the default)').default(false),
      option('--freeze', 'stop the writers for a moment: a point in time').default(false).conflicts(['live']),
      option('--idle', 'only if nobody has a file open for writing').default(false).conflicts(['live', 'freeze']),
      option('--max-pause <ms>', 'how long writers may stand still at once').default(1000).argParser(nonNegative),
      option('--deadline <seconds>', 'how long to try again with --freeze').default(60).argParser(nonNegative),
      option('--allow-unclean', 'commit files that look cut by a power loss').default(false),
    ],
    load: () => import('./commands/commit.ts'),
  },
  {
    name: 'tag',
    group: 'Work',
    summary: 'point a tag at a commit, or rename one',
    args: [
      ['<reference>', 'label:tag or label:<commit id>'],
      ['<tag>', 'the new tag'],
    ],
    options: [
      option('--move', 'rename: the tag that is named first goes away').default(false),
      option('--force', 'move the new tag if it exists elsewhere').default(false),
    ],
    load: () => import('./commands/tag.ts'),
  },
  {
    name: 'gc',
    group: 'Store',
    summary: 'collect what nothing keeps any more',
    args: [
      ['[explain]', 'say what keeps a commit or object'],
      ['[id]', 'label:tag, or the id of a commit or object, or its beginning'],
    ],
    options: [
      option('--dry-run', 'only say what would go, by label, tag and path').default(false),
      option('--now', 'free the space at once and not after the grace period').default(false),
      option('--allow-empty', 'collect although no label is left').default(false),
    ],
    help: 'What is collected stays in the trash for an hour.\n\n  stratum gc --dry-run\n  stratum gc explain app:v1',
    load: () => import('./commands/gc.ts'),
  },
  {
    name: 'verify',
    group: 'Store',
    summary: 'compute all hashes of commits and objects anew',
    args: [['[reference]', `${REFERENCE}; without it, every commit of the store`]],
    options: [option('--quick', 'do not read the objects: only whether they are there').default(false)],
    help: 'Exit status 9 if something is damaged.',
    load: () => import('./commands/verify.ts'),
  },
  {
    name: 'fsck',
    group: 'Store',
    summary: 'check the whole store, and repair it',
    options: [
      option('--repair', 'repair what can be repaired without guessing; the rest goes into quarantine').default(false),
      option('--quick', 'do not read the objects: only whether they are there').default(false),
    ],
    help: 'Exit status 9 if something is damaged and was not repaired. Nothing is ever deleted.',
    load: () => import('./commands/fsck.ts'),
  },
  {
    name: 'du',
    group: 'Store',
    summary: 'say what commits take on the disk, and what removing a tag would free',
    args: [['[reference]', 'a label or label:tag; without it, the whole store']],
    load: () => import('./commands/du.ts'),
  },
]
