import { CONFORMANCE, programPath } from '../programs/programs.ts'
import { busyboxImage } from './small.ts'

/** What Kubernetes' own tests run in pods, under the names by which they ask for it (`e2e.test --list-images`). */
const REGISTRY = 'registry.k8s.io/e2e-test-images'

export async function conformanceImages(): Promise<string[]> {
  return [
    await busyboxImage(`${REGISTRY}/busybox:1.37.0-1`, {}, ['CMD ["sh"]']),
    await busyboxImage(`${REGISTRY}/agnhost:2.63.0`, { '/agnhost': programPath(CONFORMANCE, 'agnhost') }, [
      'ENTRYPOINT ["/agnhost"]',
      'CMD ["pause"]',
    ]),
    // Of these, the tests want a shell only.
    await busyboxImage(`${REGISTRY}/nginx:1.15-4`, {}, ['CMD ["sh"]']),
    await busyboxImage(`${REGISTRY}/glibc-dns-testing:2.0.0`, {}, ['CMD ["sh"]']),
  ]
}
