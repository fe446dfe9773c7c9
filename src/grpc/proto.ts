/** The protocols of `proto/`, loaded: what server and client know of methods and messages. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadSync, type MethodDefinition, type PackageDefinition, type ServiceDefinition } from '@grpc/proto-loader';
import { assert } from '../platform/assert.ts';

/** Beside this file, in the sources and in what is built of them (`cli/build.mjs`). */
const PROTO_DIRECTORY: string = fileURLToPath(new URL('proto', import.meta.url));

/** The package of the files named. Field names stay as they are written there, bytes are texts in base64, 64-bit integers numbers. */
export function loadProto(...files: readonly string[]): PackageDefinition {
  return loadSync(
    files.map((file) => join(PROTO_DIRECTORY, file)),
    { keepCase: true, longs: Number, bytes: String, defaults: true },
  );
}

/** The service `name`, such as `dtmgimp.Dtm`. Its methods throw when they read a message that is cut off. */
export function serviceOf(definition: PackageDefinition, name: string): ServiceDefinition {
  const service = definition[name];
  // Messages and enums have a `format`.
  assert(service !== undefined && !('format' in service), `the protocol files have the service ${name}`);
  return Object.fromEntries(Object.entries(service).map(([method, definition]) => [method, strict(definition)]));
}

/** protobufjs shortens a text that goes beyond the end of a `Buffer`; of a plain array of bytes it refuses it. */
function strict(method: MethodDefinition<object, object>): MethodDefinition<object, object> {
  const { requestDeserialize, responseDeserialize } = method;
  return {
    ...method,
    requestDeserialize: (bytes) => requestDeserialize(plain(bytes)),
    responseDeserialize: (bytes) => responseDeserialize(plain(bytes)),
  };
}

function plain(bytes: Uint8Array): Buffer {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length) as Buffer;
}

/** The method `name` of a service. */
export function methodOf(service: ServiceDefinition, name: string): MethodDefinition<object, object> {
  const method = service[name];
  assert(method !== undefined, `the protocol files have the method ${name}`);
  return method;
}
