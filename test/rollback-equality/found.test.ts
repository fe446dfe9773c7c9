import test, { type ExecutionContext } from 'ava';
import type { Batch, Step } from './grammar.ts';
import { startStage, type Stage } from './stage.ts';

let stage: Stage;

test.before(async () => {
  stage = await startStage(18);
});
test.after.always(() => stage[Symbol.asyncDispose]());

/** The statements, each of which must run, and their rollback. */
async function rollsBack(t: ExecutionContext, ...statements: readonly string[]): Promise<void> {
  const steps = statements.map((sql): Step => ({
    kind: 'statement',
    sql: [sql],
    protocol: 'simple',
    isGuarded: false,
  }));
  const batch: Batch = {
    settings: 0,
    sessions: [[{ isBlock: true, end: 'COMMIT', steps }], []],
    order: [],
    isTwoGids: false,
  };
  const ran = stage.tally.ran;
  t.is(await stage.rollsBack(batch), undefined);
  t.is(stage.tally.ran - ran, statements.length, JSON.stringify([...stage.tally.reasons]));
}

test.serial(
  'rows that were inserted ahead of those that they refer to are taken back under ON DELETE RESTRICT',
  async (t) => {
    await rollsBack(t, 'INSERT INTO node (id, up, n) VALUES (8, 9, 1), (9, 10, 2), (10, NULL, 3)');
  },
);

test.serial('a ring of rows that refer to each other is taken back', async (t) => {
  await rollsBack(t, 'INSERT INTO node (id, up, n) VALUES (11, 12, 1), (12, 13, 2), (13, 11, 3)');
});

test.serial('a ring of rows that was deleted comes back', async (t) => {
  await rollsBack(t, 'UPDATE node SET up = 5 - id', 'DELETE FROM node');
});

test.serial('rows whose keys and references were renumbered at once come back', async (t) => {
  await rollsBack(t, 'UPDATE tree SET id = id + 10, up = up + 10');
  const chain = 'INSERT INTO tree (id, up) VALUES (14, NULL), (13, 14), (12, 13), (11, 12)';
  await rollsBack(t, 'DELETE FROM tree', chain, 'UPDATE tree SET id = id + 1, up = up + 1');
});

test.serial('a row of which the server makes every column can be updated and taken back', async (t) => {
  await rollsBack(t, 'UPDATE only_made SET twice = DEFAULT');
});
