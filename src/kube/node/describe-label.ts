import type { Label } from '../../names/label.ts'
import { hasLabel } from '../../refs/tags.ts'
import { readHead } from '../../refs/head-file.ts'
import { listTags } from '../../repository/list.ts'
import type { Store } from '../../store/layout.ts'
import { type LabelNode, type LabelStatus, TAGS_LISTED_MAX } from '../resources/stratum.ts'

/** What this store knows of a label, as its StratumLabel tells it. */
export interface DescribedLabel {
  readonly hasHead: boolean
  /** This node's entry in status.nodes. */
  readonly node: LabelNode
  /** What only the holder writes. */
  readonly asHolder: Pick<LabelStatus, 'lastCommit' | 'tagCount' | 'tags'>
}

/** Undefined if the store has no such label. */
export function describeLabel(store: Store, label: Label, nodeName: string): DescribedLabel | undefined {
  if (!hasLabel(store, label)) return undefined
  const head = readHead(store, label)
  const tags = listTags(store, label)
  const bytes = tags[0]?.metadata?.bytes
  return {
    hasHead: head !== undefined,
    node: { nodeName, storeId: store.id, tagCount: tags.length, ...(bytes === undefined ? {} : { bytes }) },
    asHolder: {
      ...(head === undefined ? {} : { lastCommit: head.lastCommit }),
      tagCount: tags.length,
      tags: tags.slice(0, TAGS_LISTED_MAX).map(({ tag, commit, metadata }) => ({
        name: tag,
        commitId: commit,
        ...(metadata === undefined ? {} : { time: metadata.timestamp }),
      })),
    },
  }
}
