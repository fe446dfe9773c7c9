import test from 'ava';
import { createClient } from 'redis';
import { type RedisServer, startRedis } from '../../examples/support/redis-server.ts';
import { redisCheckAdjustAmount, redisLocalTransaction, redisQueryPrepared } from '../../src/client/barrier/redis.ts';
import type { BranchOperation } from '../../src/client/barrier/types.ts';
import { FailureError } from '../../src/client/errors.ts';
import { CodedError } from '../../src/contract/errors.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { newGid } from '../../src/platform/random.ts';
import { branch } from '../barrier/world.ts';

let server: RedisServer;
let client: ReturnType<typeof clientOf>;

function clientOf(url: string) {
  return createClient({ url }).on('error', () => undefined);
}

test.before(async () => {
  server = await startRedis();
  client = clientOf(server.url);
  await client.connect();
});

test.after.always(async () => {
  client?.destroy();
  await server?.[Symbol.asyncDispose]();
});

async function stock(amount: number | string): Promise<string> {
  const key = `stock-${newGid()}`;
  await client.set(key, String(amount));
  return key;
}

const adjust = async (key: string, gid: Gid, op: BranchOperation, amount: number) =>
  redisCheckAdjustAmount(client, branch(gid, op), { key, amount });

test('an adjustment takes effect once, and answers the new amount', async (t) => {
  const key = await stock(10);
  const gid = newGid();
  t.deepEqual(await adjust(key, gid, 'action', -3), { kind: 'done', value: 7 });
  t.deepEqual(await adjust(key, gid, 'action', -3), { kind: 'repeated' });
  t.is(await client.get(key), '7');
});

test('a repeated deduction that took the last one is a success: it does not hear that there is none left', async (t) => {
  const key = await stock(1);
  const gid = newGid();
  t.like(await adjust(key, gid, 'try', -1), { kind: 'done', value: 0 });
  t.deepEqual(await adjust(key, gid, 'try', -1), { kind: 'repeated' });
  t.deepEqual(await adjust(key, gid, 'try', -1), { kind: 'repeated' });
});

test('a deduction that finds too little, or nothing at all, fails for good and leaves no trace', async (t) => {
  const key = await stock(2);
  const gid = newGid();
  await t.throwsAsync(adjust(key, gid, 'action', -3), { instanceOf: FailureError, message: /there are 2/ });
  await t.throwsAsync(adjust('stock-nowhere', gid, 'action', -3), {
    instanceOf: FailureError,
    message: /there is none/,
  });
  t.is(await client.exists(`${gid}-01-action-01`), 0);
  t.deepEqual(await adjust(key, gid, 'compensate', 3), { kind: 'absorbed' });
  t.is(await client.get(key), '2');
});

test('what was taken is given back once, and what was not taken is not', async (t) => {
  for (const [op, undo] of [
    ['action', 'compensate'],
    ['try', 'cancel'],
    ['action', 'rollback'],
  ] as const) {
    const key = await stock(5);
    const taken = newGid();
    t.is((await adjust(key, taken, op, -1)).kind, 'done');
    t.deepEqual(await adjust(key, taken, undo, 1), { kind: 'done', value: 5 });
    t.is((await adjust(key, taken, undo, 1)).kind, 'repeated');
    const missed = newGid();
    t.is((await adjust(key, missed, undo, 1)).kind, 'absorbed');
    t.is((await adjust(key, missed, op, -1)).kind, 'fenced');
    t.is((await adjust(key, missed, undo, 1)).kind, 'repeated');
    t.is(await client.get(key), '5');
  }
});

test('nothing to undo is nothing to undo, even where the amount is gone', async (t) => {
  t.deepEqual(await adjust('stock-nowhere', newGid(), 'cancel', 1), { kind: 'absorbed' });
});

test('an undoing that would have to take what is not there has no final failure', async (t) => {
  const key = await stock(0);
  const gid = newGid();
  await adjust(key, gid, 'action', 5);
  await client.set(key, '3');
  const error = await t.throwsAsync(adjust(key, gid, 'compensate', -5), { instanceOf: CodedError });
  t.like(error, { code: 'BRANCH_DIRTY', retry: 'safe' });
  await client.set(key, '5');
  t.deepEqual(await adjust(key, gid, 'compensate', -5), { kind: 'done', value: 0 });
});

test('keys and values are those of DTM’s client, and live as long as they are told', async (t) => {
  const key = await stock(1);
  const gid = newGid();
  await redisCheckAdjustAmount(
    client,
    branch(gid, 'compensate'),
    { key, amount: 1 },
    { expireSeconds: 100, barrierId: '02' },
  );
  t.is(await client.get(`${gid}-01-action-02`), 'rollback');
  t.is(await client.get(`${gid}-01-compensate-02`), 'op');
  const seconds = await client.ttl(`${gid}-01-action-02`);
  t.true(seconds > 90 && seconds <= 100);
  await client.set(`${gid}-01-try-01`, 'op');
  t.deepEqual(await adjust(key, gid, 'try', -1), { kind: 'repeated' });
});

test('an amount that is no integer, or grows too large, is an error that leaves no barrier behind', async (t) => {
  const cases = [
    ['abc', 1],
    ['1.5', 1],
    ['0x10', 1],
    ['9223372036854775807', 1],
  ] as const;
  for (const [value, amount] of cases) {
    const key = await stock(value);
    const gid = newGid();
    await t.throwsAsync(adjust(key, gid, 'action', amount), undefined, value);
    t.is(await client.get(key), value);
    t.is(await client.exists(`${gid}-01-action-01`), 0);
  }
  const key = await stock(1);
  await t.throwsAsync(adjust(key, newGid(), 'action', 0.5), { instanceOf: CodedError });
  const badExpiry = redisCheckAdjustAmount(
    client,
    branch(newGid(), 'action'),
    { key, amount: 1 },
    { expireSeconds: 0 },
  );
  await t.throwsAsync(badExpiry, { instanceOf: CodedError });
});

test('amounts beyond 53 bits stay exact', async (t) => {
  const key = await stock('9007199254740993');
  await adjust(key, newGid(), 'action', -1);
  t.is(await client.get(key), '9007199254740992');
});

test('a back-check finds the message that took effect, and gives up the one that did not', async (t) => {
  const key = await stock(5);
  const sent = newGid();
  await adjust(key, sent, 'msg', -1);
  t.is(await redisQueryPrepared(client, sent), 'committed');
  t.is((await adjust(key, sent, 'msg', -1)).kind, 'repeated');
  const lost = newGid();
  t.is(await redisQueryPrepared(client, lost), 'rolled-back');
  t.is((await adjust(key, lost, 'msg', -1)).kind, 'fenced');
  t.is(await redisQueryPrepared(client, lost), 'rolled-back');
  t.is(await client.get(key), '4');
  t.is(await client.get(`${lost}-00-msg-01`), 'rollback');
});

test('as a local transaction it hands on the new amount, and takes effect once', async (t) => {
  const key = await stock(5);
  const gid = newGid();
  const local = redisLocalTransaction(client, { key, amount: -2 });
  const asked = () => local.call(branch(gid, 'msg'), (left) => Promise.resolve(`${left} left`));
  t.deepEqual(await asked(), { kind: 'done', value: '3 left' });
  t.deepEqual(await asked(), { kind: 'repeated' });
  t.is(await local.queryPrepared(gid), 'committed');
  const given = newGid();
  t.is(await local.queryPrepared(given), 'rolled-back');
  t.deepEqual(await local.call(branch(given, 'msg'), () => Promise.resolve(t.fail())), { kind: 'fenced' });
  t.is(await client.get(key), '3');
});

test('what fails after the adjustment is no failure of the operation, whatever it throws: the amount is taken', async (t) => {
  const key = await stock(5);
  const gid = newGid();
  const local = redisLocalTransaction(client, { key, amount: -2 });
  const error = await t.throwsAsync(
    local.call(branch(gid, 'msg'), () => Promise.reject(new FailureError('too late'))),
    { instanceOf: CodedError },
  );
  t.like(error, { code: 'OUTCOME_UNKNOWN', retry: 'safe' });
  t.is(await local.queryPrepared(gid), 'committed');
  t.is(await client.get(key), '3');
});

test('DTM’s script and ours are one barrier, in every order of four requests', async (t) => {
  const requests = (['dtm', 'ours'] as const).flatMap((who) =>
    (['action', 'compensate'] as const).map((op) => ({ who, op })),
  );
  const orders = [0, 1, 2, 3].reduce<(typeof requests)[]>(
    (before) => before.flatMap((order) => requests.map((request) => [...order, request])),
    [[]],
  );
  t.is(orders.length, 256);
  for (const order of orders) {
    const key = await stock(10);
    const gid = newGid();
    let state: 'new' | 'taken' | 'over' = 'new';
    for (const { who, op } of order) {
      if (who === 'ours') await adjust(key, gid, op, op === 'action' ? -1 : 1);
      else await dtmAdjust(key, gid, op, op === 'action' ? -1 : 1);
      if (op === 'compensate') state = 'over';
      else if (state === 'new') state = 'taken';
      const asked = order.map((request) => `${request.who} ${request.op}`).join(', ');
      t.is(await client.get(key), state === 'taken' ? '9' : '10', asked);
    }
  }
});

/** `RedisCheckAdjustAmount` of DTM's Go client 1.18.7 (client/dtmcli/barrier_redis.go), its script to the letter. */
async function dtmAdjust(key: string, gid: Gid, op: 'action' | 'compensate', amount: number): Promise<void> {
  const originOp = op === 'compensate' ? 'action' : '';
  await client.eval(DTM_SCRIPT, {
    keys: [key, `${gid}-01-${op}-01`, `${gid}-01-${originOp}-01`],
    arguments: [String(amount), originOp, '86400'],
  });
}

const DTM_SCRIPT = ` -- RedisCheckAdjustAmount
local v = redis.call('GET', KEYS[1])
local e1 = redis.call('GET', KEYS[2])

if v == false or v + ARGV[1] < 0 then
	return 'FAILURE'
end

if e1 ~= false then
	return 'DUPLICATE'
end

redis.call('SET', KEYS[2], 'op', 'EX', ARGV[3])

if ARGV[2] ~= '' then
	local e2 = redis.call('GET', KEYS[3])
	if e2 == false then
		redis.call('SET', KEYS[3], 'rollback', 'EX', ARGV[3])
		return
	end
end
redis.call('INCRBY', KEYS[1], ARGV[1])
`;

test('a thousand buyers of a hundred pieces, each asking three times at once, take exactly a hundred', async (t) => {
  const key = await stock(100);
  const clients = await Promise.all(Array.from({ length: 4 }, () => clientOf(server.url).connect()));
  const buy = async (gid: Gid, index: number): Promise<string> => {
    const buyer = clients[index % clients.length] ?? client;
    return redisCheckAdjustAmount(buyer, branch(gid, 'action'), { key, amount: -1 }).then(
      ({ kind }) => kind,
      (error: unknown) => (error instanceof FailureError ? 'refused' : String(error)),
    );
  };
  const gids = Array.from({ length: 1000 }, newGid);
  const answers = await Promise.all(gids.map((gid) => Promise.all([0, 1, 2].map((index) => buy(gid, index)))));
  for (const other of clients) other.destroy();
  const winners = answers.filter((kinds) => kinds.includes('done'));
  t.is(winners.length, 100);
  for (const kinds of winners) t.deepEqual(kinds.toSorted(), ['done', 'repeated', 'repeated']);
  for (const kinds of answers) if (!winners.includes(kinds)) t.deepEqual(kinds, ['refused', 'refused', 'refused']);
  t.is(await client.get(key), '0');
});

test('actions and their undoing at once leave the stock as it was', async (t) => {
  const key = await stock(1000);
  const gids = Array.from({ length: 500 }, newGid);
  await Promise.all(
    gids.flatMap((gid, index) => {
      const ops = index % 2 === 0 ? (['action', 'compensate'] as const) : (['compensate', 'action'] as const);
      return [...ops, ...ops].map((op) => adjust(key, gid, op, op === 'action' ? -1 : 1));
    }),
  );
  t.is(await client.get(key), '1000');
});

test.serial('a server without room changes nothing, or all of it', async (t) => {
  const key = await stock(5);
  const gid = newGid();
  await client.configSet('maxmemory', '1');
  try {
    await t.throwsAsync(adjust(key, gid, 'action', -1), { message: /OOM/ });
    await t.throwsAsync(adjust(key, gid, 'compensate', 1), { message: /OOM/ });
  } finally {
    await client.configSet('maxmemory', '0');
  }
  t.is(await client.get(key), '5');
  t.like(await adjust(key, gid, 'action', -1), { kind: 'done', value: 4 });
});

test.serial('a server that was killed and came back has both, the amount and the barrier', async (t) => {
  const own = await startRedis();
  const buyer = await clientOf(own.url).connect();
  try {
    await buyer.set('stock', '10');
    const gid = newGid();
    const buy = () => redisCheckAdjustAmount(buyer, branch(gid, 'action'), { key: 'stock', amount: -1 });
    t.like(await buy(), { kind: 'done', value: 9 });
    await own.kill();
    await own.start();
    t.deepEqual(await buy(), { kind: 'repeated' }, 'the script is forgotten and told again');
    t.is(await buyer.get('stock'), '9');
  } finally {
    buyer.destroy();
    await own[Symbol.asyncDispose]();
  }
});
