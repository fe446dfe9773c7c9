/** What speaks inside a global transaction: how each talk is made ready and run. */
import { readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execute, type Finished } from '../../../dtm-clients/suites.ts';
import { prepareJava, preparePython } from '../suites.ts';

/** Where a talk connects, and for which global transaction; without one the gid is empty. */
export interface Login {
  readonly port: number;
  readonly user: string;
  readonly database: string;
  readonly gid: string;
}

export interface Talk {
  readonly name: string;
  /** At least so many answers are heard. */
  readonly least: number;
  readonly only?: 'MariaDB' | 'MySQL';
  readonly prepare: (scratch: string) => Promise<Finished>;
  readonly run: (login: Login, scratch: string) => Promise<Finished>;
}

const HERE = fileURLToPath(new URL('.', import.meta.url));
const PREPARE_MS = 600_000;
const RUN_MS = 180_000;

function talk(
  name: string,
  least: number,
  prepare: Talk['prepare'],
  command: (arguments_: readonly string[], scratch: string) => readonly string[] | Promise<readonly string[]>,
): Talk {
  return {
    name,
    least,
    prepare,
    run: async ({ port, user, database, gid }, scratch) => {
      const [program = '', ...rest] = await command([String(port), user, database, gid], scratch);
      return execute(program, rest, { folder: scratch, withinMs: RUN_MS, environment: { PYTHONDONTWRITEBYTECODE: '1' } });
    },
  };
}

/** Made ready once, whoever needs it. */
function once(prepare: Talk['prepare']): Talk['prepare'] {
  let prepared: Promise<Finished> | undefined;
  return (scratch) => (prepared ??= prepare(scratch));
}

const prepareGo = once((scratch) =>
  execute('go', ['build', '-mod=readonly', '-o', join(scratch, 'inside-go'), '.'], { folder: join(HERE, 'go'), withinMs: PREPARE_MS }),
);
const go = (name: string, least: number, ...which: readonly string[]): Talk =>
  talk(name, least, prepareGo, (login, scratch) => [join(scratch, 'inside-go'), ...login, ...which]);

const venv = once(preparePython);
const python = (driver: string, least: number): Talk =>
  talk(`inside-${driver}`, least, venv, (login, scratch) => [
    join(scratch, 'venv', 'bin', 'python'),
    join(HERE, 'python', 'talk.py'),
    ...login,
    driver,
  ]);

/** All of them, by the names that the command line knows. */
export const TALKS: readonly Talk[] = [
  go('inside-go', 80, 'driver', ''),
  go('inside-gorm', 25, 'gorm', 'text'),
  // Over prepared statements GORM has MariaDB return rows of INSERT, which is refused there.
  { ...go('inside-gorm-prepared', 25, 'gorm', 'prepared'), only: 'MySQL' },
  python('pymysql', 60),
  python('mysqlclient', 60),
  python('connector', 60),
];
