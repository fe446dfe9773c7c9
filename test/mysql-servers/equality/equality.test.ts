import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { SERVERS } from '../second-phase/world.ts';
import { OWN, TWIN } from './database.ts';
import { search, type Bounds } from './search.ts';
import { startStage, type Stage } from './stage.ts';

const run = promisify(execFile);
const SEED = Number(process.env['SEED'] ?? 1 + (process.pid % 1_000_000));
/** So many find most of what mutants/run.ts breaks; which of it, its table tells. */
const BATCHES = { rollback: 40, commit: 30 } as const;
/** A dump has lines for each table. */
const LINES_MIN = 100;
/** Shares of the statements: of those that are captured the least, of those that are refused the most. Half and a fifth are usual. */
const CAPTURED_MIN = 0.3;
const REFUSED_MAX = 0.4;

/** The lines of a dump of two databases, without what a rollback leaves alone: the number that the next row gets. */
async function dumpOf({ world }: Stage, databases: readonly [string, string]): Promise<readonly string[]> {
  const { port, user } = world.server;
  const options = [
    '-h',
    '127.0.0.1',
    '-P',
    String(port),
    '-u',
    user,
    '--skip-extended-insert',
    '--skip-dump-date',
    '--hex-blob',
  ];
  const lines = await Promise.all(
    databases.map(async (name) => {
      const { stdout } = await run('mariadb-dump', [...options, '--order-by-primary', '--skip-comments', name], {
        maxBuffer: 64 * 1024 * 1024,
        encoding: 'latin1',
      });
      return stdout.replaceAll(/ AUTO_INCREMENT=\d+/g, '').split('\n');
    }),
  );
  return lines.flat();
}

async function holds(t: ExecutionContext, stage: Stage, law: Bounds['law']): Promise<void> {
  t.is(await search(stage, { law, seed: SEED, runs: BATCHES[law] }), undefined);
  const { reasons: _, ...counts } = stage.tally;
  t.log(`seed ${SEED}: ${JSON.stringify(counts)}`);
  const { statements, captured, refused, records } = counts;
  t.true(captured >= CAPTURED_MIN * statements, `only ${captured} of ${statements} statements were captured`);
  t.true(refused <= REFUSED_MAX * statements, `${refused} of ${statements} statements were refused`);
  t.true(records > 0);
}

/** Lines that only one of two dumps has. */
function differing(one: readonly string[], other: readonly string[]): readonly string[] {
  return [...one.filter((line) => !other.includes(line)), ...other.filter((line) => !one.includes(line))];
}

for (const [name, start] of SERVERS) {
  const flavour = name === 'MySQL' ? 'MySQL' : 'MariaDB';
  let stage: Stage;
  test.before(`${name} is started`, async () => {
    stage = await startStage({ flavour, start, through: 'sidecar' });
  });
  test.after.always(`${name} is stopped`, () => stage?.[Symbol.asyncDispose]());

  test.serial(
    `${name}: whatever was done in global transactions, a rollback leaves what was there before`,
    async (t) => {
      await stage.load(SEED);
      const before = await dumpOf(stage, OWN);
      await holds(t, stage, 'rollback');
      const after = await dumpOf(stage, OWN);
      t.deepEqual(differing(before, after), []);
      t.true(before.length === after.length && before.length > LINES_MIN);
    },
  );

  test.serial(
    `${name}: what a global transaction commits, answers and leaves is what happens without a sidecar`,
    async (t) => {
      await holds(t, stage, 'commit');
      const twin = (await dumpOf(stage, TWIN)).map((line) => line.replaceAll('_twin', ''));
      t.deepEqual(differing(await dumpOf(stage, OWN), twin), []);
    },
  );
}
