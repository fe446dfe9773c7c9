/**
 * The empty files of a PostgreSQL server. What initdb makes is the same each time and takes it half a second: this checkout keeps
 * what it made once, beside what Node.js has compiled, and copies it, which takes a tenth of that.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  cpSync,
  fsyncSync,
  lchownSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { newId } from '../../src/platform/random.ts';

const KEPT = join(import.meta.dirname, '..', '..', 'node_modules', '.cache', 'postgres-clusters');

/** Whom the files belong to, where that is somebody else than the user of this process. */
export interface Identity {
  readonly uid?: number;
  readonly gid?: number;
}

/**
 * Makes the files in `data`, which does not exist yet: a copy of those of the same `key`, which names the build of the server, or by
 * `initialise`, whose result is kept. Rejects when `initialise` does.
 */
export async function makeCluster(
  data: string,
  { key, identity }: { readonly key: string; readonly identity: Identity },
  initialise: () => Promise<unknown>,
): Promise<void> {
  const kept = join(KEPT, key);
  try {
    copy(kept, data, identity);
    return;
  } catch {
    // There is none yet, or it cannot be read here.
    rmSync(data, { recursive: true, force: true });
  }
  await initialise();
  const own = join(KEPT, `${key}-${newId()}`);
  try {
    mkdirSync(KEPT, { recursive: true });
    copy(data, own, {});
    // Whole or not at all, whoever dies meanwhile, the power supply included.
    for (const entry of readdirSync(own, { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) flush(join(entry.parentPath, entry.name));
    }
    renameSync(own, kept);
  } catch {
    // Another process was first, or nothing can be written here: both do no harm.
    rmSync(own, { recursive: true, force: true });
  }
}

function copy(from: string, to: string, { uid, gid }: Identity): void {
  cpSync(from, to, { recursive: true });
  // PostgreSQL refuses a folder that others may look into.
  chmodSync(to, 0o700);
  if (uid === undefined || gid === undefined) return;
  chownSync(to, uid, gid);
  for (const name of readdirSync(to, { recursive: true, encoding: 'utf8' })) lchownSync(join(to, name), uid, gid);
}

function flush(path: string): void {
  const file = openSync(path, 'r+');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
