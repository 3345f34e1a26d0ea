import { KUBERNETES, programPath } from '../programs/programs.ts'
import { type Cluster, files } from './layout.ts'
import { run } from './run.ts'

/** kubectl as the cluster's administrator. It works only in the cluster's network namespace. `input` goes to standard input (`-f -`). */
export function kubectl(cluster: Cluster, args: readonly string[], input = ''): Promise<string> {
  return run(programPath(KUBERNETES, 'kubectl'), ['--kubeconfig', files.kubeconfig(cluster, 'admin'), ...args], {
    input,
  })
}
