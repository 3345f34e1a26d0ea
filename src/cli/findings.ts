import type { Finding } from '../check/findings.ts'

const FILES_SHOWN = 5

/** A finding on one line, with the files that suffer below it. */
export function findingLines({ severity, what, message, affected = [] }: Finding, became = ''): string[] {
  const files = affected.slice(0, FILES_SHOWN).map(file => `    ${file}`)
  if (affected.length > files.length) files.push(`    and ${affected.length - files.length} more`)
  return [`${severity}: ${what}: ${message}${became}`, ...files]
}

/** Without what a repair would need: that is nobody's business outside. */
export function findingJson({ severity, kind, what, message, affected, repair }: Finding): Record<string, unknown> {
  const files = affected === undefined ? {} : { affected }
  return { severity, kind, what, message, repairable: repair !== undefined, ...files }
}
