/** How the barrier uses a MongoDB driver, shown on a model of one. No real server is behind these tests: see `docs/barrier.md`. */
import test from 'ava';
import { ObjectId } from 'mongodb';
import { mongoBarrier } from '../../src/client/barrier/mongo.ts';
import type { BranchOperation } from '../../src/client/barrier/types.ts';
import { CodedError } from '../../src/contract/errors.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { ModelClient, type ModelCollection, ModelError } from './mongo-model.ts';
import { branch } from './world.ts';

const GID = 'g' as Gid;
const DAY_MS = 86_400_000;

/** Timers of the clock do not keep a process, and a model has no sockets that would. */
const alive = setInterval(() => undefined, 1000);
test.after.always(() => clearInterval(alive));

/** A barrier on a model of its own; `work` counts how often something took effect. */
function opened(table = 'dtm_barrier.barrier') {
  const client = new ModelClient();
  const [database = '', name = ''] = table.split('.');
  const collection: ModelCollection = client.db(database).collection(name);
  const barrier = mongoBarrier(client, { table });
  let effects = 0;
  const ask = async (op: BranchOperation) =>
    (await barrier.call(branch(GID, op), () => Promise.resolve((effects += 1)))).kind;
  const rows = () =>
    collection.documents.map(({ trans_type: type, branch_id: id, op, barrier_id: barrierId, reason }) =>
      [type, id, op, barrierId, reason].join(' '),
    );
  return { client, collection, barrier, ask, rows, effects: () => effects };
}

test('an operation takes effect once, and its document is the one that DTM writes', async (t) => {
  const { ask, rows, effects, collection } = opened();
  t.deepEqual([await ask('action'), await ask('action'), await ask('compensate')], ['done', 'repeated', 'done']);
  t.is(effects(), 2);
  t.deepEqual(rows(), ['saga 01 action 01 action', 'saga 01 compensate 01 compensate']);
  const [document] = collection.documents;
  t.deepEqual(Object.keys(document ?? {}).toSorted(), [
    '_id',
    'barrier_id',
    'branch_id',
    'gid',
    'op',
    'reason',
    'trans_type',
  ]);
});

for (const [op, undo] of [
  ['action', 'compensate'],
  ['try', 'cancel'],
  ['action', 'rollback'],
] as const) {
  test(`${undo} without ${op} is absorbed, and fences ${op} for ever`, async (t) => {
    const { ask, effects } = opened();
    t.deepEqual([await ask(undo), await ask(op), await ask(undo)], ['absorbed', 'fenced', 'repeated']);
    t.is(effects(), 0);
  });
}

test('equal requests at once take effect once, and all are told so', async (t) => {
  const { ask, effects } = opened();
  const kinds = await Promise.all(Array.from({ length: 8 }, () => ask('action')));
  t.deepEqual(kinds.toSorted(), ['done', ...Array.from({ length: 7 }, () => 'repeated')]);
  // Work is done again in the transactions that are given up, as MongoDB's own withTransaction does: they leave nothing.
  t.true(effects() >= 1);
});

test('a back-check finds what has committed and fences what has not, in whatever collection', async (t) => {
  const { ask, barrier, rows } = opened('shop.custom');
  t.is(await ask('msg'), 'done');
  t.is(await barrier.queryPrepared(GID), 'committed');
  t.is(await barrier.queryPrepared('h' as Gid), 'rolled-back');
  const late = await barrier.call(branch('h' as Gid, 'msg'), () => Promise.resolve(t.fail()));
  t.is(late.kind, 'fenced');
  t.deepEqual(rows(), ['msg 00 msg 01 msg', 'msg 00 msg 01 rollback']);
});

test('work that fails leaves nothing, and its error is passed on', async (t) => {
  const { barrier, rows, ask } = opened();
  const refusal = new Error('no money');
  t.is(await t.throwsAsync(barrier.call(branch(GID, 'action'), () => Promise.reject(refusal))), refusal);
  t.deepEqual(rows(), []);
  t.is(await ask('action'), 'done');
});

test('a transaction that cannot be started is an error and no success', async (t) => {
  const { client, ask, effects } = opened();
  client.faults.start.push(new Error('no session'));
  await t.throwsAsync(ask('action'), { message: 'no session' });
  t.is(effects(), 0);
  t.is(await ask('action'), 'done');
});

test('a transaction reads a snapshot and is committed by the majority', async (t) => {
  const { client, ask } = opened();
  await ask('action');
  t.like(client.startedWith[0], { readConcern: { level: 'snapshot' }, writeConcern: { w: 'majority' } });
});

test('a commit without an answer is asked for again; when there is none at all, the same request tells the outcome', async (t) => {
  const { client, ask, effects, rows } = opened();
  const unknown = new ModelError('UnknownTransactionCommitResult');
  client.faults.commit.push({ error: unknown, isDone: true });
  t.is(await ask('action'), 'done');
  t.is(effects(), 1);

  for (let times = 0; times < 5; times += 1) client.faults.commit.push({ error: unknown, isDone: true });
  t.like(await t.throwsAsync(ask('compensate'), { instanceOf: CodedError }), {
    code: 'OUTCOME_UNKNOWN',
    retry: 'safe',
  });
  t.is(await ask('compensate'), 'repeated');
  t.is(rows().length, 2);
});

test('a transaction that the server gave up is done again', async (t) => {
  const { client, ask, rows } = opened();
  client.faults.commit.push({ error: new ModelError('TransientTransactionError', 251), isDone: false });
  t.is(await ask('action'), 'done');
  t.deepEqual(rows(), ['saga 01 action 01 action']);
});

test('a session outside of a transaction is refused', async (t) => {
  const { client, barrier, rows } = opened();
  const session = client.startSession();
  const outside = barrier.within(session, branch(GID, 'action'), () => Promise.resolve(t.fail()));
  await t.throwsAsync(outside, { instanceOf: CodedError, message: 'the connection is not in a transaction' });
  session.startTransaction({});
  t.is((await barrier.within(session, branch(GID, 'action'), () => Promise.resolve())).kind, 'done');
  await session.commitTransaction();
  t.is(rows().length, 1);
});

test('documents beyond the age go, batch by batch, and younger ones stay; the index is the one that DTM makes', async (t) => {
  const { collection, barrier, ask } = opened();
  const old = Date.UTC(2020, 0, 1) / 1000;
  for (let index = 0; index < 25; index += 1) {
    collection.documents.push({ _id: ObjectId.createFromTime(old + index), gid: `old-${index}` });
  }
  await ask('action');
  const isOver = (gid: string) => Promise.resolve(gid !== 'old-3');
  t.is(await barrier.clean({ olderThanMs: 7 * DAY_MS, batchRows: 10, isOver }), 24);
  t.is(await barrier.clean({ olderThanMs: 7 * DAY_MS }), 1);
  t.is(collection.documents.length, 1);
  await barrier.createIndex();
  t.deepEqual(collection.indexes, [
    { keys: { gid: 1, branch_id: 1, op: 1, barrier_id: 1 }, options: { unique: true } },
  ]);
  t.throws(() => mongoBarrier(new ModelClient(), { table: 'nodatabase' }), { instanceOf: CodedError });
});
