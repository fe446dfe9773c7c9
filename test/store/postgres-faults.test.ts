import test from 'ava';
import { startPostgres, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { CodedError } from '../../src/contract/errors.ts';
import type { Gid, Instant } from '../../src/contract/transaction.ts';
import { openLog } from '../../src/platform/log.ts';
import { newId } from '../../src/platform/random.ts';
import { openPostgresStore } from '../../src/store/postgres.ts';
import { openClient } from '../../src/store/postgres/line.ts';
import { startCuttable } from '../cluster/cuttable.ts';
import { transactionOf } from './sample.ts';

const LOG = openLog('test', 'silent');
const ME = { owner: 'me', until: 10_000 as Instant };
const YOU = { owner: 'you', until: 10_000 as Instant };

let server: PostgresServer;
test.before(async () => {
  server = await startPostgres();
});
test.after.always(() => server[Symbol.asyncDispose]());

const gidOf = (text: string): Gid => text as Gid;
const schemaName = (): string => `s${newId()}`;
const urlAt = (port: number): string => `postgres://postgres@127.0.0.1:${port}/postgres`;

test('a begin whose answer is lost rejects, and counts once when it is sent again', async (t) => {
  await using way = await startCuttable(server.port);
  const store = await openPostgresStore({ url: urlAt(way.port), schema: schemaName() }, LOG);
  const transaction = transactionOf(gidOf('g'));
  const lost = way.loseAnswer('INSERT 0 1');
  const error = await t.throwsAsync(store.insert(transaction, ME), { instanceOf: CodedError });
  t.like(error, { code: 'STORE_FAILED', retry: 'safe' });
  await lost;
  t.is(await store.insert(transaction, ME), 'exists');
  t.deepEqual(await store.read(transaction.gid), { transaction, version: 1 });
  await store.close();
});

test('a save whose answer is lost rejects; it took effect once, and the same save again is a conflict', async (t) => {
  await using way = await startCuttable(server.port);
  const store = await openPostgresStore({ url: urlAt(way.port), schema: schemaName() }, LOG);
  const transaction = transactionOf(gidOf('g'));
  await store.insert(transaction, ME);
  const next = { ...transaction, reason: 'again' };
  const lost = way.loseAnswer('UPDATE 1');
  await t.throwsAsync(store.save(next, 1, ME, undefined, 'now'), { instanceOf: CodedError });
  await lost;
  t.deepEqual(await store.claim(transaction.gid, 0 as Instant, ME), { transaction: next, version: 2 });
  t.is(await store.save({ ...next, reason: 'thrice' }, 1, ME, undefined, 'now'), 'conflict');
  t.is(await store.save({ ...next, reason: 'thrice' }, 2, ME, undefined, 'now'), 'saved');
  await store.close();
});

test('of a batch whose answer is lost every write rejects, and each took effect once', async (t) => {
  await using way = await startCuttable(server.port);
  const store = await openPostgresStore({ url: urlAt(way.port), schema: schemaName() }, LOG);
  await store.insert(transactionOf(gidOf('old')), ME);
  const lost = way.loseAnswer('COMMIT');
  const writes = await Promise.allSettled([
    store.insert(transactionOf(gidOf('new')), ME),
    store.save(transactionOf(gidOf('old'), { reason: 'changed' }), 1, ME, undefined, 'now'),
    store.claim(gidOf('old'), 0 as Instant, ME),
  ]);
  await lost;
  t.deepEqual(
    writes.slice(0, 2).map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  t.is((await store.read(gidOf('new')))?.version, 1);
  t.like(await store.read(gidOf('old')), { version: 2, transaction: { reason: 'changed' } });
  await store.close();
});

test('what is asked while the connection is away waits for it a while, and then is refused; afterwards all is well', async (t) => {
  await using way = await startCuttable(server.port);
  const store = await openPostgresStore({ url: urlAt(way.port), schema: schemaName() }, LOG);
  way.cut();
  // The first may find the dead connection; it is told so, and knows nothing.
  await store.insert(transactionOf(gidOf('first')), ME).catch(() => undefined);
  const waits = store.insert(transactionOf(gidOf('waits')), ME);
  way.mend();
  t.is(await waits, 'inserted');
  way.cut();
  const error = await t.throwsAsync(store.read(gidOf('waits')), { instanceOf: CodedError });
  t.like(error, { code: 'STORE_FAILED', retry: 'safe' });
  way.mend();
  t.is((await store.read(gidOf('waits')))?.version, 1);
  await store.close();
});

test('a database that dies and comes back keeps what was answered, and the store goes on', async (t) => {
  await using own = await startPostgres();
  const store = await openPostgresStore({ url: own.url('postgres') }, LOG);
  const acknowledged: Gid[] = [];
  const writer = async (worker: number): Promise<void> => {
    for (let count = 0; ; count += 1) {
      const gid = gidOf(`${worker}-${count}`);
      await store.insert(transactionOf(gid), ME);
      acknowledged.push(gid);
    }
  };
  const writers = Promise.allSettled(Array.from({ length: 16 }, (_, worker) => writer(worker)));
  while (acknowledged.length < 300) await new Promise((resolve) => setImmediate(resolve));
  await own.kill();
  await writers;
  await own.start();
  for (const gid of acknowledged) t.is((await store.read(gid))?.version, 1, gid);
  t.is(await store.insert(transactionOf(gidOf('after')), ME), 'inserted');
  await store.close();
});

test('a stale owner that comes back writes nothing, not even at a version that is right', async (t) => {
  const options = { url: server.url('postgres'), schema: schemaName() };
  const [mine, yours] = [await openPostgresStore(options, LOG), await openPostgresStore(options, LOG)];
  const transaction = transactionOf(gidOf('g'));
  await mine.insert(transaction, { ...ME, until: 100 as Instant });
  t.is(await yours.holderOf(transaction.gid, 99 as Instant), 'me');
  t.is(await yours.holderOf(transaction.gid, 100 as Instant), undefined);
  t.deepEqual(await yours.claim(transaction.gid, 100 as Instant, YOU), { transaction, version: 1 });
  t.is(await mine.save({ ...transaction, reason: 'mine' }, 1, ME, undefined, 'now'), 'conflict');
  t.deepEqual(await mine.renew([transaction.gid], ME), [transaction.gid]);
  t.is(await mine.claim(transaction.gid, 200 as Instant, ME), 'held');
  t.is(await yours.save({ ...transaction, reason: 'yours' }, 1, YOU, undefined, 'now'), 'saved');
  await Promise.all([mine.close(), yours.close()]);
});

test('stores that claim what is due at the same time share it without waiting for each other, each row once', async (t) => {
  const options = { url: server.url('postgres'), schema: schemaName() };
  const stores = await Promise.all(Array.from({ length: 4 }, () => openPostgresStore(options, LOG)));
  const wanted = Array.from({ length: 500 }, (_, index) => gidOf(`g${index}`));
  const lapsed = { owner: 'dead', until: 0 as Instant };
  for (const store of stores.slice(0, 1)) {
    await Promise.all(wanted.map((gid) => store.insert(transactionOf(gid, { deadline: 5 as Instant }), lapsed)));
  }
  const claimed = await Promise.all(
    stores.map(async (store, index) => {
      const mine: Gid[] = [];
      const lease = { owner: `o${index}`, until: 10_000 as Instant };
      for (let empty = 0; empty < 5;) {
        const batch = await store.claimDue(1000 as Instant, lease, 20, 0 as Instant);
        mine.push(...batch.map(({ transaction }) => transaction.gid));
        empty = batch.length === 0 ? empty + 1 : 0;
      }
      return mine;
    }),
  );
  t.deepEqual(claimed.flat().toSorted(), wanted.toSorted());
  await Promise.all(stores.map((store) => store.close()));
});

test('what another coordinator has given up is heard of at once, in the same schema only', async (t) => {
  const options = { url: server.url('postgres'), schema: schemaName() };
  const [mine, yours] = [await openPostgresStore(options, LOG), await openPostgresStore(options, LOG)];
  const others = await openPostgresStore({ ...options, schema: schemaName() }, LOG);
  let heardElsewhere = 0;
  await new Promise<void>((listening) => {
    others.onDue(() => {
      heardElsewhere += 1;
      listening();
    });
  });
  let heard = (): void => undefined;
  // The first call says that it listens now.
  await new Promise<void>((listening) => yours.onDue(() => (listening(), heard())));
  const notice = new Promise<void>((resolve) => (heard = resolve));
  await mine.insert(transactionOf(gidOf('g')), ME);
  await mine.renew([gidOf('g')], { ...ME, until: 0 as Instant });
  await notice;
  t.is(heardElsewhere, 1);
  await Promise.all([mine.close(), yours.close(), others.close()]);
});

test('many writers share few commits', async (t) => {
  const store = await openPostgresStore({ url: server.url('postgres'), schema: schemaName() }, LOG);
  const writers = 64;
  const rounds = 20;
  await Promise.all(
    Array.from({ length: writers }, async (_, writer) => {
      for (let round = 0; round < rounds; round += 1) {
        const transaction = transactionOf(gidOf(`${writer}-${round}`));
        await store.insert(transaction, ME);
        await store.save({ ...transaction, reason: 'again' }, 1, ME, undefined, 'soon');
        await store.save({ ...transaction, status: 'succeed' }, 2, ME, undefined, 'now');
      }
    }),
  );
  const perTransaction = store.batches / (writers * rounds);
  t.true(perTransaction <= 0.25, `${perTransaction} commits a transaction`);
  await store.close();
});

test('coordinators that start at once on an empty database make one set of tables', async (t) => {
  const options = { url: server.url('postgres'), schema: schemaName() };
  const stores = await Promise.all(Array.from({ length: 6 }, () => openPostgresStore(options, LOG)));
  t.is(await stores[0]?.insert(transactionOf(gidOf('g')), ME), 'inserted');
  for (const store of stores) t.is((await store.read(gidOf('g')))?.version, 1);
  await Promise.all(stores.map((store) => store.close()));
});

test('where there are no advisory locks, coordinators that start at once make one set of tables all the same', async (t) => {
  const name = `unlocked_${newId()}`;
  await server.run('postgres', `CREATE ROLE ${name} LOGIN`);
  await server.run('postgres', `CREATE DATABASE ${name} OWNER ${name}`);
  await server.run(name, 'REVOKE EXECUTE ON FUNCTION pg_advisory_xact_lock(bigint) FROM PUBLIC');
  const url = `postgres://${name}@127.0.0.1:${server.port}/${name}`;
  const stores = await Promise.all(Array.from({ length: 6 }, () => openPostgresStore({ url }, LOG)));
  t.is(await stores[0]?.insert(transactionOf(gidOf('g')), ME), 'inserted');
  for (const store of stores) t.is((await store.read(gidOf('g')))?.version, 1);
  await Promise.all(stores.map((store) => store.close()));
});

test('a schema may have any name', async (t) => {
  const schema = `A "strange"; name'${newId()}`;
  const store = await openPostgresStore({ url: server.url('postgres'), schema }, LOG);
  t.is(await store.insert(transactionOf(gidOf('g')), ME), 'inserted');
  await store.renew([gidOf('g')], { ...ME, until: 0 as Instant });
  t.deepEqual(await store.renew([gidOf('g')], ME), []);
  await store.close();
});

test('a schema that a newer version has written is refused, and left alone', async (t) => {
  const options = { url: server.url('postgres'), schema: schemaName() };
  await (await openPostgresStore(options, LOG)).close();
  await server.run('postgres', `UPDATE ${options.schema}.schema_version SET version = 99`);
  const error = await t.throwsAsync(openPostgresStore(options, LOG), { instanceOf: CodedError });
  t.regex(error.message, /newer Atomesh \(version 99/);
});

test('a user who may use the tables but create nothing is enough once they are there', async (t) => {
  const schema = schemaName();
  await (await openPostgresStore({ url: server.url('postgres'), schema }, LOG)).close();
  await server.run(
    'postgres',
    `CREATE ROLE r_${schema} LOGIN; GRANT USAGE ON SCHEMA ${schema} TO r_${schema};
     GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${schema} TO r_${schema}`,
  );
  const url = `postgres://r_${schema}@127.0.0.1:${server.port}/postgres`;
  const store = await openPostgresStore({ url, schema }, LOG);
  t.is(await store.insert(transactionOf(gidOf('g')), ME), 'inserted');
  await store.close();
  const error = await t.throwsAsync(openPostgresStore({ url, schema: schemaName() }, LOG), { instanceOf: CodedError });
  t.regex(error.message, /cannot be made ready/);
});

test('a standby, or a database that takes no writes, is refused', async (t) => {
  const url = `${server.url('postgres')}?options=${encodeURIComponent('-c default_transaction_read_only=on')}`;
  const error = await t.throwsAsync(openPostgresStore({ url, schema: schemaName() }, LOG), { instanceOf: CodedError });
  t.regex(error.message, /takes no writes/);
});

test('tables that are gone end the store for good', async (t) => {
  const options = { url: server.url('postgres'), schema: schemaName() };
  const store = await openPostgresStore(options, LOG);
  await server.run('postgres', `DROP SCHEMA ${options.schema} CASCADE`);
  await t.throwsAsync(store.insert(transactionOf(gidOf('g')), ME), { instanceOf: CodedError });
  t.true((await store.failed) instanceof CodedError);
  await store.close();
});

test('what is answered survives although the database would rather not wait for its disk', async (t) => {
  const name = `async_${newId()}`;
  await server.run('postgres', `CREATE DATABASE ${name}`);
  await server.run('postgres', `ALTER DATABASE ${name} SET synchronous_commit = off`);
  const client = await openClient(server.url(name));
  const { rows } = await client.query<{ synchronous_commit: string }>('SHOW synchronous_commit');
  t.is(rows[0]?.synchronous_commit, 'on');
  await client.end();
});
