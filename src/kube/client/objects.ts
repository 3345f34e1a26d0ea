import type { ApiServer } from './api-server.ts'
import { isMissing } from './api-error.ts'
import { callApi } from './transport.ts'

export interface Metadata {
  readonly name: string
  readonly namespace?: string
  readonly uid: string
  readonly resourceVersion: string
  readonly generation?: number
  readonly creationTimestamp: string
  readonly deletionTimestamp?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
  readonly finalizers?: readonly string[]
}

/** What every object has. */
export interface KubeObject {
  readonly metadata: Metadata
}

/** A kind of object: where it is in the API, and its type. */
export interface Resource<T extends KubeObject> {
  readonly group: string
  readonly version: string
  readonly kind: string
  readonly plural: string
  readonly namespaced: boolean
  /** Only for the type checker. */
  readonly type?: T
}

/** One object: its name and, unless its kind has none, its namespace. */
export interface Key {
  readonly namespace?: string | undefined
  readonly name: string
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined
  /** Milliseconds for the whole answer. */
  readonly limitMs?: number
}

export interface PatchOptions extends CallOptions {
  readonly subresource?: 'status'
}

/** A patch of single fields; null takes a field away. With `metadata.resourceVersion` it holds only for the object as it was read. */
export type MergePatch = Readonly<Record<string, unknown>>

export function keyOf({ metadata }: KubeObject): Key {
  return metadata.namespace === undefined
    ? { name: metadata.name }
    : { namespace: metadata.namespace, name: metadata.name }
}

/** `namespace/name`, or the name. */
export function keyText({ namespace, name }: Key): string {
  return namespace === undefined ? name : `${namespace}/${name}`
}

export function apiVersion({ group, version }: Resource<KubeObject>): string {
  return group === '' ? version : `${group}/${version}`
}

/** Path of a kind, in one namespace or in all of them. */
export function collectionPath(resource: Resource<KubeObject>, namespace?: string): string {
  const root = resource.group === '' ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`
  const scope = namespace === undefined ? '' : `/namespaces/${encodeURIComponent(namespace)}`
  return `${root}${scope}/${resource.plural}`
}

function objectPath(resource: Resource<KubeObject>, { namespace, name }: Key): string {
  return `${collectionPath(resource, namespace)}/${encodeURIComponent(name)}`
}

/** Undefined if there is none. */
export async function getObject<T extends KubeObject>(
  server: ApiServer,
  resource: Resource<T>,
  key: Key,
  options: CallOptions = {},
): Promise<T | undefined> {
  try {
    return (await callApi(server, { method: 'GET', path: objectPath(resource, key), ...options })) as T
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

/** @throws exists */
export async function createObject<T extends KubeObject>(
  server: ApiServer,
  resource: Resource<T>,
  object: Omit<T, 'metadata'> & { readonly metadata: Partial<Metadata> },
  { signal }: CallOptions = {},
): Promise<T> {
  const body = { apiVersion: apiVersion(resource), kind: resource.kind, ...object }
  const path = collectionPath(resource, object.metadata.namespace)
  return (await callApi(server, { method: 'POST', path, body, signal })) as T
}

/** @throws conflict if the patch names a resource version and the object has another, not-found */
export async function patchObject<T extends KubeObject>(
  server: ApiServer,
  resource: Resource<T>,
  key: Key,
  patch: MergePatch,
  { subresource, signal }: PatchOptions = {},
): Promise<T> {
  return (await callApi(server, {
    method: 'PATCH',
    path: `${objectPath(resource, key)}${subresource === undefined ? '' : `/${subresource}`}`,
    body: patch,
    contentType: 'application/merge-patch+json',
    signal,
  })) as T
}

/** Writes the status of an object as it was read. @throws conflict if it changed since, not-found */
export function patchStatus<T extends KubeObject>(
  server: ApiServer,
  resource: Resource<T>,
  object: T,
  status: MergePatch,
  { signal }: CallOptions = {},
): Promise<T> {
  const patch = { metadata: { resourceVersion: object.metadata.resourceVersion }, status }
  return patchObject(server, resource, keyOf(object), patch, { subresource: 'status', signal })
}

/** Replaces an object as it was read: the one way to take something away for sure. @throws conflict, not-found */
export async function replaceObject<T extends KubeObject>(
  server: ApiServer,
  resource: Resource<T>,
  object: T,
  { signal }: CallOptions = {},
): Promise<T> {
  const body = { apiVersion: apiVersion(resource), kind: resource.kind, ...object }
  return (await callApi(server, { method: 'PUT', path: objectPath(resource, keyOf(object)), body, signal })) as T
}

/** Deletes this very object, as it was read. That it is gone already is no error. @throws conflict */
export async function deleteObject<T extends KubeObject>(
  server: ApiServer,
  resource: Resource<T>,
  object: T,
  { signal }: CallOptions = {},
): Promise<void> {
  const { uid, resourceVersion } = object.metadata
  try {
    const body = { kind: 'DeleteOptions', apiVersion: 'v1', preconditions: { uid, resourceVersion } }
    await callApi(server, { method: 'DELETE', path: objectPath(resource, keyOf(object)), body, signal })
  } catch (error) {
    if (!isMissing(error)) throw error
  }
}

export interface ListOptions extends CallOptions {
  readonly namespace?: string | undefined
  readonly fieldSelector?: string | undefined
  readonly labelSelector?: string | undefined
}

export interface Page<T> {
  readonly items: readonly T[]
  readonly resourceVersion: string
}

/** Small, because a page is in memory several times while it is read. */
const PAGE_OBJECTS = 100

/** All objects of a kind, page by page: the last page's resource version is where a watch begins. @throws out-of-date pages (410) */
export async function* listPages<T extends KubeObject>(
  server: ApiServer,
  resource: Resource<T>,
  { namespace, fieldSelector, labelSelector, signal }: ListOptions = {},
): AsyncGenerator<Page<T>> {
  let next: string | undefined
  do {
    const query = { limit: PAGE_OBJECTS, continue: next, fieldSelector, labelSelector }
    const path = collectionPath(resource, namespace)
    const page = (await callApi(server, { method: 'GET', path, query, signal })) as {
      metadata: { continue?: string; resourceVersion: string }
      items: T[]
    }
    yield { items: page.items, resourceVersion: page.metadata.resourceVersion }
    next = page.metadata.continue || undefined
  } while (next !== undefined)
}

export async function listObjects<T extends KubeObject>(
  server: ApiServer,
  resource: Resource<T>,
  options: ListOptions = {},
): Promise<T[]> {
  const all: T[] = []
  for await (const { items } of listPages(server, resource, options)) all.push(...items)
  return all
}
