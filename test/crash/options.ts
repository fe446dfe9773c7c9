/** The coordinator that crashes and the one that takes up its file are the same. */
import { type CoordinatorOptions, coordinatorOptions } from '../../src/options.ts';

/** The exit code of a process that has stopped because its store has failed. */
export const FAIL_STOP = 3;

/** A coordinator over the file at `path`, which tries again soon. */
export function crashOptions(path: string): CoordinatorOptions {
  return coordinatorOptions.parse({
    listen: '127.0.0.1:0',
    grpc: { listen: 'off' },
    store: { sqlite: { path } },
    dtm: { retryInterval: '20ms' },
    log: { level: 'silent' },
  });
}
