import test from 'ava';
import { commented } from '../sql-e2e/prove.ts';
import { openWire, say } from '../sql-e2e/wire-client.ts';
import { preparedNames, startXaMesh } from './prove.ts';
import { BARE } from './scripts.ts';

/** What a server does not prepare, and what it says. Source: PostgreSQL, PrepareTransaction in xact.c and what it calls. */
const LIMITS: Readonly<Record<string, RegExp>> = {
  'INSERT INTO scratch VALUES (1)': /0A000 cannot PREPARE a transaction that has operated on temporary objects/,
  'CREATE TEMP TABLE more (id int)': /0A000 cannot PREPARE a transaction that has operated on temporary objects/,
  'LISTEN somebody': /0A000 cannot PREPARE a transaction that has executed LISTEN, UNLISTEN, or NOTIFY/,
  "NOTIFY somebody, 'x'": /0A000 cannot PREPARE a transaction that has executed LISTEN, UNLISTEN, or NOTIFY/,
  'DECLARE held CURSOR WITH HOLD FOR SELECT 1':
    /0A000 cannot PREPARE a transaction that has created a cursor WITH HOLD/,
  'SELECT pg_advisory_lock(1), pg_advisory_xact_lock(1)':
    /0A000 cannot PREPARE while holding both session-level and transaction-level locks on the same object/,
};

for (const major of [14, 18] as const) {
  test.serial(`what cannot be prepared is rolled back, with an error that helps, on PostgreSQL ${major}`, async (t) => {
    await using mesh = await startXaMesh(major, 'escalate');
    await using wire = await openWire(mesh.through);
    const client = await mesh.client();
    await wire.ask(say.query('CREATE TEMP TABLE scratch (id int)'));
    await client.query('CREATE TEMP TABLE scratch (id int)');
    const before = await mesh.dump();
    for (const [text, said] of Object.entries(LIMITS)) {
      const gid = await mesh.begin();
      await wire.ask(...[commented('BEGIN', gid), BARE, text].map(say.query));
      const simple = await wire.ask(say.query('COMMIT'), say.query('SELECT 1'));
      t.regex(simple[0] ?? '', said, text);
      t.deepEqual(
        simple.slice(1),
        ['ready I', 'fields ?column?:23:4:-1:0', 'row ["1"]', 'done SELECT 1', 'ready I'],
        text,
      );
      await wire.ask(...['SELECT pg_advisory_unlock_all()', commented('BEGIN', gid), BARE, text].map(say.query));
      const extended = await wire.ask(...say.run('COMMIT'), say.sync);
      t.deepEqual(extended.slice(0, 3), ['parse-complete', 'bind-complete', 'no-data'], text);
      t.regex(extended[3] ?? '', said, text);
      t.is(extended[4], 'ready I', text);
      await wire.ask(say.query('SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *'));
      await client.query(commented('BEGIN', gid));
      await client.query(BARE);
      await client.query(text);
      const error = await t.throwsAsync(client.query('COMMIT'), undefined, text);
      t.regex((error as Error & { hint?: string }).hint ?? '', /is prepared and not committed.*Leave out of it/, text);
      await client.query('SELECT pg_advisory_unlock_all()');
      t.deepEqual(await preparedNames(mesh), [], text);
      await mesh.end(gid, 'commit');
    }
    t.deepEqual(await mesh.dump(), before);
  });
}

test.serial('where the server can prepare nothing, undo mode refuses as ever and names the setting', async (t) => {
  const settings = { max_prepared_transactions: '0' };
  await using mesh = await startXaMesh(18, 'escalate', { settings });
  const client = await mesh.client();
  const gid = await mesh.begin();
  const error = await t.throwsAsync(client.query(commented(BARE, gid)), { message: /could not be undone/ });
  t.regex((error as Error & { hint?: string }).hint ?? '', /max_prepared_transactions/);
  await client.query(commented('UPDATE item SET qty = 5 WHERE id = 1', gid));
  await mesh.end(gid, 'commit');
  const { rows } = await mesh.owner.query('SELECT qty FROM item WHERE id = 1');
  t.deepEqual(rows, [{ qty: 5 }]);
});

test.serial('where the server can prepare nothing, a sidecar in mode xa does not start', async (t) => {
  await t.throwsAsync(startXaMesh(18, 'xa', { settings: { max_prepared_transactions: '0' } }), {
    message: /max_prepared_transactions of its server is 0/,
  });
});

test.serial(
  'when the server can prepare no more, the local transaction is rolled back and the setting named',
  async (t) => {
    await using mesh = await startXaMesh(18, 'xa', { settings: { max_prepared_transactions: '1' } });
    const client = await mesh.client();
    const gid = await mesh.begin();
    await client.query(commented('UPDATE item SET qty = 50 WHERE id = 1', gid));
    const error = await t.throwsAsync(client.query(commented('UPDATE item SET qty = 50 WHERE id = 2', gid)));
    t.regex(error?.message ?? '', /maximum number of prepared transactions reached/);
    t.regex((error as Error & { hint?: string }).hint ?? '', /max_prepared_transactions/);
    await mesh.end(gid, 'commit');
    const { rows } = await mesh.owner.query('SELECT qty FROM item WHERE id < 3 ORDER BY id');
    t.deepEqual(rows, [{ qty: 50 }, { qty: 2 }]);
  },
);

test.serial('a statement that waits for what its own global transaction has prepared ends, and says why', async (t) => {
  await using mesh = await startXaMesh(18, 'xa', { lockTimeoutMs: 300 });
  const client = await mesh.client();
  const gid = await mesh.begin();
  await client.query(commented('UPDATE item SET qty = 50 WHERE id = 1', gid));
  const error = await t.throwsAsync(client.query(commented('UPDATE item SET qty = 60 WHERE id = 1', gid)), {
    message: /lock timeout/,
  });
  t.regex((error as Error & { hint?: string }).hint ?? '', /same global transaction that is prepared/);
  await client.query(commented('UPDATE item SET qty = 70 WHERE id = 2', gid));
  t.is((await client.query<{ lock_timeout: string }>('SHOW lock_timeout')).rows[0]?.lock_timeout, '0');
  await mesh.end(gid, 'rollback');
});

test.serial('a captured statement that waits for what its own global transaction has prepared ends too', async (t) => {
  await using mesh = await startXaMesh(18, 'escalate', { lockTimeoutMs: 300 });
  const client = await mesh.client();
  const gid = await mesh.begin();
  await client.query(commented('DO $$ BEGIN UPDATE item SET qty = 50 WHERE id = 1; END $$', gid));
  const waiting = 'UPDATE item SET qty = 60 WHERE id = 1';
  for (const query of [{ text: commented(waiting, gid) }, { text: commented(waiting, gid), values: [] }]) {
    const error = await t.throwsAsync(client.query(query), { message: /lock timeout/ });
    t.regex((error as Error & { hint?: string }).hint ?? '', /same global transaction that is prepared/);
  }
  await client.query(commented('BEGIN', gid));
  await client.query('UPDATE item SET qty = 70 WHERE id = 2');
  await t.throwsAsync(client.query(waiting), { message: /lock timeout/ });
  await client.query('ROLLBACK');
  await client.query(commented('UPDATE item SET qty = 80 WHERE id = 2', gid));
  await mesh.end(gid, 'commit');
  const { rows } = await mesh.owner.query('SELECT qty FROM item WHERE id < 3 ORDER BY id');
  t.deepEqual(rows, [{ qty: 50 }, { qty: 80 }]);
});
