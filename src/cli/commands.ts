import { hostname } from 'node:os'
import { CONTROLLER } from './cluster-commands.ts'
import { type CommandSpec, nonNegative, option } from './program.ts'

const MESSAGE = (): ReturnType<typeof option> => option('-m, --message <text>', 'what it is, for the log')
const LOG_LEVELS = ['debug', 'info', 'warn', 'error']
const REFERENCE = 'label, label:tag or label:<commit id>'

/** Every command, in the order of the help. */
export const COMMANDS: readonly CommandSpec[] = [
  {
    name: 'init',
    group: 'Work',
    summary: 'make a new label and mount its HEAD',
    args: [
      ['<label>', 'the new label'],
      ['<mountpoint>', 'an empty directory, or with --migrate the one that becomes the first commit'],
    ],
    options: () => [
      option(
        '--migrate',
        'make what is in the directory the first commit; it is kept beside it as <mountpoint>.pre-stratum',
      ).default(false),
      option('--remove-original', 'with --migrate: delete the directory afterwards').default(false),
    ],
    help: 'Examples:\n  stratum init saves /srv/saves\n  stratum init app /srv/app --migrate',
    load: () => import('./commands/init.ts'),
  },
  {
    name: 'import',
    group: 'Work',
    summary: 'store a directory or an archive as a new commit of a label',
    args: [
      ['<source>', 'a directory; a tar archive, plain or compressed, or container image in one; - for stdin'],
      ['[label[:tag]]', 'with --bare: the label, and a new tag for the result'],
    ],
    options: () => [
      option('--label <label>', 'the label that gets the commit'),
      option('--tag <tag>', 'a tag for the commit (else its id is the tag)'),
      option(
        '--bare',
        'lay the directory over the current commit: directories merge, files replace, whiteouts delete',
      ).default(false),
      option('--onto <reference>', 'with --bare: what it is laid over'),
      MESSAGE(),
      option('--one-file-system', 'leave out what is mounted inside the directory').default(false),
      option('--include-mounts', 'take along what is mounted inside the directory')
        .default(false)
        .conflicts('oneFileSystem'),
      option('--plain', 'store an archive of container images as it is, without looking into it').default(false),
      option('--platform <os/architecture>', 'which image of an archive of several (else that of this machine)'),
      option('--ignore-space', 'do not compare the size of an archive with the space that is left').default(false),
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
    options: () => [
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
    options: () => [
      MESSAGE(),
      option('--live', 'let writers run on: every file as at one moment (the default)').default(false),
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
    options: () => [
      option('--move', 'rename: the tag that is named first goes away').default(false),
      option('--force', 'move the new tag if it exists elsewhere').default(false),
    ],
    load: () => import('./commands/tag.ts'),
  },
  {
    name: 'apply',
    group: 'Work',
    summary: 'set HEAD back to a commit, where it is mounted',
    args: [
      ['<reference>', 'label:tag or label:<commit id>'],
      ['<mountpoint>', "where the label's HEAD is mounted, or is to be"],
    ],
    options: () => [
      option('--path <path>', 'only this file or directory, from the root of the tree'),
      option('--no-save', 'refuse if there are changes that are not committed, instead of keeping them under a tag'),
      option('--dry-run', 'only show what would change').default(false),
    ],
    help: 'What was not committed is kept as label:before-apply-<time>.',
    load: () => import('./commands/apply.ts'),
  },
  {
    name: 'remove',
    group: 'Work',
    summary: 'remove a tag, or a label with HEAD and all tags',
    args: [['<label[:tag]>', 'the tag, or the whole label']],
    options: () => [
      option('--yes', 'do not ask before a label is removed').default(false),
      option('--dry-run', 'only show what would go').default(false),
    ],
    load: () => import('./commands/remove.ts'),
  },
  {
    name: 'export',
    group: 'Work',
    summary: 'write a commit to a file',
    args: [
      ['<reference>', 'label:tag or label:<commit id>; a label alone is the last commit of its HEAD'],
      [
        '<file>',
        'its ending tells the format: .tar, .tar.gz, .tar.zst, .oci.tar (a container image), .cfs; - for stdout',
      ],
    ],
    options: () => [
      option('--format <format>', 'tar, tar.gz, tar.zst, oci or cfs, whatever the name says'),
      option('--force', 'replace the file if it exists').default(false),
    ],
    help: 'Examples:\n  stratum export app:v1 app.tar.zst\n  stratum export app:v1 - --format tar | ssh host tar -x -C /srv/app',
    load: () => import('./commands/export.ts'),
  },
  {
    name: 'list',
    group: 'History',
    summary: 'list the labels, or the tags of one',
    args: [['[label]', 'a label']],
    load: () => import('./commands/list.ts'),
  },
  {
    name: 'status',
    group: 'History',
    summary: 'show where something is mounted and what is not committed',
    args: [['[reference]', `${REFERENCE}; without one, everything that is mounted`]],
    options: () => [option('--exit-code', 'exit with 20 if there are changes that are not committed').default(false)],
    load: () => import('./commands/status.ts'),
  },
  {
    name: 'log',
    group: 'History',
    summary: 'show what happened to a label, newest first',
    args: [['<label>', 'a label']],
    options: () => [option('-n, --number <count>', 'only so many').argParser(nonNegative)],
    load: () => import('./commands/log.ts'),
  },
  {
    name: 'diff',
    group: 'History',
    summary: 'show the files that differ between two trees',
    args: [
      ['<a>', `${REFERENCE}; a label alone is its HEAD as it is now`],
      ['[b]', 'the other one; without it, what HEAD changed since its last commit or since <a>'],
    ],
    options: () => [option('--exit-code', 'exit with 20 if anything differs').default(false)],
    help: '+ new   - gone   M other bytes or attributes   T another type',
    load: () => import('./commands/diff.ts'),
  },
  {
    name: 'show',
    group: 'History',
    summary: 'show what a commit is',
    args: [['<reference>', REFERENCE]],
    load: () => import('./commands/show.ts'),
  },
  {
    name: 'ls',
    group: 'History',
    summary: 'list the files of a commit without mounting it',
    args: [
      ['<reference>', REFERENCE],
      ['[path]', 'a directory or file in it'],
    ],
    options: () => [
      option('-l, --long', 'with mode, owner, size and time').default(false),
      option('-R, --recursive', 'with everything below').default(false),
    ],
    load: () => import('./commands/ls.ts'),
  },
  {
    name: 'cat',
    group: 'History',
    summary: 'print a file of a commit without mounting it',
    args: [
      ['<reference>', REFERENCE],
      ['<path>', 'the file'],
    ],
    load: () => import('./commands/cat.ts'),
  },
  {
    name: 'gc',
    group: 'Store',
    summary: 'collect what nothing keeps any more',
    args: [
      ['[explain]', 'say what keeps a commit or object'],
      ['[id]', 'label:tag, or the id of a commit or object, or its beginning'],
    ],
    options: () => [
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
    options: () => [option('--quick', 'do not read the objects: only whether they are there').default(false)],
    help: 'Exit status 9 if something is damaged.',
    load: () => import('./commands/verify.ts'),
  },
  {
    name: 'fsck',
    group: 'Store',
    summary: 'check the whole store, and repair it',
    options: () => [
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
  {
    name: 'node',
    group: 'Kubernetes',
    summary: 'serve kubelet on this node: the CSI plugin',
    options: () => [
      // The CSI specification has an orchestrator name the socket by this variable ("Configuration and Operation").
      option(
        '--endpoint <socket>',
        'unix:///path/to/csi.sock, at the path where kubelet sees it; CSI_ENDPOINT names it, too',
      ).default(process.env.CSI_ENDPOINT ?? 'unix:///csi/csi.sock'),
      option('--node-id <name>', 'the name of the node in Kubernetes').default(hostname(), "the machine's name"),
      option('--driver-name <name>', 'the name of the CSI driver').default('stratum.csi.dev'),
      option('--kubelet-dir <path>', "kubelet's folder, /var/lib/kubelet: targets outside it are refused"),
      option('--any-target', 'mount at any absolute path, as without --kubelet-dir').default(false),
      option('--registration-dir <path>', "kubelet's plugins_registry folder: the plugin registers itself there"),
      option('--http <address>', 'serve /healthz, /readyz and /metrics at host:port or :port'),
      option('--cluster', "carry out StratumCommits of the pod's cluster, and keep its StratumLabels").default(false),
      option('--gc-interval <minutes>', 'how often garbage is collected; 0 for never')
        .default(15)
        .argParser(nonNegative),
      option('--scrub-period <days>', 'in which time the whole store is checked once, in the background; 0 for never')
        .default(30)
        .argParser(nonNegative),
      option('--log-level <level>', 'how much is logged').choices(LOG_LEVELS).default('info'),
    ],
    help: `Serves until SIGTERM. What is mounted stays mounted when it stops, is killed or upgraded.
Logs are JSON lines on stderr. docs/csi.md says what the driver can do, docs/kubernetes how it is installed.

  stratum node --kubelet-dir /var/lib/kubelet --registration-dir /var/lib/kubelet/plugins_registry \\
    --endpoint unix:///var/lib/kubelet/plugins/stratum.csi.dev/csi.sock --node-id "$NODE_NAME" --http :9809`,
    load: () => import('./commands/node.ts'),
  },
  CONTROLLER,
  {
    name: 'doctor',
    group: 'Help',
    summary: 'check what this machine has and what is missing',
    load: () => import('./commands/doctor.ts'),
  },
  {
    name: 'config',
    group: 'Help',
    summary: 'show every option, its value and where it comes from',
    args: [['<show>', 'the word "show"']],
    load: async () => ({ run: (await import('./commands/config.ts')).configOf(COMMANDS) }),
  },
  {
    name: 'completion',
    group: 'Help',
    summary: 'print the completion script for a shell',
    args: [['[shell]', 'bash, zsh or fish']],
    options: () => [option('--references', 'print labels and tags, for the script').default(false).hideHelp()],
    load: async () => ({ run: (await import('./commands/completion.ts')).completionOf(COMMANDS) }),
  },
]
