import path from 'node:path'
import { loadPackageDefinition } from '@grpc/grpc-js'
import { loadSync, type PackageDefinition } from '@grpc/proto-loader'
import type { ProtoGrpcType } from './generated/csi.ts'
import type { ProtoGrpcType as RegistrationGrpcType } from './generated/pluginregistration.ts'

/** The same settings as `npm run generate` gives the generator of `generated/`: the types say what the loader makes. */
const LOADER = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true } as const
const FOLDER = path.resolve(import.meta.dirname, '../../proto')

export interface Protocols {
  readonly definition: PackageDefinition
  readonly csi: ProtoGrpcType['csi']['v1']
  readonly registration: RegistrationGrpcType['pluginregistration']
}

/** Reads proto/, which lies beside src and dist. */
export function loadProtocols(): Protocols {
  const definition = loadSync(['csi.proto', 'pluginregistration.proto'], { ...LOADER, includeDirs: [FOLDER] })
  const types = loadPackageDefinition(definition) as unknown as ProtoGrpcType & RegistrationGrpcType
  return { definition, csi: types.csi.v1, registration: types.pluginregistration }
}
