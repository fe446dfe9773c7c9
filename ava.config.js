import { join } from 'node:path';

/** How the tests run: each file in a process of its own. */
// oxlint-disable-next-line import/no-default-export -- ava takes its configuration from there
export default {
  extensions: ['ts'],
  files: ['test/**/*.test.ts', '!test/barrier-servers/**', '!test/mysql-servers/**'],
  timeout: '2m',
  workerThreads: false,
  // Most of what a short test costs is reading and compiling TypeScript. What one process has compiled, all others of this checkout take
  // from here, those that the tests start included. Node checks each entry against its source, and writes it beside its place and moves
  // it there, so neither an edit nor a killed process can leave a wrong one.
  environmentVariables: { NODE_COMPILE_CACHE: join(import.meta.dirname, 'node_modules', '.cache', 'node-compile') },
};
