/** The laws of `BarrierStore` (src/client/barrier/types.ts) for SQL databases: what holds when one request follows another. */
import type { TestFn } from 'ava';
import { CodedError } from '../../src/contract/errors.ts';
import { newGid } from '../../src/platform/random.ts';
import { branch, opened, type World } from './world.ts';

/** Days of two digits fit between "old" and "young enough" without anybody having to wait. */
const DAY_MS = 86_400_000;

export function barrierLaws(test: TestFn, world: () => World): void {
  takesEffectOnce(test, world);
  undoes(test, world);
  answersBackChecks(test, world);
  keepsTransactions(test, world);
  cleansUp(test, world);
}

function takesEffectOnce(test: TestFn, world: () => World): void {
  test('an operation takes effect once, however often it is asked for, and its row is the one that DTM writes', async (t) => {
    const gid = await opened(world());
    const barrier = world().barrier();
    const act = () =>
      barrier.call(branch(gid, 'action'), (tx) =>
        world()
          .add(tx, gid, 1)
          .then(() => 'first'),
      );
    t.deepEqual(await act(), { kind: 'done', value: 'first' });
    t.deepEqual(await act(), { kind: 'repeated' });
    t.deepEqual(await act(), { kind: 'repeated' }, 'one and the same barrier object counts nothing');
    t.is(await world().total(gid), 1);
    t.deepEqual(await world().rows(gid), ['saga 01 action 01 action']);
  });

  test('an operation whose work fails leaves no row, passes the error on, and can be asked for again', async (t) => {
    const gid = await opened(world());
    const barrier = world().barrier();
    const refusal = new Error('no money');
    const failing = barrier.call(branch(gid, 'try'), async (tx) => {
      await world().add(tx, gid, 1);
      throw refusal;
    });
    t.is(await t.throwsAsync(failing), refusal);
    t.deepEqual(await world().rows(gid), []);
    t.like(await barrier.call(branch(gid, 'try'), (tx) => world().add(tx, gid, 1)), { kind: 'done' });
    t.is(await world().total(gid), 1);
  });

  test('two barriers of one request are told apart by the ids that the handler gives them', async (t) => {
    const gid = await opened(world());
    const barrier = world().barrier();
    const handle = async () => [
      (await barrier.call(branch(gid, 'action'), (tx) => world().add(tx, gid, 1))).kind,
      (await barrier.call(branch(gid, 'action'), (tx) => world().add(tx, gid, 10), { barrierId: '02' })).kind,
    ];
    t.deepEqual(await handle(), ['done', 'done']);
    t.deepEqual(await handle(), ['repeated', 'repeated']);
    t.is(await world().total(gid), 11);
  });

  test('a row that a client of DTM wrote counts as our own', async (t) => {
    const gid = await opened(world());
    await world().run(
      `insert into dtm_barrier.barrier(trans_type, gid, branch_id, op, barrier_id, reason) values('saga','${gid}','01','action','01','action')`,
    );
    t.deepEqual(
      await world()
        .barrier()
        .call(branch(gid, 'action'), (tx) => world().add(tx, gid, 1)),
      {
        kind: 'repeated',
      },
    );
    t.is(await world().total(gid), 0);
  });

  test('another table is honoured everywhere', async (t) => {
    const gid = await opened(world());
    const barrier = world().barrier({ table: 'custom_barrier' });
    await barrier.call(branch(gid, 'msg'), (tx) => world().add(tx, gid, 1));
    t.is(await barrier.queryPrepared(gid), 'committed');
    t.deepEqual(await world().rows(gid), []);
    t.deepEqual(await world().rows(gid, 'custom_barrier'), ['msg 00 msg 01 msg']);
    await world().run(`update custom_barrier set create_time = '2020-01-01 00:00:00' where gid = '${gid}'`);
    t.is(await barrier.clean({ olderThanMs: 30 * DAY_MS }), 1);
    t.throws(() => world().barrier({ table: 'a b' }), { instanceOf: CodedError });
  });
}

function undoes(test: TestFn, world: () => World): void {
  for (const [op, undo] of [
    ['action', 'compensate'],
    ['try', 'cancel'],
    ['action', 'rollback'],
  ] as const) {
    test(`${undo} undoes ${op} once`, async (t) => {
      const gid = await opened(world());
      const barrier = world().barrier();
      const ask = async (asked: typeof op | typeof undo, amount: number) =>
        (await barrier.call(branch(gid, asked), (tx) => world().add(tx, gid, amount))).kind;
      t.is(await ask(op, 1), 'done');
      t.is(await ask(undo, -1), 'done');
      t.is(await ask(undo, -1), 'repeated');
      t.is(await ask(op, 1), 'repeated');
      t.is(await world().total(gid), 0);
    });

    test(`${undo} without ${op} is absorbed, and ${op} then comes too late for ever`, async (t) => {
      const gid = await opened(world());
      const barrier = world().barrier();
      const ask = async (asked: typeof op | typeof undo) =>
        (await barrier.call(branch(gid, asked), (tx) => world().add(tx, gid, 1))).kind;
      t.is(await ask(undo), 'absorbed');
      t.is(await ask(op), 'fenced');
      t.is(await ask(undo), 'repeated');
      t.is(await ask(op), 'fenced');
      t.is(await world().total(gid), 0);
      const { transType } = branch(gid, op);
      const undoType = branch(gid, undo).transType;
      t.deepEqual(await world().rows(gid), [`${transType} 01 ${op} 01 ${undo}`, `${undoType} 01 ${undo} 01 ${undo}`]);
    });
  }

  test('confirm does not need its try to be here, and takes effect once', async (t) => {
    const gid = await opened(world());
    const confirm = () =>
      world()
        .barrier()
        .call(branch(gid, 'confirm'), (tx) => world().add(tx, gid, 1));
    t.is((await confirm()).kind, 'done');
    t.is((await confirm()).kind, 'repeated');
    t.deepEqual(await world().rows(gid), ['tcc 01 confirm 01 confirm']);
  });
}

function answersBackChecks(test: TestFn, world: () => World): void {
  test('a back-check finds the committed local transaction of a message', async (t) => {
    const gid = await opened(world());
    const barrier = world().barrier();
    await barrier.call(branch(gid, 'msg'), (tx) => world().add(tx, gid, 1));
    t.is(await barrier.queryPrepared(gid), 'committed');
    t.is(await barrier.queryPrepared(gid), 'committed');
    t.deepEqual(await world().rows(gid), ['msg 00 msg 01 msg']);
  });

  test('a back-check gives up a message without local transaction, which can never commit afterwards', async (t) => {
    const gid = await opened(world());
    const barrier = world().barrier();
    t.is(await barrier.queryPrepared(gid), 'rolled-back');
    t.deepEqual(await barrier.call(branch(gid, 'msg'), (tx) => world().add(tx, gid, 1)), { kind: 'fenced' });
    t.is(await barrier.queryPrepared(gid), 'rolled-back');
    t.is(await world().total(gid), 0);
    t.deepEqual(await world().rows(gid), ['msg 00 msg 01 rollback']);
  });
}

function keepsTransactions(test: TestFn, world: () => World): void {
  test('inside a transaction of the caller, his rollback takes the barrier along', async (t) => {
    const gid = await opened(world());
    const barrier = world().barrier();
    const { tx, query, close } = await world().connect();
    for (const end of ['rollback', 'commit', 'commit']) {
      await query('begin');
      await barrier.within(tx, branch(gid, 'action'), (inside) => world().add(inside, gid, 1));
      await query(end);
    }
    close();
    t.is(await world().total(gid), 1);
  });

  test('a connection outside of a transaction is refused, and leaves nothing', async (t) => {
    const gid = await opened(world());
    const { tx, close } = await world().connect();
    const outside = world()
      .barrier()
      .within(tx, branch(gid, 'compensate'), () => Promise.resolve(t.fail()));
    await t.throwsAsync(outside, { instanceOf: CodedError, message: 'the connection is not in a transaction' });
    close();
    t.deepEqual(await world().rows(gid), []);
  });

  test('a barrier id or an option that cannot be is refused before anything is written', async (t) => {
    const gid = await opened(world());
    const work = () => Promise.resolve(t.fail());
    for (const barrierId of ['', 'x'.repeat(46), "01'", 'ä']) {
      await t.throwsAsync(world().barrier().call(branch(gid, 'action'), work, { barrierId }), {
        instanceOf: CodedError,
      });
    }
    t.throws(() => world().barrier({ attempts: 0 }), { instanceOf: CodedError });
    t.deepEqual(await world().rows(gid), []);
  });
}

function cleansUp(test: TestFn, world: () => World): void {
  const age = async (prefix: string, count: number, createTime: string): Promise<void> => {
    const rows = Array.from(
      { length: count },
      (_, index) => `('saga','${prefix}-${index}','01','action','01','action',${createTime})`,
    );
    await world().run(
      `insert into dtm_barrier.barrier(trans_type, gid, branch_id, op, barrier_id, reason, create_time) values ${rows.join(',')}`,
    );
  };
  const left = (prefix: string): Promise<number> =>
    world().count(`select count(*) as count from dtm_barrier.barrier where gid like '${prefix}-%'`);

  test.serial('rows beyond the age go, batch by batch, and younger ones stay', async (t) => {
    const old = newGid();
    const young = newGid();
    await age(old, 25, "'2020-01-01 00:00:00'");
    await age(young, 5, 'now()');
    t.is(
      await world()
        .barrier()
        .clean({ olderThanMs: 7 * DAY_MS, batchRows: 10 }),
      25,
    );
    t.is(await left(old), 0);
    t.is(await left(young), 5);
  });

  test.serial(
    'rows of transactions that are not over stay, however old, and do not stop the others from going',
    async (t) => {
      const prefix = newGid();
      await age(prefix, 12, "'2020-01-01 00:00:00'");
      const isOver = (gid: string) => Promise.resolve(!gid.endsWith('3'));
      t.is(
        await world()
          .barrier()
          .clean({ olderThanMs: 7 * DAY_MS, batchRows: 5, isOver }),
        11,
      );
      t.is(await left(prefix), 1);
      t.is(
        await world()
          .barrier()
          .clean({ olderThanMs: 7 * DAY_MS }),
        1,
      );
    },
  );

  test.serial('several may clean up at once: each row goes once, and none of them fails', async (t) => {
    const old = newGid();
    await age(old, 300, "'2020-01-01 00:00:00'");
    const cleaning = [10, 25, 40].map((batchRows) =>
      world()
        .barrier()
        .clean({ olderThanMs: 7 * DAY_MS, batchRows }),
    );
    const counts = await Promise.all(cleaning);
    t.is(
      counts.reduce((sum, count) => sum + count, 0),
      300,
    );
    t.is(await left(old), 0);
  });

  test.serial('rows without a time, as DTM leaves them, get the present one and stay', async (t) => {
    const prefix = newGid();
    await age(prefix, 3, 'null');
    await world()
      .barrier()
      .clean({ olderThanMs: 2 * DAY_MS });
    t.is(await left(prefix), 3);
    t.is(await world().count('select count(*) as count from dtm_barrier.barrier where create_time is null'), 0);
  });

  test('no age below two days is accepted', async (t) => {
    for (const olderThanMs of [0, -1, Number.NaN, 2 * DAY_MS - 1, 3 * DAY_MS + 0.5]) {
      await t.throwsAsync(world().barrier().clean({ olderThanMs }), { instanceOf: CodedError });
    }
    const stopped = await world()
      .barrier()
      .clean({ olderThanMs: 2 * DAY_MS, signal: AbortSignal.abort() });
    t.is(stopped, 0);
  });
}
