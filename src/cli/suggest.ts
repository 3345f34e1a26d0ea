import { StratumError } from '../errors/stratum-error.ts'
import { closest } from '../names/closest.ts'
import { absolute } from './invocation.ts'

/** A label that is not there is named with the one that was meant, if there is one like it. Here, for only on the command line all labels are the caller's. */
export async function withSuggestion(error: StratumError, storePath: string): Promise<StratumError> {
  const { code, message, hint, details } = error
  if (code !== 'not-found' || typeof details.label !== 'string') return error
  try {
    const { openStore } = await import('../store/open-store.ts')
    const { listLabels } = await import('../refs/tags.ts')
    const meant = closest(details.label, listLabels(openStore(absolute(storePath))))
    if (meant === undefined) return error
    return new StratumError(code, message, {
      hint: `Did you mean ${meant}? ${hint ?? ''}`.trim(),
      details,
      cause: error,
    })
  } catch {
    return error // the error that is there is the one to be told
  }
}
