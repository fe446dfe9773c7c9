import test, { type ExecutionContext } from 'ava';
import { newGid } from '../../src/platform/random.ts';
import { answerOf, query } from './captured-session.ts';
import { openWorld, proveShape, type World } from './prove-shape.ts';
import { DATA, NAMED_EXPRESSIONS, RESET_SEQUENCES, SCHEMA, SHAPES, TABLES } from './statements.ts';

const REALM = { schema: SCHEMA, data: DATA, tables: TABLES, resetSequences: RESET_SEQUENCES };

for (const major of [14, 18] as const) {
  test.serial(
    `every captured statement answers as the original and is undone or kept exactly on PostgreSQL ${major}`,
    async (t) => {
      await using world = await openWorld(major, REALM);
      for (const shape of SHAPES)
        if (shape.from === undefined || major >= shape.from) await proveShape(t, world, shape);
    },
  );
}

for (const major of [15, 16, 17] as const) {
  test.serial(`a sample of statements is captured exactly on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major, REALM);
    const sample = SHAPES.filter((shape, index) => shape.from === undefined && index % 4 === 0);
    for (const shape of sample) await proveShape(t, world, shape);
    await proveNames(t, world);
  });
}

for (const major of [14, 18] as const) {
  test.serial(`RETURNING expressions keep the names and types that PostgreSQL ${major} gives them`, async (t) => {
    await using world = await openWorld(major, REALM);
    await proveNames(t, world);
  });
}

async function proveNames(t: ExecutionContext, { session }: World): Promise<void> {
  for (const expression of NAMED_EXPRESSIONS) {
    const sql = `UPDATE item SET qty = qty WHERE id = 1 RETURNING ${expression}`;
    const parameters = expression.includes('$1') ? [1] : [];
    await session.client.query('BEGIN');
    const expected = await query(session.client, sql, parameters).then(answerOf, (error: Error) => error.message);
    await session.rollback();
    if (typeof expected === 'string') {
      t.log(`not on this version: ${expression}: ${expected}`);
      continue;
    }
    await session.begin(newGid());
    const outcome = await session.run(sql, parameters);
    await session.rollback();
    if (outcome.kind !== 'ran') {
      t.fail(`${expression}: ${outcome.refusal.message}`);
    }
    t.deepEqual(outcome.answer.names, expected.names, expression);
    t.deepEqual(outcome.answer.types, expected.types, expression);
    t.deepEqual(outcome.answer.rows, expected.rows, expression);
  }
}
