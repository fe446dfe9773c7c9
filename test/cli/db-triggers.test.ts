import test from 'ava';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { folder, run } from './support.ts';

test('db triggers says how tables stand, puts triggers on them, and takes them away', async (t) => {
  await using server = await startPostgres();
  await server.run(
    'postgres',
    'CREATE ROLE phase_two LOGIN; CREATE TABLE account (id int PRIMARY KEY); CREATE TABLE log (v int)',
  );
  const url = `postgres://127.0.0.1:${server.port}/postgres`;
  const file = folder(t).file(
    's.yaml',
    `service: orders
coordinator: { url: http://127.0.0.1:1 }
databases:
  - { name: a, listen: "127.0.0.1:15432", upstream: "${url}", credentials: { user: phase_two }, capture: triggers, captureExcept: [public.log] }
`,
  );
  const admin = ['--config', file, '--admin-user', 'postgres'];
  const triggers = (...words: readonly string[]) => run(t, ['db', 'triggers', ...words, ...admin]);

  const early = await triggers('install');
  t.is(early.code, 1);
  t.regex(early.err, /a: triggers: schema "atomesh" does not exist\nRun "atomesh db init" first/);
  t.is((await run(t, ['db', 'init', ...admin])).code, 0);

  const missing = await triggers('status');
  t.is(missing.code, 1);
  t.is(missing.out, 'a: public.account missing\na: public.log except\n');
  const installed = await triggers('install');
  t.is(installed.code, 0, installed.err);
  t.is(installed.out, 'a: public.account recording\na: public.log except\n');
  t.is((await triggers('status', '--tables', 'public.a*')).out, 'a: public.account recording\n');
  const refused = await run(t, ['db', 'triggers', 'remove', '--config', file]);
  t.is(refused.code, 1);
  t.regex(refused.err, /must be owner/);
  const removed = await triggers('remove');
  t.is(removed.code, 0);
  t.regex(removed.out, /public.account missing/);
});
