/** What speaks inside a global transaction: how each talk is made ready and run. */
import { cp } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execute, type Finished } from '../../../dtm-clients/suites.ts';
import { SQLALCHEMY, classPath, fetchLibraries, prepareJava, preparePython } from '../suites.ts';

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
      return execute(program, rest, {
        folder: scratch,
        withinMs: RUN_MS,
        environment: { PYTHONDONTWRITEBYTECODE: '1', PYTHONPATH: join(scratch, `sqlalchemy-${SQLALCHEMY}`, 'lib') },
      });
    },
  };
}

/** Made ready once, whoever needs it. */
function once(prepare: Talk['prepare']): Talk['prepare'] {
  let prepared: Promise<Finished> | undefined;
  return (scratch) => (prepared ??= prepare(scratch));
}

const prepareGo = once((scratch) =>
  execute('go', ['build', '-mod=readonly', '-o', join(scratch, 'inside-go'), '.'], {
    folder: join(HERE, 'go'),
    withinMs: PREPARE_MS,
  }),
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

const django = talk('inside-django', 110, venv, (login, scratch) => [
  join(scratch, 'venv', 'bin', 'python'),
  join(HERE, 'python', 'mapper.py'),
  ...login,
]);

/** Connector/J and MariaDB Connector/J, at the versions of Talk.java. */
async function prepareInsideJava(scratch: string): Promise<Finished> {
  const libraries = await prepareJava(scratch);
  if (!libraries.isOk) return libraries;
  const classes = ['-d', join(scratch, 'java'), '-cp', await classPath(scratch), 'Inside.java'];
  return execute('javac', classes, { folder: join(HERE, 'java'), withinMs: PREPARE_MS });
}
const java = talk('inside-java', 150, prepareInsideJava, async (login, scratch) => [
  'java',
  '-cp',
  await classPath(scratch),
  'Inside',
  ...login,
]);

/** Hibernate over both drivers. */
async function prepareHibernate(scratch: string): Promise<Finished> {
  const folder = join(HERE, 'hibernate');
  const drivers = await prepareJava(scratch);
  if (!drivers.isOk) return drivers;
  const fetched = await fetchLibraries(folder, scratch, 'hibernate');
  if (!fetched.isOk) return fetched;
  const classes = ['-d', join(scratch, 'hibernate'), '-cp', await classPath(scratch, 'hibernate')];
  return execute('javac', [...classes, 'Entities.java', 'Hibernate.java'], { folder, withinMs: PREPARE_MS });
}
const hibernate = talk('inside-hibernate', 170, prepareHibernate, async (login, scratch) => [
  'java',
  '-XX:TieredStopAtLevel=1',
  '-cp',
  [await classPath(scratch, 'hibernate'), await classPath(scratch)].join(delimiter),
  'Hibernate',
  ...login,
]);

/** The mappers in a copy, so that what npm fetches stays out of the sources. */
async function prepareNode(scratch: string): Promise<Finished> {
  const folder = join(scratch, 'node');
  await cp(join(HERE, 'node'), folder, { recursive: true });
  return execute('npm', ['ci', '--silent', '--ignore-scripts'], { folder, withinMs: PREPARE_MS });
}
/** Prisma, whose engine is a package's own WebAssembly: what it would fetch by itself, for migrations, is named as if it were there. */
const preparePrisma = once(async (scratch) => {
  const folder = join(scratch, 'prisma');
  await cp(join(HERE, 'prisma'), folder, { recursive: true });
  const fetched = await execute('npm', ['ci', '--silent', '--ignore-scripts'], { folder, withinMs: PREPARE_MS });
  if (!fetched.isOk) return fetched;
  return execute(process.execPath, [join('node_modules', 'prisma', 'build', 'index.js'), 'generate'], {
    folder,
    withinMs: PREPARE_MS,
    environment: { CHECKPOINT_DISABLE: '1', PRISMA_SCHEMA_ENGINE_BINARY: process.execPath },
  });
});
const prisma = talk('inside-prisma', 150, preparePrisma, (login, scratch) => [
  process.execPath,
  join(scratch, 'prisma', 'talk.js'),
  ...login,
]);
const node = talk('inside-node', 60, prepareNode, (login, scratch) => [
  process.execPath,
  join(scratch, 'node', 'talk.js'),
  ...login,
]);

/** Of the operating system's packages: nothing is fetched. */
const php = talk(
  'inside-php',
  200,
  (scratch) => execute('php', ['--ri', 'mysqli', '--ri', 'pdo_mysql'], { folder: scratch, withinMs: PREPARE_MS }),
  (login) => ['php', join(HERE, 'php', 'talk.php'), ...login],
);
const eloquent = talk(
  'inside-eloquent',
  250,
  (scratch) =>
    execute('php', ['-r', "require '/usr/share/php/Illuminate/Database/autoload.php';"], {
      folder: scratch,
      withinMs: PREPARE_MS,
    }),
  (login) => ['php', join(HERE, 'php', 'mapper.php'), ...login],
);
/** Debian's own Ruby, whose module the driver is. */
const RUBY = '/usr/bin/ruby';
const activeRecord = talk(
  'inside-active-record',
  240,
  (scratch) =>
    execute(RUBY, ['-e', 'require "active_record"; require "mysql2"'], { folder: scratch, withinMs: PREPARE_MS }),
  (login) => [RUBY, join(HERE, 'ruby', 'talk.rb'), ...login],
);

/** All of them, by the names that the command line knows. */
export const TALKS: readonly Talk[] = [
  go('inside-go', 80, 'driver', ''),
  go('inside-gorm', 25, 'gorm', 'text'),
  go('inside-gorm-prepared', 25, 'gorm', 'prepared'),
  python('pymysql', 60),
  python('mysqlclient', 60),
  python('connector', 60),
  django,
  java,
  hibernate,
  node,
  prisma,
  php,
  eloquent,
  activeRecord,
];
