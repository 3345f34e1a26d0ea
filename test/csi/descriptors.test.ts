import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { test } from 'node:test'
import { loadFileDescriptorSetFromBuffer, loadSync, type PackageDefinition } from '@grpc/proto-loader'
import { goTool } from '../support/go-tools.ts'

/** What two programs have to agree on to understand each other, of every message, enum and method, by its full name. */
function contractOf(definition: PackageDefinition): Record<string, unknown> {
  const contract: Record<string, unknown> = {}
  for (const [name, entry] of Object.entries(definition)) {
    if (!name.startsWith('csi.') && !name.startsWith('pluginregistration.')) continue
    if ('format' in entry) addType(contract, `${name.split('.').slice(0, -1).join('.')}.`, entry.type)
    else
      for (const [method, { path, requestStream, responseStream, requestType, responseType }] of Object.entries(entry))
        contract[path] = {
          method,
          requestStream,
          responseStream,
          request: nameOf(requestType),
          response: nameOf(responseType),
        }
  }
  return contract
}

function nameOf(type: unknown): string {
  return (type as { type: { name: string } }).type.name
}

/** Programs that make the message of a map's entry give it names of their own. */
function plain(name: string): string {
  return name
    .replace(/Entry$/, '')
    .replaceAll('_', '')
    .toLowerCase()
}

function isMapEntry({ field = [] }: any): boolean {
  return field.map((each: any) => each.name).join() === 'key,value'
}

function addType(contract: Record<string, unknown>, prefix: string, type: any): void {
  const name = `${prefix}${isMapEntry(type) ? `map ${plain(type.name)}` : type.name}`
  if (type.value !== undefined) {
    contract[name] = type.value.map((value: any) => [value.name, value.number])
    return
  }
  for (const nested of [...(type.nestedType ?? []), ...(type.enumType ?? [])]) addType(contract, `${name}.`, nested)
  const oneofs = (type.oneofDecl ?? []).map((oneof: any) => oneof.name)
  contract[name] = (type.field ?? [])
    .map((field: any) => ({
      name: field.name,
      number: field.number,
      type: field.type,
      label: field.label,
      of: plain(
        String(field.typeName ?? '')
          .split('.')
          .at(-1) ?? '',
      ),
      oneof: field.oneofIndex === undefined || field.oneofIndex === null ? undefined : oneofs[field.oneofIndex],
    }))
    .sort((a: { number: number }, b: { number: number }) => a.number - b.number)
}

test('proto/ says what the official Go modules say: messages, fields, numbers, types, methods', () => {
  const options = { keepCase: true }
  const includeDirs = [path.resolve(import.meta.dirname, '../../proto')]
  const ours = contractOf(loadSync(['csi.proto', 'pluginregistration.proto'], { ...options, includeDirs }))
  const official = execFileSync(goTool('csi-descriptors'), { maxBuffer: 1 << 24 })
  const theirs = contractOf(loadFileDescriptorSetFromBuffer(official, options))
  assert.ok(Object.keys(theirs).length > 120, `only ${Object.keys(theirs).length} things were compared`)
  assert.deepEqual(Object.keys(ours).sort(), Object.keys(theirs).sort())
  for (const [name, contract] of Object.entries(theirs)) assert.deepEqual(ours[name], contract, name)
})
