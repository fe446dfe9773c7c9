import test from 'ava';
import type pg from 'pg';
import {
  type BarrierStore,
  CodedError,
  type DtmClient,
  FailureError,
  newMessage,
  type NewMessage,
  OngoingError,
  postgresBarrier,
  serveBehindBarrier,
  serveQueryPrepared,
} from '../../src/client/index.ts';
import { until } from '../coordinator/started.ts';
import {
  add,
  type Bank,
  type BankServer,
  gidOf,
  type Service,
  startBankServer,
  startService,
  startWorld,
  type World,
} from './support.ts';

let server: BankServer;
test.before(async () => {
  server = await startBankServer();
});
test.after.always(() => server[Symbol.asyncDispose]());

type Store = BarrierStore<pg.PoolClient, never>;
type Parts = Pick<Store, 'call' | 'queryPrepared'>;

interface Shop extends AsyncDisposable {
  readonly bank: Bank;
  readonly store: Parts;
  readonly service: Service;
  readonly world: World;
  readonly queryPrepared: string;
  message(gid: string, options?: Partial<NewMessage>): ReturnType<typeof newMessage>;
}

/** `a` pays in a local transaction; the message has `b` get it. */
async function startShop(): Promise<Shop> {
  const stack = new AsyncDisposableStack();
  const bank = stack.use(await server.open());
  const world = stack.use(await startWorld());
  const store = postgresBarrier(bank.pool);
  const service = stack.use(
    await startService({
      '/grant': (request) => serveBehindBarrier(request, store, (tx: pg.PoolClient) => add(tx, 'b', 30)),
      '/ask': (request) => serveQueryPrepared(request, store),
    }),
  );
  return {
    bank,
    store,
    service,
    world,
    queryPrepared: `${service.url}/ask`,
    message: (gid, options = {}) =>
      newMessage(world.dtm, {
        gid: gidOf(gid),
        steps: [{ action: `${service.url}/grant`, payload: {} }],
        waitResult: true,
        ...options,
      }),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

const pay = (tx: pg.PoolClient): Promise<string> => add(tx, 'a', -30).then(() => 'paid');

test('the local transaction commits and the message is delivered, once however often it is asked for', async (t) => {
  await using shop = await startShop();
  const message = shop.message('m');
  t.deepEqual(await message.doAndSubmit(shop.queryPrepared, shop.store, pay), { kind: 'done', value: 'paid' });
  t.deepEqual([await shop.bank.amountOf('a'), await shop.bank.amountOf('b')], [70, 130]);
  t.is(await shop.world.statusOf('m'), 'succeed');
  await t.throwsAsync(message.prepare(shop.queryPrepared), { instanceOf: FailureError });
  t.deepEqual(await shop.message('m').doAndSubmit(shop.queryPrepared, shop.store, pay), { kind: 'repeated' });
  t.deepEqual([await shop.bank.amountOf('a'), await shop.bank.amountOf('b')], [70, 130]);
});

test('a message that was given up is not revived by doing it again', async (t) => {
  await using shop = await startShop();
  const refused = shop
    .message('m')
    .doAndSubmit(shop.queryPrepared, shop.store, () => Promise.reject(new FailureError('no')));
  await t.throwsAsync(refused, { instanceOf: FailureError });
  await t.throwsAsync(shop.message('m').doAndSubmit(shop.queryPrepared, shop.store, pay), { instanceOf: FailureError });
  t.deepEqual([await shop.bank.amountOf('a'), await shop.bank.amountOf('b')], [100, 100]);
  t.is(await shop.world.statusOf('m'), 'failed');
});

test('a submit that does not arrive after the commit is no error: the back-check has it delivered', async (t) => {
  await using shop = await startShop();
  const lost = new CodedError('COORDINATOR_UNREACHABLE', 'nobody is there', { retry: 'safe' });
  const dtm: DtmClient = { ...shop.world.dtm, submit: () => Promise.reject(lost) };
  for (const waitResult of [false, true]) {
    const gid = `m-${waitResult}`;
    const message = newMessage(dtm, {
      gid: gidOf(gid),
      steps: [{ action: `${shop.service.url}/grant`, payload: {} }],
      timeoutToFailMs: 1000,
      waitResult,
    });
    const done = message.doAndSubmit(shop.queryPrepared, shop.store, pay);
    if (waitResult) await t.throwsAsync(done, { instanceOf: OngoingError });
    else t.deepEqual(await done, { kind: 'done', value: 'paid' });
    await until('the message is delivered', async () => (await shop.world.statusOf(gid)) === 'succeed');
  }
  t.deepEqual([await shop.bank.amountOf('a'), await shop.bank.amountOf('b')], [40, 160]);
});

test('what the work throws rolls back and is passed on, and nothing is ever delivered', async (t) => {
  for (const error of [new FailureError('no'), new Error('a defect')]) {
    await using shop = await startShop();
    const work = async (tx: pg.PoolClient): Promise<void> => {
      await add(tx, 'a', -30);
      throw error;
    };
    const thrown = await t.throwsAsync(shop.message('m').doAndSubmit(shop.queryPrepared, shop.store, work));
    t.is(thrown, error);
    t.is(await shop.world.statusOf('m'), 'failed');
    t.deepEqual([await shop.bank.amountOf('a'), await shop.bank.amountOf('b')], [100, 100]);
    t.deepEqual(shop.service.calls, []);
  }
});

test('an initiator that dies after its commit: the coordinator asks, and delivers', async (t) => {
  await using shop = await startShop();
  const dying: Parts = {
    call: async (branch, work) => {
      await shop.store.call(branch, work);
      throw new Error('the process is gone');
    },
    queryPrepared: () => Promise.reject(new Error('the process is gone')),
  };
  const message = shop.message('m', { timeoutToFailMs: 1000 });
  const error = await t.throwsAsync(message.doAndSubmit(shop.queryPrepared, dying, pay), { instanceOf: CodedError });
  t.is(error?.code, 'OUTCOME_UNKNOWN');
  await until('the message is delivered', async () => (await shop.world.statusOf('m')) === 'succeed');
  t.deepEqual([await shop.bank.amountOf('a'), await shop.bank.amountOf('b')], [70, 130]);
  t.deepEqual(shop.service.calls.toSorted(), ['action 01 /grant', 'msg 00 /ask']);
});

test('an initiator that dies before its transaction: the coordinator asks, and the late transaction is kept out', async (t) => {
  await using shop = await startShop();
  const message = shop.message('m', { timeoutToFailMs: 20 });
  await message.prepare(shop.queryPrepared);
  await until('the message is given up', async () => (await shop.world.statusOf('m')) === 'failed');
  const outcome = await shop.store.call({ gid: gidOf('m'), transType: 'msg', branchId: '00', op: 'msg' }, pay);
  t.is(outcome.kind, 'fenced');
  t.deepEqual([await shop.bank.amountOf('a'), await shop.bank.amountOf('b')], [100, 100]);
});

test('a back-check that comes first fails the message, with a reason', async (t) => {
  await using shop = await startShop();
  const slow: Parts = {
    ...shop.store,
    call: async (branch, work) => {
      await until('the coordinator has asked', async () => (await shop.world.statusOf('m')) === 'failed');
      return shop.store.call(branch, work);
    },
  };
  const message = shop.message('m', { timeoutToFailMs: 20 });
  await t.throwsAsync(message.doAndSubmit(shop.queryPrepared, slow, pay), {
    instanceOf: FailureError,
    message: /given up/,
  });
  t.is(await shop.bank.amountOf('a'), 100);
});

test('a commit whose answer was lost is looked up, and the message delivered', async (t) => {
  await using shop = await startShop();
  const lossy: Parts = {
    ...shop.store,
    call: async (branch, work) => {
      await shop.store.call(branch, work);
      throw new Error('connection lost');
    },
  };
  t.deepEqual(await shop.message('m').doAndSubmit(shop.queryPrepared, lossy, pay), { kind: 'repeated' });
  t.deepEqual([await shop.bank.amountOf('a'), await shop.bank.amountOf('b')], [70, 130]);
});

test('without a transaction of its own a message is submitted at once, after its delay', async (t) => {
  await using shop = await startShop();
  await shop.message('now').submit();
  t.is(await shop.bank.amountOf('b'), 130);
  await shop.message('later', { delayMs: 300, waitResult: false }).submit();
  t.is(await shop.world.statusOf('later'), 'submitted');
  await until('it is delivered', async () => (await shop.world.statusOf('later')) === 'succeed');
  t.is(await shop.bank.amountOf('b'), 160);
});

test('an aborted message is not delivered, whoever asks', async (t) => {
  await using shop = await startShop();
  const message = shop.message('m');
  await message.prepare(shop.queryPrepared);
  await message.abort('changed my mind');
  await t.throwsAsync(message.submit(), { instanceOf: FailureError });
  t.deepEqual(shop.service.calls, []);
});
