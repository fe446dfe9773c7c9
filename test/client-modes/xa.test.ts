import test from 'ava';
import type pg from 'pg';
import {
  CodedError,
  FailureError,
  OngoingError,
  postgresXa,
  runXa,
  serveXa,
  type BranchIdentity,
} from '../../src/client/index.ts';
import { until } from '../coordinator/started.ts';
import {
  add,
  type Bank,
  gidOf,
  type BankServer,
  type Service,
  startBankServer,
  startService,
  startWorld,
  type World,
} from './support.ts';

// Each test has its own gids: a server knows a prepared transaction by its name, whatever the database.
let server: BankServer;
test.before(async () => {
  server = await startBankServer();
});
test.after.always(() => server[Symbol.asyncDispose]());

const registered = (): Promise<void> => Promise.resolve();
const branch = (gid: string, op: BranchIdentity['op'] = 'action', branchId = '01'): BranchIdentity => ({
  gid: gidOf(gid),
  transType: 'xa',
  branchId,
  op,
});

interface Banks extends AsyncDisposable {
  readonly bank: Bank;
  readonly service: Service;
  readonly world: World;
}

/** Money moves between two accounts, each change a branch of its own. */
async function startBanks(): Promise<Banks> {
  const stack = new AsyncDisposableStack();
  const bank = stack.use(await server.open());
  const world = stack.use(await startWorld());
  const xa = postgresXa(bank.pool);
  const move = (amount: number) => (request: Parameters<typeof serveXa>[0]) =>
    serveXa(request, world.dtm, xa, async (tx: pg.PoolClient) => {
      await add(tx, amount < 0 ? 'a' : 'b', amount);
      return { moved: amount };
    });
  const service = stack.use(await startService({ '/out': move(-30), '/in': move(30), '/too-much': move(-1000) }));
  return { bank, service, world, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

test('branches are prepared, nothing is seen, and then all is committed', async (t) => {
  await using banks = await startBanks();
  const { bank, service, world } = banks;
  const answers = await runXa(world.dtm, { gid: gidOf('x1'), waitResult: true }, async (xa) => {
    const out = await xa.callBranch({ url: `${service.url}/out`, body: {} });
    const into = await xa.callBranch({ url: `${service.url}/in` });
    t.is(await bank.preparedCount(), 2);
    t.is(await bank.amountOf('a'), 100);
    return [out.json(), into.json()];
  });
  t.deepEqual(answers, [{ moved: -30 }, { moved: 30 }]);
  t.deepEqual([await bank.amountOf('a'), await bank.amountOf('b')], [70, 130]);
  t.is(await bank.preparedCount(), 0);
  t.deepEqual(service.calls.slice(2).toSorted(), ['commit 01 /out', 'commit 02 /in']);
});

test('when one local phase fails, all is rolled back', async (t) => {
  await using banks = await startBanks();
  const { bank, service, world } = banks;
  const error = await t.throwsAsync(
    runXa(world.dtm, { gid: gidOf('x2') }, async (xa) => {
      await xa.callBranch({ url: `${service.url}/in` });
      await xa.callBranch({ url: `${service.url}/too-much` });
    }),
    { instanceOf: CodedError },
  );
  // The database's own refusal is no word of the protocol.
  t.is(error?.code, 'OUTCOME_UNKNOWN');
  await until('it is rolled back', async () => (await world.statusOf('x2')) === 'failed');
  t.deepEqual([await bank.amountOf('a'), await bank.amountOf('b')], [100, 100]);
  t.is(await bank.preparedCount(), 0);
});

test('every operation may be repeated, and the repetition changes nothing', async (t) => {
  await using bank = await server.open();
  const xa = postgresXa(bank.pool, { lockTimeoutMs: 200 });
  const out = (tx: pg.PoolClient) => add(tx, 'a', -30);
  t.is((await xa.prepare(branch('x3'), registered, out)).kind, 'prepared');
  t.is((await xa.prepare(branch('x3'), registered, out)).kind, 'repeated');
  for (let time = 0; time < 3; time += 1) await xa.finish(branch('x3', 'commit'));
  t.is((await xa.prepare(branch('x3'), registered, out)).kind, 'repeated');
  t.is(await bank.amountOf('a'), 70);

  await xa.prepare(branch('y3'), registered, out);
  for (let time = 0; time < 3; time += 1) await xa.finish(branch('y3', 'rollback'));
  t.is(await bank.amountOf('a'), 70);
});

test('a local phase that comes after its rollback fails for good and leaves nothing', async (t) => {
  await using bank = await server.open();
  const xa = postgresXa(bank.pool);
  await xa.finish(branch('x4', 'rollback'));
  await t.throwsAsync(
    xa.prepare(branch('x4'), registered, (tx) => add(tx, 'a', -30)),
    { instanceOf: FailureError },
  );
  t.deepEqual([await bank.preparedCount(), await bank.amountOf('a')], [0, 100]);
});

test('a rollback that meets a local phase under way waits its turn: ongoing, and then rolled back', async (t) => {
  await using bank = await server.open();
  const xa = postgresXa(bank.pool, { lockTimeoutMs: 150 });
  const held = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const local = xa.prepare(branch('x5'), registered, async (tx) => {
    await add(tx, 'a', -30);
    begun.resolve();
    await held.promise;
  });
  await begun.promise;
  await t.throwsAsync(xa.finish(branch('x5', 'rollback')), { instanceOf: OngoingError });
  await t.throwsAsync(
    xa.prepare(branch('x5'), registered, (tx) => add(tx, 'a', -30)),
    { instanceOf: OngoingError },
  );
  held.resolve();
  t.is((await local).kind, 'prepared');
  await xa.finish(branch('x5', 'rollback'));
  t.deepEqual([await bank.preparedCount(), await bank.amountOf('a')], [0, 100]);
});

test('an unknown name is no success of a commit, as it is in DTM', async (t) => {
  await using bank = await server.open();
  const xa = postgresXa(bank.pool);
  const error = await t.throwsAsync(xa.finish(branch('x6', 'commit')), { instanceOf: CodedError });
  t.is(error?.code, 'OUTCOME_UNKNOWN');
  // Asking has left no trace: the local phase can still come.
  t.is((await xa.prepare(branch('x6'), registered, (tx) => add(tx, 'a', -1))).kind, 'prepared');
  await xa.finish(branch('x6', 'commit'));
  t.is(await bank.amountOf('a'), 99);
});

test('a commit of what was rolled back is no success either', async (t) => {
  await using bank = await server.open();
  const xa = postgresXa(bank.pool);
  await xa.prepare(branch('x10'), registered, (tx) => add(tx, 'a', -30));
  await xa.finish(branch('x10', 'rollback'));
  await t.throwsAsync(xa.finish(branch('x10', 'commit')), { instanceOf: CodedError, code: 'OUTCOME_UNKNOWN' });
  await xa.prepare(branch('x11'), registered, (tx) => add(tx, 'a', -30));
  await xa.finish(branch('x11', 'commit'));
  await t.throwsAsync(xa.finish(branch('x11', 'rollback')), { instanceOf: CodedError, code: 'OUTCOME_UNKNOWN' });
  t.is(await bank.amountOf('a'), 70);
});

test('a branch that cannot be registered is not prepared', async (t) => {
  await using bank = await server.open();
  const xa = postgresXa(bank.pool);
  const refuse = (): Promise<void> => Promise.reject(new Error('no coordinator'));
  await t.throwsAsync(
    xa.prepare(branch('x7'), refuse, (tx) => add(tx, 'a', -30)),
    { message: 'no coordinator' },
  );
  t.is(await bank.preparedCount(), 0);
  t.is(await bank.amountOf('a'), 100);
});

test('a swallowed error of a statement is not taken for a prepared branch', async (t) => {
  await using bank = await server.open();
  const xa = postgresXa(bank.pool);
  const error = await t.throwsAsync(
    xa.prepare(branch('x8'), registered, async (tx) => void (await tx.query('select 1/0').catch(() => undefined))),
    { instanceOf: CodedError },
  );
  t.is(error?.code, 'TRANSACTION_ROLLED_BACK');
});

test('a server that does not prepare transactions is named, and what to set', async (t) => {
  await using plain = await startBankServer({ max_prepared_transactions: '0' });
  await using bank = await plain.open();
  const error = await t.throwsAsync(
    postgresXa(bank.pool).prepare(branch('x9'), registered, (tx) => add(tx, 'a', -1)),
    { instanceOf: CodedError },
  );
  t.regex(error?.hint ?? '', /max_prepared_transactions/);
  t.is(await bank.amountOf('a'), 100);
});
