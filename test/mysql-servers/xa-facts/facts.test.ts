/** What servers do inside XA transactions, where the sidecar relies on it. A fact that has changed is to be found here, and not in production. */
import test from 'ava';
import type { Connection } from 'mysql2/promise';
import { CAPABILITY } from '../../../proxy/mysql/wire/capabilities.ts';
import { decodeOk, STATUS } from '../../../proxy/mysql/wire/outcome.ts';
import { decodeStateChanges, readTransactionState } from '../../../proxy/mysql/wire/session-state.ts';
import { markerKey, WRITE_MARKER } from '../../../proxy/mysql/xa/marker.ts';
import { xidOf, xidSql } from '../../../proxy/mysql/xa/names.ts';
import { SETTLE_MS } from '../../../proxy/mysql/xa/parked.ts';
import { openPreparedTransactions } from '../../../proxy/mysql/xa/prepared.ts';
import { newGid, newId } from '../../../src/platform/random.ts';
import { rawClient, type RawClient } from '../raw-client.ts';
import { RESOURCE, SERVERS, enter, eventually, openWorld, rowsOf, type World } from '../second-phase/world.ts';
import { TABLES, deadlock, errnoOf } from './deadlock.ts';

/** The name in the place of `@`, and its marker's statement in that of `@marker`. */
const named = (): ((text: string) => string) => {
  const gid = newGid();
  const xid = xidOf({ gid, resource: RESOURCE }, newId());
  const values = [markerKey(xid), gid, RESOURCE];
  const marker = WRITE_MARKER.replaceAll('?', () => `'${values.shift() ?? ''}'`);
  return (text) => text.replaceAll('@marker', marker).replaceAll('@', xidSql(xid));
};

/** What an OK says: whether a local transaction is open by its flag, and by session tracking where that speaks. */
async function heard(client: RawClient, sql: string): Promise<string> {
  const [packet] = await client.ask({ kind: 'query', text: Buffer.from(sql), attributes: undefined });
  if (packet === undefined) return 'nothing';
  const ok = decodeOk(packet, client.capabilities);
  if (ok.kind !== 'ok') return `error ${packet.readUInt16LE(1)}`;
  const changes = ok.stateChanges === undefined ? [] : decodeStateChanges(ok.stateChanges);
  const state = 'kind' in changes ? undefined : changes.findLast(({ kind }) => kind === 'transaction-state');
  const tracked = state?.kind === 'transaction-state' ? ` ${readTransactionState(state.state)?.open ?? ''}` : '';
  return `${(ok.status & STATUS.inTransaction) === 0 ? 'none' : 'open'}${tracked}`;
}

const WANTED = CAPABILITY.longPassword | CAPABILITY.deprecateEof | CAPABILITY.sessionTrack | CAPABILITY.multiResults;

for (const [name, start] of SERVERS) {
  let world: World;
  const open = async (isolation?: string): Promise<{ connection: Connection; at: (text: string) => string }> => {
    const [connection, at] = [await world.connect(isolation), named()];
    await connection.query(at('xa start @'));
    return { connection, at };
  };
  const value = async (id: number): Promise<string | undefined> =>
    (await world.lines(`select v from row_ where id = ${id}`))[0];

  test.before(`${name} is started`, async () => {
    world = await openWorld(start, TABLES);
  });
  test.after.always(`${name} is stopped`, () => world?.[Symbol.asyncDispose]());

  test.serial(
    `${name}: an XA branch is a local transaction by flag and by tracking, with autocommit and without`,
    async (t) => {
      for (const autocommit of [1, 0]) {
        const client = await rawClient(world.server.port, world.server.user, WANTED, 'shop');
        const at = named();
        await heard(client, `set autocommit = ${autocommit}, session_track_transaction_info = 'STATE'`);
        for (const [sql, wanted] of [
          ['xa start @', 'open explicit'],
          ['update row_ set v = v where id = 3', 'open'],
          ['savepoint s', 'open'],
          ['rollback to savepoint s', 'open'],
          ['xa end @', 'open'],
          ['do 1', 'open'],
          ['xa commit @ one phase', 'none no'],
          ['do 1', 'none'],
          ['xa start @', 'open explicit'],
          ['xa end @', 'open'],
          ['xa rollback @', 'none no'],
        ] as const) {
          const said = await heard(client, at(sql));
          // That something was read or written is tracked too, and says `open` again.
          t.true(said === wanted || said === `${wanted} explicit`, `autocommit ${autocommit}, ${sql}: ${said}`);
        }
        client.close();
      }
    },
  );

  test.serial(
    `${name}: what is said behind a deadlock is carried out and committed by itself, but in an XA branch of MariaDB`,
    async (t) => {
      for (const begin of ['begin', 'xa start @']) {
        const [victim, other, at] = [await world.connect(), await world.connect(), named()];
        await world.admin.query('update row_ set v = 0');
        await victim.query(at(begin));
        t.is(await deadlock(victim, other), 1213);
        await other.query('rollback');
        const isRefused = name === 'MariaDB' && begin !== 'begin';
        t.is(await errnoOf(victim, 'update row_ set v = 9 where id = 3'), isRefused ? 1399 : undefined);
        // What the client takes for an end of it takes nothing back.
        for (const end of begin === 'begin' ? ['rollback'] : ['xa end @', 'xa rollback @'])
          await errnoOf(victim, at(end));
        t.is(await value(3), isRefused ? '0' : '9', begin);
      }
    },
  );

  test.serial(
    `${name}: a lock that is waited for in vain, and a key that is there already, undo their statement and no more`,
    async (t) => {
      const { connection, at } = await open();
      await world.admin.query('update row_ set v = 0; begin; update row_ set v = 5 where id = 2');
      await connection.query('set innodb_lock_wait_timeout = 1; update row_ set v = 1 where id = 1');
      t.is(await errnoOf(connection, 'update row_ set v = 2 where id = 2'), 1205);
      t.is(await errnoOf(connection, 'insert into row_ values (1, 1)'), 1062);
      await connection.query(at('update row_ set v = 3 where id = 3; xa end @; xa commit @ one phase'));
      await world.admin.query('rollback');
      t.deepEqual([await value(1), await value(2), await value(3)], ['1', '0', '3']);
    },
  );

  test.serial(
    `${name}: what would end it otherwise is refused, and leaves it open; LOCK TABLES and DDL too`,
    async (t) => {
      const { connection, at } = await open();
      await connection.query('update row_ set v = 7 where id = 7');
      for (const sql of [
        'begin',
        'start transaction with consistent snapshot',
        'commit',
        'rollback',
        'commit and chain',
        'create table other (a int)',
        'truncate table row_',
        'lock tables row_ write',
        'analyze table row_',
        'flush tables',
        'xa prepare @',
        'xa commit @ one phase',
        'xa rollback @',
      ])
        t.is(await errnoOf(connection, at(sql)), 1399, sql);
      await connection.query('create temporary table mine (a int); drop temporary table mine; unlock tables');
      // Without autocommit it could be told so; with it again it could not.
      await connection.query('set autocommit = 0');
      t.is(await errnoOf(connection, 'set autocommit = 1'), 1399);
      await connection.query(at('xa end @'));
      for (const sql of ['select * from row_', 'savepoint s', 'commit'])
        t.is(await errnoOf(connection, sql), 1399, sql);
      await connection.query(at('xa commit @ one phase'));
      t.is(await value(7), '7');
    },
  );

  test.serial(
    `${name}: what a client may ask about its last statement is the same behind XA END and its commit`,
    async (t) => {
      const { connection, at } = await open();
      await connection.query('insert into heavy (v) values (1)');
      const [id] = await rowsOf<{ id: number }>(connection, 'select last_insert_id() as id');
      await connection.query(at('xa end @; xa commit @ one phase'));
      t.deepEqual(await rowsOf(connection, 'select last_insert_id() as id'), [id]);
      t.true((id?.id ?? 0) > 0);
    },
  );

  test.serial(`${name}: one that has written nothing but its marker is committed as one that has`, async (t) => {
    const transactions = await openPreparedTransactions({ database: RESOURCE, connection: world.login });
    try {
      for (const work of [
        'do 1',
        'select * from row_ where id = 1 for update',
        'update row_ set v = 1 where id = 99',
      ]) {
        const { connection, at } = await open();
        await connection.query(at(`${work}; @marker; xa end @; xa prepare @`));
        const [one] = await transactions.list();
        if (one === undefined) return t.fail('it is not listed');
        await connection.end();
        await eventually('it is committed', async () => (await transactions.end('COMMIT', one)) === 'ended');
        t.deepEqual(await transactions.list(), [], work);
      }
    } finally {
      await transactions.close();
    }
  });

  test.serial(
    `${name}: a branch is left alone for a moment after it was seen first, while its connection may be closing`,
    async (t) => {
      const transactions = await openPreparedTransactions({ database: RESOURCE, connection: world.login });
      try {
        const { connection, at } = await open();
        await connection.query(at('update row_ set v = 9 where id = 9; @marker; xa end @; xa prepare @'));
        connection.destroy();
        const from = performance.now();
        const [one] = await transactions.list();
        if (one === undefined) return t.fail('it is not listed');
        await eventually('it is committed', async () => (await transactions.end('COMMIT', one)) === 'ended');
        // Ended at once, one in some hundred would be lost, and only sometimes: so it is the waiting that is looked at. Timers are a little early.
        t.true(performance.now() - from >= SETTLE_MS - 5);
        t.is(await value(9), '9');
      } finally {
        await transactions.close();
      }
    },
  );

  test.serial(
    `${name}: behind XA PREPARE the share lock on the branch's state is kept by MySQL, and not by MariaDB`,
    async (t) => {
      const gid = newGid();
      await world.finisher.open(gid, RESOURCE);
      const { connection, at } = await open();
      t.is(await enter(connection, gid), 'active');
      await connection.query(at('update row_ set v = 4 where id = 4; xa end @; xa prepare @'));
      await world.admin.query('set innodb_lock_wait_timeout = 1');
      const change = `update atomesh.branch_state set latch = 1 where gid = '${gid}'`;
      t.is(await errnoOf(world.admin, change), name === 'MariaDB' ? undefined : 1205);
      connection.destroy();
      await eventually('it is ended', async () => (await errnoOf(world.admin, at('xa rollback @'))) === undefined);
      t.is(await errnoOf(world.admin, change.replace('1', '2')), undefined);
    },
  );

  test.serial(
    `${name}: a killed connection leaves what was prepared and nothing else; a killed statement leaves the rest`,
    async (t) => {
      await world.admin.query('update row_ set v = 0');
      for (const state of ['active', 'ended', 'prepared'] as const) {
        const { connection, at } = await open();
        const [own] = await rowsOf<{ id: number }>(connection, 'select connection_id() as id');
        await connection.query('update row_ set v = v + 1 where id = 5');
        if (state !== 'active') await connection.query(at('xa end @'));
        if (state === 'prepared') await connection.query(at('xa prepare @'));
        await world.admin.query(`kill ${String(own?.id)}`);
        const sql = state === 'prepared' ? at('xa commit @') : 'update row_ set v = v where id = 5';
        await eventually('it is let go of', async () => (await errnoOf(world.admin, sql)) === undefined);
        t.is(await value(5), state === 'prepared' ? '1' : '0', state);
      }
      const { connection, at } = await open();
      const [own] = await rowsOf<{ id: number }>(connection, 'select connection_id() as id');
      await connection.query('update row_ set v = 6 where id = 6');
      const sleeping = errnoOf(connection, 'update row_ set v = sleep(30) where id = 7');
      await eventually('it runs', async () => {
        const states = await world.lines(
          `select state from information_schema.processlist where id = ${String(own?.id)}`,
        );
        return states[0] === 'User sleep';
      });
      await world.admin.query(`kill query ${String(own?.id)}`);
      t.is(await sleeping, 1317);
      await connection.query(at('xa end @; xa commit @ one phase'));
      t.deepEqual([await value(6), await value(7)], ['6', '0']);
    },
  );
}
