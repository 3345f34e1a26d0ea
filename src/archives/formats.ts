import type { Compression } from './decompress.ts'

/** What an export can be written as. */
export type ExportFormat = 'tar' | 'tar.gz' | 'tar.zst' | 'oci' | 'cfs'

/** Every format with the endings of file names that mean it. */
export const FORMATS: Readonly<Record<ExportFormat, readonly string[]>> = {
  oci: ['.oci.tar', '.oci'],
  'tar.gz': ['.tar.gz', '.tgz'],
  'tar.zst': ['.tar.zst', '.tzst'],
  tar: ['.tar'],
  cfs: ['.cfs'],
}

export function formatOfName(name: string): ExportFormat | undefined {
  return formatNames.find(format => FORMATS[format].some(ending => name.endsWith(ending)))
}

export const formatNames = Object.keys(FORMATS) as ExportFormat[]

export const COMPRESSION_OF: Readonly<Record<'tar' | 'tar.gz' | 'tar.zst', Compression>> = {
  tar: 'none',
  'tar.gz': 'gzip',
  'tar.zst': 'zstd',
}
