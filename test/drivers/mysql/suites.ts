/** The suites of the drivers for MySQL: how each is made ready and run against an address, and how its passed tests are read. */
import { readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execute, type Finished } from '../../dtm-clients/suites.ts';
import { PASSWORD, USER, type ServerName } from './world.ts';

export interface Suite {
  readonly name: string;
  readonly server: ServerName;
  /** Both legs of the sidecar have TLS where the suite asks the server whether its side has it. */
  readonly isOverTls: boolean;
  /** At least so many tests pass directly: a suite that does not run proves nothing. */
  readonly least: number;
  /** Fetches and compiles what several suites may share, into the folder `scratch`. */
  readonly prepare: (scratch: string) => Promise<Finished>;
  /** Runs the suite against 127.0.0.1; what fails directly may make it end unsuccessfully. */
  run(port: number, scratch: string): Promise<Finished>;
  /** The names of the tests that passed, or the answers that were heard. */
  passed(output: string): ReadonlySet<string>;
}

/** Lines that a suite can load into a table, `number,text`: in the scratch folder. */
export const LIST = 'list.csv';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const PREPARE_MS = 600_000;
const RUN_MS = 300_000;
/** The release whose own tests are run, and whose code in turn. */
export const SQLALCHEMY = '2.0.36';
/** Connects to an address outside: what it finds there is no matter of ours. */
const GO_OUTSIDE = 'TestConnectorReturnsTimeout';

const prepareNothing = (): Promise<Finished> => Promise.resolve({ isOk: true, output: '' });

/** The driver's own tests, at the version of go.mod, as one program. */
const prepareGo = (scratch: string): Promise<Finished> =>
  execute(
    'go',
    // Whatever GOFLAGS says, go.mod stays as it is.
    ['test', '-c', '-mod=readonly', '-o', join(scratch, 'go-suite'), 'github.com/go-sql-driver/mysql'],
    { folder: join(HERE, 'go'), withinMs: PREPARE_MS },
  );

function go(name: string, server: ServerName): Suite {
  return {
    name,
    server,
    isOverTls: true,
    least: 300,
    prepare: prepareGo,
    async run(port, scratch) {
      const program = join(scratch, 'go-suite');
      const listed = await execute(program, ['-test.list', '^Test'], { folder: scratch, withinMs: RUN_MS });
      const names = [...listed.output.matchAll(/^Test\w+$/gm)].map(([test]) => test);
      const run = `^(${names.filter((test) => test !== GO_OUTSIDE).join('|')})$`;
      return execute(program, ['-test.v', '-test.parallel=8', `-test.timeout=${RUN_MS / 1000}s`, `-test.run=${run}`], {
        folder: scratch,
        withinMs: RUN_MS,
        environment: {
          MYSQL_TEST_USER: USER,
          MYSQL_TEST_PASS: PASSWORD,
          MYSQL_TEST_PROT: 'tcp',
          MYSQL_TEST_ADDR: `127.0.0.1:${port}`,
          MYSQL_TEST_DBNAME: 'gotest',
          MYSQL_TEST_CONCURRENT: '1',
        },
      });
    },
    passed: (output) => firstGroups(output, /^ *--- PASS: (\S+)/gm),
  };
}

/** The drivers in an environment of their own, beside Debian's mysqlclient, for which there is no wheel; and SQLAlchemy's sources. */
export async function preparePython(scratch: string): Promise<Finished> {
  const pip = join(scratch, 'venv', 'bin', 'pip');
  // Debian's own Python, whose module mysqlclient is.
  return inTurn(scratch, [
    ['/usr/bin/python3', '-m', 'venv', '--system-site-packages', 'venv'],
    [pip, 'install', '--quiet', '--disable-pip-version-check', '-r', join(HERE, 'requirements.txt')],
    // The tests are in the source distribution only.
    [pip, 'download', '--quiet', '--no-deps', '--no-binary=sqlalchemy', '--dest=.', `sqlalchemy==${SQLALCHEMY}`],
    ['tar', '-xzf', `sqlalchemy-${SQLALCHEMY}.tar.gz`],
  ]);
}

/** Every test is named with its end, and failures are for the comparison to judge. */
const PYTEST = ['-m', 'pytest', '-q', '-rA', '--tb=short', '-p', 'no:cacheprovider', '--maxfail=1000000'];

function sqlalchemy(name: string, server: ServerName, driver: string, folders: readonly string[]): Suite {
  return {
    name,
    server,
    isOverTls: false,
    least: 500,
    prepare: preparePython,
    run: (port, scratch) =>
      execute(
        join(scratch, 'venv', 'bin', 'python'),
        [...PYTEST, '--dburi', `${driver}://${USER}:${PASSWORD}@127.0.0.1:${port}/test?charset=utf8mb4`, ...folders],
        {
          folder: join(scratch, `sqlalchemy-${SQLALCHEMY}`),
          withinMs: RUN_MS,
          environment: { PYTHONDONTWRITEBYTECODE: '1' },
        },
      ),
    passed: (output) => firstGroups(output, /^PASSED (.+)$/gm),
  };
}

/** What every dialect is asked, and what only MySQL's is. */
const EVERY_DIALECT = 'test/dialect/test_suite.py';
const OF_MYSQL = 'test/dialect/mysql';

/** Has Maven fetch what the pom.xml of a folder names; `name` is that of the program that uses it. */
export function fetchLibraries(folder: string, scratch: string, name: string): Promise<Finished> {
  const output = `-Dmdep.outputFile=${join(scratch, `${name}-classpath`)}`;
  const build = ['--batch-mode', '--quiet', 'dependency:build-classpath', output];
  return execute('mvn', build, { folder, withinMs: PREPARE_MS });
}

export async function prepareJava(scratch: string): Promise<Finished> {
  const fetched = await fetchLibraries(join(HERE, 'java'), scratch, 'java');
  if (!fetched.isOk) return fetched;
  return execute('javac', ['-d', join(scratch, 'java'), '-cp', await classPath(scratch), 'Talk.java'], {
    folder: join(HERE, 'java'),
    withinMs: PREPARE_MS,
  });
}

const java: Suite = {
  ...talk('java', 200, async (login, scratch) => ['java', '-cp', await classPath(scratch), 'Talk', ...login]),
  prepare: prepareJava,
};

const php: Suite = talk('php', 70, (login, scratch) => [
  'php',
  '-d',
  'mysqli.allow_local_infile=1',
  '-d',
  'memory_limit=1G',
  join(HERE, 'php', 'talk.php'),
  ...login,
  join(scratch, LIST),
]);

const tools: Suite = talk('tools', 17, (login, scratch) => [join(HERE, 'tools.sh'), ...login, join(scratch, LIST)]);

/** A script of ours that speaks through a driver, and writes a line for each answer. */
function talk(
  name: string,
  least: number,
  command: (login: readonly string[], scratch: string) => readonly string[] | Promise<readonly string[]>,
): Suite {
  return {
    name,
    server: 'mariadb',
    isOverTls: false,
    least,
    prepare: prepareNothing,
    run: async (port, scratch) => {
      const [program = '', ...args] = await command([String(port), USER, PASSWORD, 'talks'], scratch);
      return execute(program, args, { folder: scratch, withinMs: RUN_MS });
    },
    passed: (output) => firstGroups(output, /^= (.+)$/gm),
  };
}

/** Every suite, in the order in which they are run. */
export const SUITES: readonly Suite[] = [
  go('go', 'mariadb'),
  go('go-mysql8', 'mysql'),
  sqlalchemy('mysqlclient', 'mariadb', 'mariadb+mysqldb', [EVERY_DIALECT, OF_MYSQL]),
  sqlalchemy('pymysql', 'mariadb', 'mariadb+pymysql', [EVERY_DIALECT]),
  sqlalchemy('connector-python', 'mariadb', 'mysql+mysqlconnector', [EVERY_DIALECT]),
  sqlalchemy('pymysql-mysql8', 'mysql', 'mysql+pymysql', [OF_MYSQL]),
  java,
  php,
  tools,
];

/** The compiled classes of a program and everything that it uses. */
export async function classPath(scratch: string, name = 'java'): Promise<string> {
  const libraries = await readFile(join(scratch, `${name}-classpath`), 'utf8');
  return [join(scratch, name), libraries.trim()].join(delimiter);
}

/** Runs commands in a folder until one fails. SQLAlchemy's extensions in C are not made: nobody waits for its own speed. */
async function inTurn(folder: string, commands: readonly (readonly string[])[]): Promise<Finished> {
  let last: Finished = { isOk: true, output: '' };
  for (const [program = '', ...args] of commands) {
    last = await execute(program, args, {
      folder,
      withinMs: PREPARE_MS,
      environment: { DISABLE_SQLALCHEMY_CEXT: '1' },
    });
    if (!last.isOk) return last;
  }
  return last;
}

function firstGroups(output: string, line: RegExp): ReadonlySet<string> {
  return new Set([...output.matchAll(line)].map(([, group]) => String(group)));
}
