/** pg_dump as the operating system has it, as one text that a client can run. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { PostgresServer } from '../../examples/support/postgres-server.ts';

const run = promisify(execFile);

/** Everything of a database, schema and rows; undefined where there is no pg_dump that is as new as the server. */
export async function pgDumpAll({ major, port, user }: PostgresServer, database: string): Promise<string | undefined> {
  const version = await run('pg_dump', ['--version']).then(
    ({ stdout }) => Number(/ (\d+)/.exec(stdout)?.[1] ?? 0),
    () => 0,
  );
  if (version < major) return undefined;
  const { stdout } = await run('pg_dump', [
    '-h',
    '127.0.0.1',
    '-p',
    String(port),
    '-U',
    user,
    '-d',
    database,
    '--inserts',
  ]);
  return stdout.replaceAll(/^\\(?:un)?restrict .*$/gm, '');
}
