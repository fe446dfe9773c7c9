import test from 'ava';
import type { Connection } from 'mysql2/promise';
import { createBarrier } from '../../../proxy/mysql/barrier.ts';
import { schemaStatements } from '../../../proxy/mysql/schema.ts';
import type { GlobalStatus } from '../../../src/contract/transaction.ts';
import type { BranchId, Gid } from '../../../src/contract/transaction.ts';
import type { TransactionView } from '../../../src/contract/messages.ts';
import { newGid } from '../../../src/platform/random.ts';
import { SERVERS, openWorld, rowsOf, type World } from './world.ts';

const branch = '01' as BranchId;
const of = (gid: Gid, task: 'try' | 'confirm' | 'cancel' | 'action' | 'compensate') => ({ gid, branch, task });
const ISOLATIONS = ['read committed', 'repeatable read'];
const DAY_MS = 86_400_000;

interface Entered {
  readonly outcome: string;
  readonly id: number;
}

let ids = 0;

/** Enters an operation in the local transaction that is open, as a session does. */
async function enter(connection: Connection, gid: Gid, op: string, id: number = (ids -= 1)): Promise<string> {
  const [type, of_] = op === 'msg' ? ['msg', '00'] : ['saga', branch];
  const [rows] = await rowsOf<readonly Entered[]>(connection, 'CALL atomesh.enter_operation(?, ?, ?, ?, ?)', [
    type,
    gid,
    of_,
    op,
    id,
  ]);
  return rows?.[0]?.outcome ?? 'nothing';
}

for (const [name, start] of SERVERS) {
  let world: World;
  let barrier: ReturnType<typeof createBarrier>;
  const statuses = new Map<string, GlobalStatus>();

  test.before(`${name} is started`, async () => {
    world = await openWorld(start, 'create table note (id int primary key)');
    const read = (gid: Gid): Promise<TransactionView | undefined> => {
      const status = statuses.get(gid);
      return Promise.resolve(status === undefined ? undefined : ({ gid, status } as TransactionView));
    };
    barrier = createBarrier({ connection: world.login, coordinator: { read } });
  });
  test.after.always(`${name} is stopped`, async () => {
    await barrier?.close();
    await world?.[Symbol.asyncDispose]();
  });

  for (const isolation of ISOLATIONS) {
    const begun = async (): Promise<Connection> => {
      const connection = await world.connect(isolation);
      // A snapshot from before anything that follows.
      await connection.query('begin; select * from note');
      return connection;
    };
    const on = `${name}, ${isolation}`;

    test.serial(
      `${on}: an action takes effect once, then its compensation does, and the action never again`,
      async (t) => {
        const gid = newGid();
        t.is(await barrier.arrive(of(gid, 'action')), 'open');
        const [first, late, last] = [await begun(), await begun(), await begun()];
        t.is(await enter(first, gid, 'action', -7), 'entered');
        t.is(await enter(first, gid, 'action', -7), 'entered');
        await first.query('commit');
        t.is(await barrier.arrive(of(gid, 'action')), 'done');
        t.is(await barrier.complete(of(gid, 'action')), 'done');
        t.is(await enter(late, gid, 'action'), 'done');
        await late.query('rollback');
        t.is(await barrier.arrive(of(gid, 'compensate')), 'open');
        t.is(await enter(last, gid, 'compensate'), 'entered');
        await last.query('commit');
        t.is(await barrier.arrive(of(gid, 'compensate')), 'done');
      },
    );

    test.serial(
      `${on}: a compensation without its action is absorbed, and the action that comes late is kept out`,
      async (t) => {
        const gid = newGid();
        const late = await begun();
        t.is(await barrier.arrive(of(gid, 'compensate')), 'absorbed');
        t.is(await barrier.arrive(of(gid, 'compensate')), 'done');
        t.is(await enter(late, gid, 'action'), 'late');
        await late.query('rollback');
        t.is(await barrier.arrive(of(gid, 'action')), 'fenced');
        t.is(await barrier.complete(of(gid, 'action')), 'fenced');
      },
    );

    test.serial(
      `${on}: a compensation waits for an open local transaction, then undoes it, or is absorbed`,
      async (t) => {
        for (const [end, arrival] of [
          ['commit', 'open'],
          ['rollback', 'absorbed'],
        ] as const) {
          const gid = newGid();
          const action = await begun();
          t.is(await enter(action, gid, 'action'), 'entered');
          t.is(await barrier.arrive(of(gid, 'compensate')), 'busy');
          await action.query(end);
          t.is(await barrier.arrive(of(gid, 'compensate')), arrival, end);
        }
      },
    );

    test.serial(
      `${on}: a duplicate waits for the first: it is told when that commits, and goes on when it rolls back`,
      async (t) => {
        for (const [end, outcome] of [
          ['commit', 'done'],
          ['rollback', 'entered'],
        ] as const) {
          const gid = newGid();
          const [first, second] = [await begun(), await begun()];
          t.is(await enter(first, gid, 'action'), 'entered');
          const waiting = enter(second, gid, 'action');
          await first.query(end);
          t.is(await waiting, outcome, end);
          await second.query('rollback');
        }
      },
    );

    test.serial(`${on}: a rollback to a savepoint takes the row back, and entering again writes it`, async (t) => {
      const gid = newGid();
      const connection = await begun();
      await connection.query('savepoint s');
      t.is(await enter(connection, gid, 'action', -9), 'entered');
      await connection.query('rollback to savepoint s');
      t.is(await enter(connection, gid, 'action', -9), 'entered');
      await connection.query('commit');
      t.deepEqual(await world.lines(`select op, reason, id from atomesh.barrier where gid = '${gid}'`), [
        'action action -9',
      ]);
    });

    test.serial(`${on}: what cannot change anything writes no row`, async (t) => {
      const connection = await world.connect(isolation);
      await connection.query('start transaction read only');
      t.is(await enter(connection, newGid(), 'action'), 'read-only');
      await connection.query('rollback');
    });

    test.serial(`${on}: a message and its back-check, in every order`, async (t) => {
      const [sent, never, late, open] = [newGid(), newGid(), newGid(), newGid()];
      const [first, second, third] = [await begun(), await begun(), await begun()];
      t.is(await enter(first, sent, 'msg'), 'entered');
      await first.query('commit');
      t.is(await barrier.backCheck(sent), 'committed');
      t.is(await barrier.backCheck(never), 'rolled-back');
      t.is(await barrier.backCheck(late), 'rolled-back');
      t.is(await enter(second, late, 'msg'), 'late');
      await second.query('rollback');
      t.is(await enter(third, open, 'msg'), 'entered');
      const asked = barrier.backCheck(open);
      await third.query('commit');
      t.is(await asked, 'committed');
    });
  }

  test.serial(`${name}: of many at once one absorbs, and the others find it done`, async (t) => {
    const gid = newGid();
    const answers = await Promise.all(Array.from({ length: 12 }, () => barrier.arrive(of(gid, 'cancel'))));
    t.is(answers.filter((answer) => answer === 'absorbed').length, 1);
    t.is(answers.filter((answer) => answer === 'done').length, 11);
  });

  test.serial(
    `${name}: the first answer is kept with its row, and half of an operation goes before all else`,
    async (t) => {
      const gid = newGid();
      const answer = { status: 201, headers: ['x-a', "ü'\\"], body: Buffer.from([0, 1, 255, 39, 92]) };
      t.is(await barrier.answerOf(of(gid, 'try')), undefined);
      t.is(await barrier.complete(of(gid, 'try'), answer), 'done');
      t.is(await barrier.complete(of(gid, 'try'), { ...answer, status: 500 }), 'done');
      t.deepEqual(await barrier.answerOf(of(gid, 'try')), answer);
      await barrier.halve(of(gid, 'try'));
      await barrier.halve(of(gid, 'try'));
      t.is(await barrier.arrive(of(gid, 'try')), 'half');
      t.is(await barrier.complete(of(gid, 'try')), 'half');
    },
  );

  test.serial(
    `${name}: rows go when their gid has had none for long and its transaction is over, and not before`,
    async (t) => {
      const { admin } = world;
      await admin.query('delete from atomesh.barrier');
      const gids = ['over', 'foreign', 'forgotten', 'unfinished', 'young', 'lively'];
      for (const gid of gids) await barrier.complete(of(gid as Gid, 'action'));
      await admin.query("update atomesh.barrier set create_time = now() - interval 3 day where gid <> 'young'");
      await admin.query("update atomesh.barrier set create_time = now() - interval 32 day where gid = 'forgotten'");
      const many = Array.from({ length: 1100 }, (_, n) => ['saga', 'over', String(1000 + n), 'action', '01', 'action']);
      await admin.query('insert into atomesh.barrier (trans_type, gid, branch_id, op, barrier_id, reason) values ?', [
        many,
      ]);
      await admin.query(
        "update atomesh.barrier set create_time = now() - interval 2 day where gid = 'over' and branch_id <> '01'",
      );
      await barrier.complete(of('lively' as Gid, 'confirm'));
      for (const gid of ['over', 'young', 'lively']) statuses.set(gid, 'succeed');
      statuses.set('unfinished', 'aborting');
      t.is(await barrier.cleanUp(DAY_MS), 1102);
      t.is(await barrier.cleanUp(DAY_MS), 0);
      t.deepEqual(await world.lines('select distinct gid from atomesh.barrier order by gid'), [
        'foreign',
        'lively',
        'unfinished',
        'young',
      ]);
    },
  );
}

test.serial('a snapshot that MariaDB holds on to does not keep what is newer from being found', async (t) => {
  const [[, start] = []] = SERVERS;
  if (start === undefined) return t.fail();
  await using world = await openWorld(start, 'create table note (id int primary key)');
  // What is on from 11.6 on can be switched on here, and so can be what is written for it.
  for (const sql of schemaStatements()) await world.admin.query(sql.replaceAll('M!110602', 'M!101108'));
  const barrier = createBarrier({ connection: world.login, coordinator: { read: async () => undefined } });
  const [gid, action] = [newGid(), await world.connect('repeatable read')];
  await action.query('set innodb_snapshot_isolation = on; begin; select * from note');
  t.is(await barrier.arrive(of(gid, 'compensate')), 'absorbed');
  await barrier.close();
  t.is(await enter(action, gid, 'action'), 'late');
});
