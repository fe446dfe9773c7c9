/** Where `${env:NAME}` and `${file:/path}` get their texts from. Only this file reads the environment for configuration. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';

/** Largest file behind a `${file:…}`: it is meant for secrets and names, not for data. */
const FILE_BYTES_MAX = 65_536;

export type FileText =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'failed'; readonly reason: string };

export interface Strings {
  /** The variable's value, or undefined when it is not set. */
  env(name: string): string | undefined;
  /** The file's text, or why there is none: for people, without the path. */
  file(path: string): FileText;
}

/** The environment and the files of this process. */
export const systemStrings: Strings = {
  env: (name) => process.env[name],
  file: (path) => readText(path, FILE_BYTES_MAX),
};

/** Reads a regular file of UTF-8 text of at most `bytesMax` bytes. Never blocks on a pipe or a device, never throws. */
export function readText(path: string, bytesMax: number): FileText {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    if (!fstatSync(descriptor).isFile()) return { kind: 'failed', reason: 'it is not a regular file' };
    const buffer = Buffer.alloc(bytesMax + 1);
    let length = 0;
    for (let count = -1; count !== 0 && length < buffer.length; length += count) {
      count = readSync(descriptor, buffer, length, buffer.length - length, null);
    }
    if (length > bytesMax) return { kind: 'failed', reason: `it is larger than ${bytesMax / 1024} KiB` };
    return { kind: 'text', text: new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(0, length)) };
  } catch (error) {
    return { kind: 'failed', reason: reasonOf(error) };
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof TypeError) return 'it is not UTF-8 text';
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EACCES' || code === 'EPERM') return 'this user may not read it';
  return typeof code === 'string' ? `the system answered ${code}` : 'it cannot be read';
}
