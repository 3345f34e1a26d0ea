import { apply, get, type KubeObject, kubectl, unique } from './cluster.ts'
import { waitFor } from './wait.ts'

/** Asks for a StratumCommit and gives its name. `spec.label` is in the namespace `default`. */
export async function askForCommit(spec: KubeObject): Promise<string> {
  const name = unique('commit')
  await apply({
    apiVersion: 'stratum.dev/v1alpha1',
    kind: 'StratumCommit',
    metadata: { name, namespace: 'default' },
    spec,
  })
  return name
}

export function conditionOf(object: KubeObject, type: string): KubeObject | undefined {
  return object.status?.conditions?.find((it: KubeObject) => it.type === type)
}

/** Waits until a StratumCommit is Ready and gives it. */
export async function waitForCommit(name: string): Promise<KubeObject> {
  return waitFor(
    `StratumCommit ${name} to be Ready`,
    async () => {
      const commit = await get('stratumcommit', name)
      return conditionOf(commit, 'Ready')?.status === 'True' && commit
    },
    { explain: () => kubectl('describe', 'stratumcommit', name) },
  )
}
