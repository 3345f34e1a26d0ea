import { createHash } from 'node:crypto'
import { StratumError } from '../errors/stratum-error.ts'
import { isLabel, type Label, parseLabel, quote } from '../names/label.ts'
import { parseReference, type Reference } from '../names/reference.ts'
import type { ClaimWishes } from './claims.ts'
import type { NamespacedName } from './volume-record.ts'

/** Labels that everybody may read and that belong to no namespace. */
const LIBRARY = 'library'
const UID_DIGITS = 8
const HASH_DIGITS = 10
const PREFIX_MAX = 40

/**
 * The labels that a new volume may get, best first: the claim's name, or the one that it asks for, in its namespace; and where that HEAD is
 * taken, the same with the beginning of its uid. Without a claim, the request's name.
 */
export function labelsFor(name: string, claim: NamespacedName | undefined, wishes: ClaimWishes): Label[] {
  if (claim === undefined) return [fitting('', name)]
  const prefix = `${namespaceOf(claim)}/`
  const wanted = wishes.label === undefined ? fitting(prefix, claim.name) : parseLabel(`${prefix}${wishes.label}`)
  const uid = (wishes.uid ?? /^pvc-([0-9a-f-]+)$/.exec(name)?.[1] ?? hash(name)).slice(0, UID_DIGITS)
  const beside = `${wanted}-${uid}`
  return [wanted, isLabel(beside) ? beside : fitting(prefix, beside)]
}

/** A tag that a claim names: of its own namespace, or of `library/`. @throws usage */
export function referenceFor({ namespace }: NamespacedName, text: string): Reference {
  const reference = parseReference(text.startsWith(`${LIBRARY}/`) ? text : `${namespace}/${text}`)
  if (reference.kind === 'name') return reference
  throw new StratumError('usage', `stratum.dev/from ${quote(text)} names no tag`, {
    hint: 'It is label:tag; the HEAD of another volume is taken with a dataSource',
  })
}

/** @throws usage (no name of a namespace), permission (library) */
function namespaceOf({ namespace }: NamespacedName): string {
  if (!/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(namespace))
    throw new StratumError('usage', `${quote(namespace)} is no namespace`)
  if (namespace !== LIBRARY) return namespace
  throw new StratumError('permission', `the labels of ${LIBRARY}/ belong to no namespace: no volume is made in it`, {
    hint: 'Take a namespace of another name',
  })
}

/** The name as a label, shortened to `<prefix>-<hash>` where the grammar or the length of labels does not allow it. */
function fitting(prefix: string, name: string): Label {
  if (!name.includes('/') && isLabel(`${prefix}${name}`)) return `${prefix}${name}` as Label
  const words = name.toLowerCase().replace(/[^a-z0-9]+/g, '-')
  const short = words.slice(0, PREFIX_MAX).replace(/^-+|-+$/g, '')
  return parseLabel(`${prefix}${short === '' ? 'volume' : short}-${hash(name)}`)
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, HASH_DIGITS)
}
