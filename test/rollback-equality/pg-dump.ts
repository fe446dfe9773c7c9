/** pg_dump as the operating system has it: npm's PostgreSQL comes without. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { PostgresServer } from '../../examples/support/postgres-server.ts';

const run = promisify(execFile);
const BYTES_MAX = 64 * 1024 * 1024;

/** The lines of a dump of a database's own tables, in one order. */
export type PgDump = (database: string) => Promise<readonly string[]>;

/** pg_dump for a server; undefined where there is none that is as new as the server. */
export async function pgDumpFor({ major, port, user }: PostgresServer): Promise<PgDump | undefined> {
  const version = await run('pg_dump', ['--version']).then(
    ({ stdout }) => Number(/ (\d+)/.exec(stdout)?.[1] ?? 0),
    () => 0,
  );
  if (version < major) return undefined;
  return async (database) => {
    const options = ['-h', '127.0.0.1', '-p', String(port), '-U', user, '-d', database];
    // It pins most of its settings, but not this one, which a database may have set.
    const env = { ...process.env, PGOPTIONS: '-c bytea_output=hex' };
    const { stdout } = await run('pg_dump', [...options, '--inserts', '--schema', 'public'], {
      maxBuffer: BYTES_MAX,
      env,
    });
    return stdout
      .split('\n')
      .filter((line) => !NOT_DATA.test(line))
      .toSorted();
  };
}

/** Where sequences stand is not undone; a dump begins and ends with a random key. */
const NOT_DATA = /^SELECT pg_catalog\.setval|^\\(?:un)?restrict /;
