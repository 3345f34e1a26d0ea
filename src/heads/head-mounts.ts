import { listMounted, type Mounted } from '../mounts/records.ts'
import type { Label } from '../names/label.ts'
import type { Store } from '../store/layout.ts'

/** Where a label's HEAD is mounted, as this process sees it. */
export function headMounts(store: Store, label: Label): Mounted[] {
  return listMounted(store).filter(mounted => mounted.label === label && mounted.generation !== undefined)
}
