import { readFile } from 'node:fs/promises';
import test from 'ava';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import type { StatementPlan } from '../../proxy/sql/statement.ts';
import { openCapturedSession } from './captured-session.ts';
import {
  fateOn,
  KINDS,
  KINDS_ODD,
  KINDS_SCHEMA,
  KINDS_SESSION,
  kindsTable,
  MAJORS,
  squeezed,
  type Fate,
} from './kinds.ts';

function fateOf(plan: StatementPlan): Fate | 'unknown' {
  if (plan.kind === 'refuse') return plan.escalates === true ? 'escalates' : 'refused';
  if (plan.kind === 'capture') return plan.capture.read === undefined ? 'captured' : 'passes';
  return plan.kind === 'pass' ? 'passes' : 'unknown';
}

for (const major of MAJORS) {
  test.serial(
    `each kind of statement is captured, escalates or is refused as docs/statements.md says on PostgreSQL ${major}`,
    async (t) => {
      await using server = await startPostgres({ major });
      await initialiseDatabase({ connectionString: server.url('postgres') });
      await server.run('postgres', KINDS_SCHEMA);
      await using session = await openCapturedSession(server.url('postgres'));
      await session.client.query('BEGIN; DECLARE c CURSOR FOR SELECT * FROM stock FOR UPDATE');
      for (const sql of [KINDS_SESSION, KINDS_ODD]) await session.client.query(sql);
      for (const kind of KINDS.flatMap(({ kinds }) => kinds)) {
        const plan = await session.plan(kind.sql);
        t.is(fateOf(plan), fateOn(kind, major), `${kind.sql}: ${JSON.stringify(plan).slice(0, 300)}`);
        if (plan.kind === 'refuse') t.true(plan.refusal.hint.length > 10, kind.sql);
        // What is captured is a statement that the server can plan.
        if (plan.kind === 'capture')
          await t.notThrowsAsync(
            session.client.query(`PREPARE plan AS ${plan.capture.sql}; DEALLOCATE plan`),
            kind.sql,
          );
      }
    },
  );
}

test('the tables of docs/statements.md are those that the tests prove', async (t) => {
  const page = await readFile(new URL('../../docs/statements.md', import.meta.url), 'utf8');
  const written = page.slice(page.indexOf('### '), page.indexOf('<!-- end of the tables -->'));
  t.is(squeezed(written), squeezed(kindsTable()));
});
