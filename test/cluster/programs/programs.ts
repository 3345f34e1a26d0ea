import fs from 'node:fs'
import path from 'node:path'
import { cacheFolder } from './cache.ts'

/**
 * What the cluster is made of, from the Go modules that its makers publish: nothing prebuilt can be had everywhere. Two modules, because
 * the sidecars compile with a newer version of the CSI module than Kubernetes does.
 */
const KUBERNETES_VERSION = 'v1.36.3'

export interface Program {
  readonly package: string
  /** How "go build" names it, where that is not the program's name. */
  readonly builtAs?: string
  /** Compiled by "go test -c". */
  readonly isTest?: boolean
}

export interface Module {
  readonly name: string
  /** The folder of go.mod and go.sum. */
  readonly source: string
  readonly linkerFlags: string
  readonly programs: Readonly<Record<string, Program>>
}

const FLAGS = '-s -w'

export const KUBERNETES: Module = {
  name: 'kubernetes',
  source: path.join(import.meta.dirname, '../tools/kubernetes'),
  linkerFlags: `${FLAGS} -X k8s.io/component-base/version.gitVersion=${KUBERNETES_VERSION}`,
  programs: {
    etcd: { package: 'go.etcd.io/etcd/server/v3', builtAs: 'server' },
    'kube-apiserver': { package: 'k8s.io/kubernetes/cmd/kube-apiserver' },
    kubectl: { package: 'k8s.io/kubernetes/cmd/kubectl' },
    'kube-controller-manager': { package: 'k8s.io/kubernetes/cmd/kube-controller-manager' },
    'kube-scheduler': { package: 'k8s.io/kubernetes/cmd/kube-scheduler' },
    kubelet: { package: 'k8s.io/kubernetes/cmd/kubelet' },
    helm: { package: 'helm.sh/helm/v4/cmd/helm' },
  },
}

export const SIDECARS: Module = {
  name: 'sidecars',
  source: path.join(import.meta.dirname, '../tools/sidecars'),
  linkerFlags: FLAGS,
  programs: {
    'csi-provisioner': { package: 'github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner' },
    'csi-snapshotter': { package: 'github.com/kubernetes-csi/external-snapshotter/v8/cmd/csi-snapshotter' },
    'snapshot-controller': { package: 'github.com/kubernetes-csi/external-snapshotter/v8/cmd/snapshot-controller' },
  },
}

/** Kubernetes' own tests, and what they run in pods. */
export const CONFORMANCE: Module = {
  ...KUBERNETES,
  name: 'conformance',
  programs: {
    'e2e.test': { package: 'k8s.io/kubernetes/test/e2e', isTest: true },
    ginkgo: { package: 'github.com/onsi/ginkgo/v2/ginkgo' },
    agnhost: { package: 'k8s.io/kubernetes/test/images/agnhost' },
  },
}

/** The folder of a module's programs: another one as soon as go.mod or go.sum change. */
export function programFolder(module: Module): string {
  const locked = ['go.mod', 'go.sum'].map(name => fs.readFileSync(path.join(module.source, name)))
  return cacheFolder(module.name, locked)
}

export function programPath(module: Module, name: string): string {
  return path.join(programFolder(module), name)
}
