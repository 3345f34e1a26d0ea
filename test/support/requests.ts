import { loadProtocols } from '../../src/csi/protocol.ts'
import type { Random } from './random.ts'

/** A field of a message, as the descriptors say. */
export interface Field {
  readonly name: string
  readonly kind: 'text' | 'number' | 'truth' | 'choice' | 'map' | 'message'
  readonly repeated: boolean
  /** Of a message. */
  readonly fields: readonly Field[]
  /** Names of a choice. */
  readonly names: readonly string[]
}

const { definition } = loadProtocols()

/** The fields of a method's request, with all that is below them. */
export function fieldsOf(service: string, method: string): readonly Field[] {
  const methods = definition[`csi.v1.${service}`] as unknown as Record<string, { requestType: { type: unknown } }>
  return fieldsIn(methods[method].requestType.type)
}

export function methodsOf(service: string): string[] {
  return Object.keys(definition[`csi.v1.${service}`])
}

function fieldsIn(message: any, around: readonly any[] = []): Field[] {
  const scopes = [message, ...around]
  return message.field.map(({ name, type, label, typeName }: any): Field => {
    const repeated = label === 'LABEL_REPEATED'
    const find = (kind: string): any => {
      for (const scope of scopes)
        for (const nested of scope[kind] ?? []) if (nested.name === typeName.split('.').at(-1)) return nested
      return (definition[`csi.v1.${typeName}`] as any).type
    }
    const plain = { name, repeated, fields: [], names: [] }
    if (type === 'TYPE_STRING') return { ...plain, kind: 'text' }
    if (type === 'TYPE_BOOL') return { ...plain, kind: 'truth' }
    if (type === 'TYPE_ENUM')
      return { ...plain, kind: 'choice', names: find('enumType').value.map((each: any) => each.name) }
    if (type !== 'TYPE_MESSAGE') return { ...plain, kind: 'number' }
    const nested = find('nestedType')
    if (nested.options?.mapEntry === true) return { ...plain, kind: 'map', repeated: false }
    return { ...plain, kind: 'message', fields: fieldsIn(nested, scopes) }
  })
}

export const TEXTS = [
  '',
  'x',
  '..',
  '../../../../etc',
  '/',
  '/etc/shadow',
  'relative/path',
  '%2F',
  'HEAD',
  '-1',
  '💣',
  'Ünïcode',
  'a\nb',
  'a\0b',
  '\u202egpj',
  'a'.repeat(128),
  'a'.repeat(129),
  'a'.repeat(5000),
] as const
const NUMBERS = ['0', '1', '-1', '4096', '2147483647', '-2147483648', '9223372036854775807', '-9223372036854775808']

export interface Pool {
  /** Ids and paths that mean something. */
  readonly texts: readonly string[]
  readonly keys: readonly string[]
}

/** A value for a field, mostly a bad one. */
export function randomValue(field: Field, random: Random, pool: Pool, depth = 0): unknown {
  if (field.repeated) {
    const count = random.pick([0, 1, 2, 40])
    return Array.from({ length: count }, () => randomValue({ ...field, repeated: false }, random, pool, depth))
  }
  switch (field.kind) {
    case 'text':
      return random.pick(random.chance(0.5) ? pool.texts : TEXTS)
    case 'number':
      return random.pick(NUMBERS)
    case 'truth':
      return random.chance(0.5)
    case 'choice':
      return random.chance(0.7) ? random.pick(field.names) : random.pick([0, 8, 99, -1])
    case 'map':
      return Object.fromEntries(
        Array.from({ length: random.pick([0, 1, 2, 100]) }, () => [
          random.chance(0.7) ? random.pick(pool.keys) : random.pick(TEXTS),
          random.pick(random.chance(0.5) ? pool.texts : TEXTS),
        ]),
      )
    case 'message':
      break
  }
  if (depth > 0 && random.chance(0.15)) return null
  const present = field.fields.filter(() => random.chance(depth > 3 ? 0.2 : 0.7))
  return Object.fromEntries(present.map(each => [each.name, randomValue(each, random, pool, depth + 1)]))
}

/** A request with one of its parts, somewhere in it, replaced. */
export function mutate(request: any, fields: readonly Field[], random: Random, pool: Pool): any {
  const field = random.pick(fields)
  if (field === undefined) return request
  const inner = request?.[field.name]
  const goesDeeper = field.kind === 'message' && inner !== null && typeof inner === 'object' && random.chance(0.6)
  if (!goesDeeper) return { ...request, [field.name]: randomValue(field, random, pool) }
  const changed = Array.isArray(inner)
    ? inner.map(each => mutate(each, field.fields, random, pool))
    : mutate(inner, field.fields, random, pool)
  return { ...request, [field.name]: changed }
}
