import test from 'ava';
import type { Connection } from 'mysql2/promise';
import type { PreparedTransactions } from '../../../proxy/branch/xa/prepared.ts';
import { createPreparedFinisher } from '../../../proxy/branch/xa/prepared-finisher.ts';
import { startRecovery } from '../../../proxy/branch/xa/recovery.ts';
import { markerKey, WRITE_MARKER } from '../../../proxy/mysql/xa/marker.ts';
import { xidOf, type Xid } from '../../../proxy/mysql/xa/names.ts';
import { openPreparedTransactions } from '../../../proxy/mysql/xa/prepared.ts';
import { xaCommitOnePhase, xaEnd, xaFinish, xaPrepare, xaStart } from '../../../proxy/mysql/xa/statements.ts';
import type { TransactionView } from '../../../src/contract/messages.ts';
import type { Gid, GlobalStatus } from '../../../src/contract/transaction.ts';
import type { Log } from '../../../src/platform/log.ts';
import { newGid, newId } from '../../../src/platform/random.ts';
import { RESOURCE, SERVERS, captured, enter, eventually, openWorld, rowsOf, silent, type World } from './world.ts';

const TABLES =
  'create table row_ (id int primary key, v int); insert into row_ values (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0)';

for (const [name, start] of SERVERS) {
  let world: World;
  let transactions: PreparedTransactions;

  test.before(`${name} is started`, async () => {
    world = await openWorld(start, TABLES);
    transactions = await openPreparedTransactions({ database: RESOURCE, connection: world.login });
  });
  test.after.always(`${name} is stopped`, async () => {
    await transactions?.close();
    await world?.[Symbol.asyncDispose]();
  });

  const finisher = () => createPreparedFinisher(world.finisher, transactions, silent);
  const value = async (id: number): Promise<string | undefined> =>
    (await world.lines(`select v from row_ where id = ${id}`))[0];
  const listed = async (gid: Gid): Promise<number> =>
    (await transactions.list()).filter((each) => each.gid === gid).length;

  /** Changes a row in a branch that is prepared on a connection of its own, which is still open. */
  async function prepared(gid: Gid, id: number, isolation?: string): Promise<{ connection: Connection; xid: Xid }> {
    await world.finisher.open(gid, RESOURCE);
    const connection = await world.connect(isolation);
    const xid = xidOf({ gid, resource: RESOURCE }, newId());
    await connection.query(xaStart(xid));
    if ((await enter(connection, gid)) !== 'active') throw new Error('it is over');
    await connection.query(`update row_ set v = v + 1 where id = ${id}`);
    await connection.query(WRITE_MARKER, [markerKey(xid), gid, RESOURCE]);
    await connection.query(xaEnd(xid));
    await connection.query(xaPrepare(xid));
    return { connection, xid };
  }

  test.serial(
    `${name}: what is prepared is ended from elsewhere, once its connection is closed and not before`,
    async (t) => {
      for (const [verb, after] of [
        ['COMMIT', '1'],
        ['ROLLBACK', '1'],
      ] as const) {
        const gid = newGid();
        const { connection } = await prepared(gid, 1);
        const [one] = (await transactions.list()).filter((each) => each.gid === gid);
        if (one === undefined) return t.fail('it is not listed');
        t.is(one.resource, RESOURCE);
        t.is(await transactions.end(verb, one), 'busy');
        t.like(await (verb === 'COMMIT' ? finisher().commit(gid, RESOURCE) : finisher().rollback(gid, RESOURCE)), {
          result: 'ongoing',
        });
        await connection.end();
        await eventually('it is ended', async () => (await transactions.end(verb, one)) === 'ended');
        t.is(await transactions.end(verb, one), 'gone');
        t.is(await listed(gid), 0);
        t.is(await value(1), after, verb);
      }
    },
  );

  test.serial(
    `${name}: all of a branch's local transactions end with it, those of others and of other programs do not`,
    async (t) => {
      const [gid, other] = [newGid(), newGid()];
      for (const [each, id] of [
        [gid, 2],
        [gid, 3],
        [other, 4],
      ] as const)
        await (await prepared(each, id)).connection.end();
      const foreign = await world.connect();
      await foreign.query(
        "xa start 'foreign','branch'; update shop.row_ set v = 9 where id = 5; xa end 'foreign','branch'; xa prepare 'foreign','branch'",
      );
      await foreign.end();
      await eventually('all are free', async () => (await finisher().commit(gid, RESOURCE)).result === 'success');
      t.deepEqual(await Promise.all([2, 3, 4, 5].map(value)), ['1', '1', '0', '0']);
      await eventually(
        'it is rolled back',
        async () => (await finisher().rollback(other, RESOURCE)).result === 'success',
      );
      t.deepEqual((await transactions.list()).length, 0);
      t.is(await value(4), '0');
      await world.admin.query("xa rollback 'foreign','branch'");
      for (let round = 0; round < 2; round += 1) {
        t.like(await finisher().commit(gid, RESOURCE), { result: 'success' });
        t.like(await finisher().commit(other, RESOURCE), { result: 'unknown', ended: 'rolled back' });
      }
    },
  );

  test.serial(
    `${name}: undo records and row locks share the fate of the local transaction that they are in`,
    async (t) => {
      for (const verb of ['commit', 'rollback'] as const) {
        const gid = newGid();
        await world.finisher.open(gid, RESOURCE);
        const connection = await world.connect('repeatable read');
        const xid = xidOf({ gid, resource: RESOURCE }, newId());
        await connection.query(xaStart(xid));
        await enter(connection, gid);
        t.is(await captured(connection, gid, 'row_', 'update row_ set v = v + 1 where id = 6'), 1);
        await connection.query(WRITE_MARKER, [markerKey(xid), gid, RESOURCE]);
        await connection.query(xaEnd(xid));
        await connection.query(xaPrepare(xid));
        await connection.end();
        await eventually('it is over', async () => (await finisher()[verb](gid, RESOURCE)).result === 'success');
        t.is(await value(6), '1');
        t.deepEqual(
          await world.lines(
            `select gid from atomesh.undo_record where gid = '${gid}' union select gid from atomesh.row_lock where gid = '${gid}'`,
          ),
          [],
        );
      }
    },
  );

  test.serial(
    `${name}: a local transaction that undo is enough for ends in one phase, and prepares nothing`,
    async (t) => {
      const gid = newGid();
      const connection = await world.connect();
      const xid = xidOf({ gid, resource: RESOURCE }, newId());
      await connection.query(xaStart(xid));
      await connection.query(
        'savepoint s; update row_ set v = 5 where id = 7; rollback to savepoint s; update row_ set v = 6 where id = 7',
      );
      await connection.query(xaEnd(xid));
      await connection.query(xaCommitOnePhase(xid));
      t.is(await value(7), '6');
      t.is(await listed(gid), 0);
      // The same connection goes on.
      await connection.query('update row_ set v = 7 where id = 7');
    },
  );

  test.serial(
    `${name}: after a crash what was prepared is in doubt still, and is ended as the coordinator says`,
    async (t) => {
      // The tests' servers save themselves the writing otherwise.
      await world.admin.query('set global innodb_flush_log_at_trx_commit = 1');
      const [committed, lost, open] = [newGid(), newGid(), newGid()];
      for (const [gid, id] of [
        [committed, 8],
        [lost, 9],
        [open, 1],
      ] as const)
        await prepared(gid, id);
      await world.server.crash();
      const known = new Map<string, GlobalStatus>([
        [committed, 'submitted'],
        [open, 'prepared'],
      ]);
      const read = (gid: Gid): Promise<TransactionView | undefined> => {
        const status = known.get(gid);
        return Promise.resolve(
          status === undefined ? undefined : ({ gid, status, branches: [] } as unknown as TransactionView),
        );
      };
      const after = await openPreparedTransactions({ database: RESOURCE, connection: world.login });
      const undo = createPreparedFinisher(world.finisher, after, silent);
      await eventually('they are found again', async () => (await after.list()).length === 3);
      const recovery = startRecovery({
        transactions: after,
        finisher: undo,
        coordinator: { read },
        everyMs: 50,
        ageMsMin: 0,
        log: silent,
      });
      await eventually('what is decided is over', async () => (await after.list()).length === 1);
      t.is((await after.list())[0]?.gid, open);
      known.set(open, 'aborting');
      await eventually('the last is over', async () => (await after.list()).length === 0);
      await recovery.stop();
      await after.close();
      const reader = await world.connect();
      const [rows] = await reader.query('select v from row_ where id in (8, 9) order by id');
      t.deepEqual(rows as unknown, [{ v: 1 }, { v: 0 }]);
    },
  );

  test.serial(
    `${name}: a branch whose connection is reset in the place of being closed is lost: the server says OK, and commits nothing`,
    async (t) => {
      const gid = newGid();
      const { connection, xid } = await prepared(gid, 2);
      await (connection as unknown as { reset(): Promise<void> }).reset();
      const other = await world.connect();
      await t.notThrowsAsync(other.query(xaFinish('COMMIT', xid)));
      const [rows] = await other.query('select v from row_ where id = 2');
      // Were it 2, a session could be kept: docs/decisions/0034 would have to be looked at again.
      t.deepEqual(rows as unknown, [{ v: 1 }]);
    },
  );

  test.serial(
    `${name}: an OK behind which nothing was ended is noticed: the branch goes on, until the server is started again`,
    async (t) => {
      await world.server.run('set global innodb_flush_log_at_trx_commit = 1');
      const said: unknown[] = [];
      const log = { ...silent, error: (fields: unknown) => said.push(fields) } as unknown as Log;
      const own = createPreparedFinisher(world.finisher, transactions, log);
      const reader = await world.connect();
      const values = async (connection: Connection): Promise<readonly number[]> =>
        (await rowsOf<{ v: number }>(connection, 'select v from row_ where id in (3, 4) order by id')).map(
          ({ v }) => v,
        );
      const [first = 0, second = 0] = await values(reader);
      const [committed, rolledBack] = [newGid(), newGid()];
      for (const [gid, id] of [
        [committed, 3],
        [rolledBack, 4],
      ] as const) {
        const { connection } = await prepared(gid, id);
        t.is(await listed(gid), 1);
        // This has the same effect as a moment that is hard to meet: the server takes it for gone, and InnoDB does not.
        await (connection as unknown as { reset(): Promise<void> }).reset();
      }
      for (let round = 0; round < 2; round += 1) {
        t.like(await own.commit(committed, RESOURCE), { result: 'ongoing' });
        t.like(await own.rollback(rolledBack, RESOURCE), { result: 'ongoing' });
      }
      t.is(said.length, 2);
      await world.server.crash();
      const after = await openPreparedTransactions({ database: RESOURCE, connection: world.login });
      const finisherAfter = createPreparedFinisher(world.finisher, after, silent);
      await eventually(
        'it is committed',
        async () => (await finisherAfter.commit(committed, RESOURCE)).result === 'success',
      );
      await eventually(
        'it is rolled back',
        async () => (await finisherAfter.rollback(rolledBack, RESOURCE)).result === 'success',
      );
      await after.close();
      t.deepEqual(await values(await world.connect()), [first + 1, second]);
    },
  );
}
