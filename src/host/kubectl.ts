import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { StratumError } from '../errors/stratum-error.ts'

/** A way to the API server as the user whom kubectl knows: kubeconfig, contexts and every kind of credentials are kubectl's. */
export interface KubectlProxy extends AsyncDisposable {
  /** A unix socket that only this user can use. */
  readonly socketPath: string
}

const KUBECTL = process.env.STRATUM_KUBECTL ?? 'kubectl'
const START_LIMIT_MS = 20_000

/** @param flags --context, --kubeconfig @throws unavailable, with what kubectl said */
export async function openKubectlProxy(flags: readonly string[], signal: AbortSignal): Promise<KubectlProxy> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kubectl-stratum-'))
  const socketPath = `${folder}/api.sock`
  const child = execa(KUBECTL, [...flags, 'proxy', `--unix-socket=${socketPath}`], { reject: false, stdin: 'ignore' })
  let ended = false
  const end = child.then(({ stderr, shortMessage = '' }) => {
    ended = true
    return stderr.trim() || shortMessage
  })
  const close = async (): Promise<void> => {
    child.kill('SIGTERM')
    await end
    fs.rmSync(folder, { recursive: true, force: true })
  }
  for (const until = performance.now() + START_LIMIT_MS; !fs.existsSync(socketPath); ) {
    if (ended || signal.aborted || performance.now() > until) {
      await close()
      signal.throwIfAborted()
      throw new StratumError('unavailable', `kubectl proxy does not start: ${await end}`, {
        hint: 'kubectl has to be on the PATH, with a context that reaches the cluster: kubectl version',
      })
    }
    await sleep(20)
  }
  return { socketPath, [Symbol.asyncDispose]: close }
}

/** The namespace of kubectl's context. */
export async function kubectlNamespace(flags: readonly string[]): Promise<string> {
  const template = 'jsonpath={.contexts[0].context.namespace}'
  const { stdout, failed } = await execa(KUBECTL, [...flags, 'config', 'view', '--minify', '-o', template], {
    reject: false,
  })
  return failed || stdout.trim() === '' ? 'default' : stdout.trim()
}
