import assert from 'node:assert/strict'
import { StratumError } from '../../../../src/errors/stratum-error.ts'
import type { ApiServer } from '../../../../src/kube/client/api-server.ts'
import {
  apiVersion,
  collectionPath,
  type Key,
  type KubeObject,
  type Resource,
} from '../../../../src/kube/client/objects.ts'
import { callApi } from '../../../../src/kube/client/transport.ts'

/** What somebody tries on the API server: undefined if it was allowed, else what the server said. */
export type Attempt = Promise<string | undefined>

const DRY = { dryRun: 'All', fieldValidation: 'Strict' } as const

/** Any object, right or wrong. */
export type Body = Readonly<Record<string, unknown>> & {
  readonly metadata: Readonly<Record<string, unknown>> & { readonly namespace?: string }
}

export function tryCreate(server: ApiServer, resource: Resource<KubeObject>, object: Body, real = false): Attempt {
  const body = { apiVersion: apiVersion(resource), kind: resource.kind, ...object }
  const namespace = resource.namespaced ? (object.metadata.namespace ?? 'default') : undefined
  const path = collectionPath(resource, namespace)
  return attempt(callApi(server, { method: 'POST', path, body, query: real ? {} : DRY }))
}

interface PatchAttempt {
  readonly patch: unknown
  readonly subresource?: 'status'
  /** As `kubectl apply --server-side` of somebody else. */
  readonly apply?: { readonly manager: string; readonly force: boolean }
  readonly real?: boolean
}

export function tryPatch(
  server: ApiServer,
  resource: Resource<KubeObject>,
  key: Key,
  { patch, subresource, apply, real = true }: PatchAttempt,
): Attempt {
  const path = `${collectionPath(resource, key.namespace)}/${key.name}${subresource === undefined ? '' : `/${subresource}`}`
  const contentType = apply
    ? 'application/apply-patch+yaml'
    : Array.isArray(patch)
      ? 'application/json-patch+json'
      : 'application/merge-patch+json'
  const query = {
    ...(real ? {} : { dryRun: 'All' }),
    ...(apply === undefined ? {} : { fieldManager: apply.manager, force: apply.force }),
  }
  return attempt(callApi(server, { method: 'PATCH', path, body: patch, contentType, query }))
}

export function tryDelete(server: ApiServer, resource: Resource<KubeObject>, key: Key, real = false): Attempt {
  const path = `${collectionPath(resource, key.namespace)}/${key.name}`
  return attempt(callApi(server, { method: 'DELETE', path, query: real ? {} : { dryRun: 'All' } }))
}

/** A request of any other kind. */
export function tryCall(server: ApiServer, method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown): Attempt {
  return attempt(callApi(server, { method, path, body }))
}

async function attempt(call: Promise<unknown>): Attempt {
  try {
    await call
    return undefined
  } catch (error) {
    if (error instanceof StratumError) return error.message
    throw error
  }
}

/** Each row: what is tried, what must come of it (`ok`, or what the refusal says), and the attempt. */
export type Row = readonly [name: string, wanted: 'ok' | RegExp, attempt: Attempt]

/** Tells every row that did not turn out as it should, not only the first. */
export async function checkTable(rows: readonly Row[]): Promise<void> {
  const wrong: string[] = []
  for (const [name, wanted, attempt] of rows) {
    const said = await attempt
    const isRight = wanted === 'ok' ? said === undefined : said !== undefined && wanted.test(said)
    if (!isRight) wrong.push(`${name}: wanted ${wanted === 'ok' ? 'ok' : wanted.source}, got ${said ?? 'ok'}`)
  }
  assert.deepEqual(wrong, [])
}
