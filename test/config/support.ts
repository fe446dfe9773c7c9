/** Files for the tests of configuration: what is needed at least, and an environment that is no process's. */
import type { FileText, Strings } from '../../config/strings.ts';

/** A sidecar file that is right, in three lines; further lines may follow it. */
export const SIDECAR = `service: orders
coordinator: { url: http://127.0.0.1:36789 }
outbound: {}
`;

/** An environment and a file system of exactly these names. */
export function stringsOf(
  env: Readonly<Record<string, string>> = {},
  files: Readonly<Record<string, string>> = {},
): Strings {
  return {
    env: (name) => (Object.hasOwn(env, name) ? env[name] : undefined),
    file: (path): FileText => {
      const text = Object.hasOwn(files, path) ? files[path] : undefined;
      return text === undefined ? { kind: 'failed', reason: 'there is no such file' } : { kind: 'text', text };
    },
  };
}
