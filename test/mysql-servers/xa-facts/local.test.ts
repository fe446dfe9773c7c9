/** Each way in which a local transaction of a gid begins and ends, carried out. */
import test, { type ExecutionContext } from 'ava';
import mysql, { type Connection } from 'mysql2/promise';
import { begin, end, type Answer, type Ended, type LocalKind, type Turn } from '../../../proxy/mysql/xa/local.ts';
import { xidOf } from '../../../proxy/mysql/xa/names.ts';
import { xaFinish } from '../../../proxy/mysql/xa/statements.ts';
import { newGid, newId } from '../../../src/platform/random.ts';
import { RESOURCE, SERVERS, eventually, openWorld, rowsOf, type World } from '../second-phase/world.ts';
import { TABLES, deadlock, errnoOf } from './deadlock.ts';

const PLAIN: LocalKind = { kind: 'plain' };
const xa = (): Extract<LocalKind, { kind: 'xa' }> => ({
  kind: 'xa',
  xid: xidOf({ gid: newGid(), resource: RESOURCE }, newId()),
});

/** Says what is to be said, all of a turn whatever becomes of it. */
async function carryOut<Result extends { readonly kind: string }>(
  connection: Connection,
  first: Turn<Result>,
): Promise<Result> {
  let turn: Turn<Result> | Result = first;
  while (turn.kind === 'say') {
    const { statements, judge } = turn as Turn<Result>;
    const answers: Answer[] = [];
    for (const sql of statements) {
      const errno = await errnoOf(connection, sql);
      answers.push(errno === undefined ? undefined : { kind: 'error', errno, packet: Buffer.alloc(0) });
    }
    turn = judge(answers);
  }
  return turn as Result;
}

function errnoHeard(ended: Ended): number | undefined {
  const failure = 'failure' in ended ? ended.failure : undefined;
  return failure?.kind === 'refused' ? failure.refusal.errno : failure?.errno;
}

for (const [name, start] of SERVERS) {
  let world: World;
  const value = async (id: number): Promise<string | undefined> =>
    (await world.lines(`select v from row_ where id = ${id}`))[0];
  const prepared = async (): Promise<number> => (await world.lines('xa recover')).length;
  /** The session takes the next local transaction, of either kind. */
  async function isFree(t: ExecutionContext, connection: Connection): Promise<void> {
    for (const local of [xa(), PLAIN]) {
      t.deepEqual(await carryOut(connection, begin(local)), { kind: 'begun' });
      t.deepEqual(await carryOut(connection, end(local, 'rollback')), { kind: 'rolled-back', closes: false });
    }
  }

  test.before(`${name} is started`, async () => {
    world = await openWorld(start, TABLES);
  });
  test.after.always(`${name} is stopped`, () => world?.[Symbol.asyncDispose]());

  test.serial(
    `${name}: a local transaction commits or rolls back under either kind, and the session is free`,
    async (t) => {
      const connection = await world.connect();
      for (const autocommit of [1, 0]) {
        await connection.query(`set autocommit = ${autocommit}`);
        for (const local of [PLAIN, xa()]) {
          const before = Number(await value(3));
          for (const [verb, after] of [
            ['rollback', before],
            ['commit', before + 1],
          ] as const) {
            t.deepEqual(await carryOut(connection, begin(local)), { kind: 'begun' });
            await connection.query('update row_ set v = v + 1 where id = 3');
            t.is((await carryOut(connection, end(local, verb))).kind, verb === 'commit' ? 'committed' : 'rolled-back');
            t.is(Number(await value(3)), after, `${local.kind} ${verb}`);
          }
        }
        await isFree(t, connection);
      }
      t.is(await prepared(), 0);
    },
  );

  test.serial(`${name}: one that is prepared is ended from elsewhere once its connection is closed`, async (t) => {
    const connection = await world.connect();
    const local = xa();
    await carryOut(connection, begin(local));
    await connection.query('update row_ set v = 7 where id = 4');
    t.deepEqual(await carryOut(connection, end(local, 'prepare')), { kind: 'prepared' });
    t.is(await prepared(), 1);
    t.is(await value(4), '0');
    await connection.end();
    await eventually(
      'it is ended',
      async () => (await errnoOf(world.admin, xaFinish('COMMIT', local.xid))) === undefined,
    );
    t.is(await value(4), '7');
  });

  test.serial(`${name}: behind a deadlock each end leaves nothing, and the session is free`, async (t) => {
    for (const local of [PLAIN, xa(), xa(), xa()]) {
      const verbs = local.kind === 'plain' ? (['rollback'] as const) : (['rollback', 'commit', 'prepare'] as const);
      for (const verb of verbs) {
        const [victim, other] = [await world.connect(), await world.connect()];
        await carryOut(victim, begin(local));
        t.is(await deadlock(victim, other), 1213);
        const ended = await carryOut(victim, end(local, verb));
        t.like(ended, { kind: 'rolled-back', closes: false }, verb);
        t.is(errnoHeard(ended), verb === 'rollback' ? undefined : 1213);
        await other.query('rollback');
        t.deepEqual([await value(1), await value(2)], ['0', '0']);
        await isFree(t, victim);
      }
    }
    t.is(await prepared(), 0);
  });

  test.serial(
    `${name}: one that cannot end while tables are flushed is rolled back, and the client hears of a timeout`,
    async (t) => {
      const sessions = await Promise.all(
        (['commit', 'prepare'] as const).map(async (verb) => {
          const [connection, local] = [await world.connect(), xa()];
          await connection.query('set lock_wait_timeout = 1');
          await carryOut(connection, begin(local));
          await connection.query(`update row_ set v = 5 where id = ${verb === 'commit' ? 5 : 6}`);
          return { connection, local, verb };
        }),
      );
      await world.admin.query('flush tables with read lock');
      for (const ended of await Promise.all(
        sessions.map(({ connection, local, verb }) => carryOut(connection, end(local, verb))),
      )) {
        t.like(ended, { kind: 'rolled-back', closes: false });
        t.is(errnoHeard(ended), 1205);
      }
      await world.admin.query('unlock tables');
      t.deepEqual([await value(5), await value(6), await prepared()], ['0', '0', 0]);
      for (const { connection } of sessions) await isFree(t, connection);
    },
  );

  test.serial(
    `${name}: one that a server under read_only does not commit is rolled back, if need be by closing its connection`,
    async (t) => {
      await world.admin.query(
        "create user plain_@'127.0.0.1'; grant select, insert, update, delete on shop.* to plain_@'127.0.0.1'",
      );
      const connection = await mysql.createConnection({ ...world.login, user: 'plain_', database: 'shop' });
      const local = xa();
      await carryOut(connection, begin(local));
      await connection.query('update row_ set v = 8 where id = 8');
      await world.admin.query('set global read_only = 1');
      const ended = await carryOut(connection, end(local, 'commit'));
      await world.admin.query('set global read_only = 0');
      // MariaDB sees a change in XA ROLLBACK too.
      t.like(ended, { kind: 'rolled-back', closes: name === 'MariaDB' });
      t.is(errnoHeard(ended), 1290);
      if (name === 'MariaDB') connection.destroy();
      else await isFree(t, connection);
      connection.destroy();
      await world.admin.query('update row_ set v = v + 1 where id = 8');
      t.deepEqual([await value(8), await prepared()], ['1', 0]);
    },
  );

  test.serial(
    `${name}: it begins as it was asked for: read only, with another isolation, with a snapshot`,
    async (t) => {
      const connection = await world.connect('repeatable read');
      for (const local of [PLAIN, xa()]) {
        const ended = () => carryOut(connection, end(local, 'rollback'));
        t.is((await carryOut(connection, begin(local, { access: 'READ ONLY' }))).kind, 'begun');
        t.is(await errnoOf(connection, 'update row_ set v = 1 where id = 9'), 1792, local.kind);
        await ended();
        // For this one only.
        t.is((await carryOut(connection, begin(local))).kind, 'begun');
        t.is(await errnoOf(connection, 'update row_ set v = v where id = 9'), undefined);
        await ended();
        for (const [how, sees] of [
          [{ hasSnapshot: true }, 'before'],
          [{ hasSnapshot: true, access: 'READ ONLY' }, 'before'],
          [{ isolation: 'READ COMMITTED' }, 'after'],
          [{}, 'after'],
        ] as const) {
          await world.admin.query('update row_ set v = 0 where id = 9');
          t.is((await carryOut(connection, begin(local, how))).kind, 'begun');
          if (sees === 'after' && 'isolation' in how) await connection.query('select * from row_');
          await world.admin.query('update row_ set v = 1 where id = 9');
          const [row] = await rowsOf<{ v: number }>(connection, 'select v from row_ where id = 9');
          t.is(row?.v, sees === 'before' ? 0 : 1, `${local.kind} ${JSON.stringify(how)}`);
          await ended();
        }
      }
    },
  );

  test.serial(`${name}: none begins inside another one, whose changes stay what they are`, async (t) => {
    const connection = await world.connect();
    for (const open of ['begin', 'set autocommit = 0', 'lock tables row_ write']) {
      await connection.query(open);
      await connection.query('update row_ set v = 3 where id = 7');
      const begun = await carryOut(connection, begin(xa()));
      t.like(begun, { kind: 'failed', closes: false, failure: { kind: 'refused', refusal: { code: '25001' } } }, open);
      await connection.query('rollback');
      await connection.query('unlock tables');
      await connection.query('set autocommit = 1');
      await isFree(t, connection);
    }
  });
}
