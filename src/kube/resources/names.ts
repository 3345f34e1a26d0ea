import { createHash } from 'node:crypto'
import { isLabel, type Label } from '../../names/label.ts'
import type { Key } from '../client/objects.ts'

/** Labels that belong to the whole cluster begin with this; no namespace may have the name. */
const LIBRARY = 'library/'

/** The store's label for a label in a namespace: `web` in team-a is `team-a/web`. Undefined where the store has no such name. */
export function storeLabel(namespace: string, label: string): Label | undefined {
  if (namespace === 'library') return undefined
  const full = label.startsWith(LIBRARY) ? label : `${namespace}/${label}`
  return isLabel(full) ? full : undefined
}

/** Where the StratumLabel of one of the store's labels is. */
export interface LabelName extends Key {
  readonly namespace: string
  /** As StratumCommits name it. */
  readonly label: string
}

/** Undefined for labels without a namespace, which a cluster does not know. @param home the namespace of the StratumLabels of `library/` */
export function labelName(label: Label, home: string): LabelName | undefined {
  const slash = label.indexOf('/')
  if (slash < 0) return undefined
  if (label.startsWith(LIBRARY)) return { namespace: home, label, name: objectName(label) }
  const [namespace, rest] = [label.slice(0, slash), label.slice(slash + 1)]
  if (!NAMESPACE.test(namespace)) return undefined
  return { namespace, label: rest, name: objectName(rest) }
}

/** RFC 1123, as namespaces are named. */
const NAMESPACE = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/
const OBJECT_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/
const HASHED = /^label-[0-9a-f]{64}$/

/** The name of a StratumLabel: the label, or a hash of it where that is no name in Kubernetes or looks like such a hash. */
export function objectName(label: string): string {
  if (OBJECT_NAME.test(label) && !HASHED.test(label)) return label
  return `label-${createHash('sha256').update(label).digest('hex')}`
}
