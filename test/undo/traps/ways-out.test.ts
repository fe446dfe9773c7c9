import test from 'ava';
import { loadParser } from '../../../proxy/postgres/parse.ts';
import { createPlanner } from '../../../proxy/postgres/plan.ts';

const SETTINGS = new Map([
  ['server_version', '18'],
  ['client_encoding', 'UTF8'],
  ['standard_conforming_strings', 'on'],
]);

/** Where no local transaction can be prepared: what is refused, and the way out that the hint names. */
const WAYS_OUT: readonly (readonly [sql: string, message: string, hint: string])[] = [
  ['EXPLAIN ANALYZE DELETE FROM a', 'EXPLAIN ANALYZE of anything but SELECT', 'Run the statement itself.'],
  ['COPY a FROM STDIN', 'COPY FROM', 'Use INSERT with several rows.'],
  ['TRUNCATE a', 'TRUNCATE', 'Use DELETE.'],
  ['CREATE TABLE a (id int)', 'CREATE', 'Run it outside the global transaction.'],
  ['ALTER TABLE a ADD x int', 'ALTER TABLE', 'Run it outside the global transaction.'],
  ['DO $$ BEGIN END $$', 'DO', 'Run the statements of the block themselves.'],
  ['CALL p()', 'CALL', 'Run the statements of the procedure themselves.'],
];

test.before(async () => {
  await loadParser();
});

test('what is refused for want of images is refused by its name, with the way out', (t) => {
  for (const [sql, message, hint] of WAYS_OUT) {
    const planner = createPlanner({ mode: 'undo', maxRows: 10, carriesBarrier: true });
    const planned = planner.plan(sql, SETTINGS, 0, 'undo');
    const plan = planned.kind === 'plans' ? planned.plans[0]?.plan : undefined;
    if (plan?.kind !== 'refuse') return t.fail(`${sql}: ${planned.kind}`);
    t.is(plan.refusal.code, '0A000', sql);
    t.true(plan.refusal.message.startsWith(message), `${sql}: ${plan.refusal.message}`);
    t.is(plan.refusal.hint, hint, sql);
    t.true(plan.escalates, sql);
  }
});
