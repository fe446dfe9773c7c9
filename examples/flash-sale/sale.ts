/** The sale: takes a piece from the stock in Redis, and has an order written for it. Both happen or neither does. */
import { createClient } from 'redis';
import {
  type BranchReply,
  type BranchRequest,
  connectDtm,
  FailureError,
  newMessage,
  parseGid,
  redisLocalTransaction,
  serveQueryPrepared,
} from '../../src/client/index.ts';
import { reply, serveRoutes, setting, textOf } from '../support/routes.ts';

const ordersUrl = setting('ORDERS_URL');
const ownUrl = `http://127.0.0.1:${setting('PORT')}`;

const dtm = connectDtm({ url: setting('COORDINATOR_URL') });
const redis = createClient({ url: setting('REDIS_URL') });
redis.on('error', (error: Error) => console.error('redis:', error.message));
await redis.connect();

/** The local transaction of a purchase: one piece less, if there is one, and the mark of this purchase beside it. */
const stock = redisLocalTransaction(redis, { key: 'stock', amount: -1 });

/** How long a purchase may stay undecided before the coordinator asks here what has become of it. */
const UNDECIDED_MS = 3000;

serveRoutes({
  '/buy': buy,
  '/ready': () => Promise.resolve(reply(200, {})),
  // The coordinator's question after a purchase that was left in the middle.
  '/what-became-of': (request) => serveQueryPrepared(request, stock),
});

/** The buyer's own id of the purchase makes the gid, so whoever heard no answer may ask again: it stays one purchase. */
async function buy(request: BranchRequest): Promise<BranchReply> {
  const purchase = textOf(request, 'purchase') ?? '';
  const gid = parseGid(`sale-${purchase}`);
  if (gid === undefined) return reply(400, { error: 'expected a purchase' });
  const message = newMessage(dtm, {
    gid,
    steps: [{ action: `${ordersUrl}/order`, payload: { purchase } }],
    timeoutToFailMs: UNDECIDED_MS,
  });
  try {
    await message.doAndSubmit(`${ownUrl}/what-became-of`, stock, (left) => Promise.resolve(left));
    return reply(200, { bought: purchase });
  } catch (error) {
    const { message: text } = error as Error;
    // Nothing was taken, and for this purchase nothing ever will be. Any other error leaves that open: ask again.
    return error instanceof FailureError ? reply(409, { error: text }) : reply(503, { error: text });
  }
}
