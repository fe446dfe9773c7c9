import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import test from 'ava';
import type { startSidecar } from '../../proxy/proxy.ts';
import { search } from './search.ts';
import { startStage } from './stage.ts';

/** A fault in the build of a sidecar: in `file`, `right` becomes `wrong`. */
interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly right: string;
  readonly wrong: string;
}

const MUTANTS: readonly Mutant[] = [
  {
    name: 'applies undo records in the order in which they were written',
    file: 'proxy/postgres/rollback/records.ts',
    right: 'ORDER BY position DESC',
    wrong: 'ORDER BY position ASC',
  },
  {
    name: 'reads images under the settings of its own session',
    file: 'proxy/postgres/rollback/records.ts',
    right: `SET LOCAL "DateStyle" = 'ISO, MDY';`,
    wrong: '',
  },
  {
    name: 'takes NULL in an array for a text where the database does',
    file: 'proxy/postgres/rollback/records.ts',
    right: 'SET LOCAL array_nulls = on; ',
    wrong: '',
  },
];

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const SEED = 1;

/** A copy of the sidecar with the fault in it. */
async function build(folder: string, { file, right, wrong }: Mutant): Promise<typeof startSidecar> {
  for (const part of ['proxy', 'src', 'package.json']) {
    await cp(join(PROJECT, part), join(folder, part), { recursive: true });
  }
  await symlink(join(PROJECT, 'node_modules'), join(folder, 'node_modules'));
  const path = join(folder, file);
  const text = await readFile(path, 'utf8');
  if (text.split(right).length !== 2) throw new Error(`${file} does not have exactly one ${right}`);
  await writeFile(path, text.replace(right, wrong));
  const built = (await import(pathToFileURL(join(folder, 'proxy', 'proxy.ts')).href)) as {
    startSidecar: typeof startSidecar;
  };
  return built.startSidecar;
}

for (const mutant of MUTANTS) {
  test.serial(`a sidecar that ${mutant.name} is found out`, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'atomesh-mutant-'));
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    await using stage = await startStage(18, { startSidecar: await build(folder, mutant) });
    const found = await search(stage.rollsBack, { seed: SEED, runs: 400, shrinkMs: 0 });
    t.log(`behind ${stage.tally.batches} batches`, found?.split('\n').slice(1).join('\n').slice(0, 1_000));
    t.truthy(found);
  });
}
