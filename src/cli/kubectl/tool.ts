import { Option } from 'commander'
import { nonNegative, type Tool } from '../program.ts'

const LABEL = [
  '<label>',
  'a label of the namespace, library/…, or pvc/<name> for the label of a PersistentVolumeClaim',
] as const
const TIMEOUT_SECONDS = 600
const collect = (value: string, before: string[] = []): string[] => [...before, value]

/** `kubectl stratum`, against the API server alone. */
export const KUBECTL: Tool = {
  name: 'kubectl stratum',
  description: 'Commits and tags of the volumes of a cluster',
  isConfigured: false,
  globalOptions: () => [
    new Option('-n, --namespace <name>', "the namespace; that of kubectl's context if it is left away"),
    new Option('--context <name>', "kubectl's context"),
    new Option('--kubeconfig <file>', "kubectl's configuration"),
    new Option('--json', 'print one JSON object').default(false),
    new Option('-q, --quiet', 'print only the id or name that was asked for').default(false),
  ],
  commands: [
    {
      name: 'commit',
      group: 'Work',
      summary: "commit a label's HEAD: makes a StratumCommit and waits for its end",
      args: [LABEL],
      options: () => [
        new Option('--tag <name>', 'a new tag; may be given again').argParser(collect),
        new Option('--move-tag <name>', 'a tag that may exist and is moved; may be given again').argParser(collect),
        new Option('-m, --message <text>', 'what it is, for the log'),
        new Option('--consistency <how>', 'how writers are treated')
          .choices(['freeze', 'live', 'idle'])
          .default('freeze'),
        new Option('--allow-unclean', 'take files that look cut by a power loss as they are').default(false),
        new Option('--name <name>', 'the name of the StratumCommit, instead of one that is made up'),
        new Option('--no-wait', 'do not wait for the end'),
        new Option('--timeout <seconds>', 'how long it is tried').default(TIMEOUT_SECONDS).argParser(nonNegative),
      ],
      help: 'Prints label:<commit id>.\n\n  kubectl stratum commit web --tag v2 -n team-a\n  kubectl stratum commit pvc/data --move-tag nightly',
      load: () => import('./commit.ts'),
    },
    {
      name: 'tags',
      group: 'History',
      summary: 'list the tags of a label, or the labels of the namespace',
      args: [['[label]', LABEL[1]]],
      load: () => import('./tags.ts'),
    },
    {
      name: 'log',
      group: 'History',
      summary: 'show the StratumCommits of a label, newest first',
      args: [LABEL],
      load: () => import('./log.ts'),
    },
    {
      name: 'release',
      group: 'Work',
      summary: 'give up the HEAD of a node that is gone, so that another node can have it',
      args: [LABEL],
      options: () => [
        new Option('--force', 'even if the node is ready: what it has not committed is out of reach then').default(
          false,
        ),
      ],
      help: 'Changes of HEAD that were not committed stay on that node. Tags too: they are where they were made.',
      load: () => import('./release.ts'),
    },
    {
      name: 'doctor',
      group: 'Help',
      summary: 'look for what is wrong in the cluster, and say what to do about it',
      options: () => [
        new Option(
          '--forget-node <name>',
          'clear what is left of a node that is gone for ever: HEADs, volumes that are released, snapshots that are being deleted',
        ),
      ],
      load: () => import('./doctor.ts'),
    },
  ],
}
