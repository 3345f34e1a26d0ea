import { recoverHead } from '../heads/recover-head.ts'
import type { Label } from '../names/label.ts'
import { lockLabel, lockStore } from '../store/locks.ts'
import { type Context, lockOptions } from './context.ts'

/** Finishes what the last command on a label began, as every command does first. @throws busy */
export async function recoverLabel(context: Context, label: Label): Promise<void> {
  using _label = await lockLabel(context.store, label, lockOptions(context))
  using _store = await lockStore(context.store, 'shared', lockOptions(context))
  await recoverHead(context.store, label)
}
