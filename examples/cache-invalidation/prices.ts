/** Prices: changes them in PostgreSQL, and has the shop front forget what it has cached. Both happen or neither does. */
import pg from 'pg';
import {
  type BranchReply,
  type BranchRequest,
  connectDtm,
  newMessage,
  postgresBarrier,
  serveQueryPrepared,
} from '../../src/client/index.ts';
import { reply, serveRoutes, setting, textOf } from '../support/routes.ts';

const shopFrontUrl = setting('SHOP_FRONT_URL');
const ownUrl = `http://127.0.0.1:${setting('PORT')}`;

const dtm = connectDtm({ url: setting('COORDINATOR_URL') });
const pool = new pg.Pool({ connectionString: setting('DATABASE_URL'), max: 20, connectionTimeoutMillis: 5000 });
pool.on('error', (error) => console.error('an idle connection broke:', error.message));
const barrier = postgresBarrier(pool);

/** How long a change may stay undecided before the coordinator asks here what has become of it. */
const UNDECIDED_MS = 2000;

serveRoutes({
  '/price': change,
  '/ready': () => Promise.resolve(reply(200, {})),
  // The coordinator's question after a change that was left in the middle.
  '/what-became-of': (request) => serveQueryPrepared(request, barrier),
});

async function change(request: BranchRequest): Promise<BranchReply> {
  const [item, price] = [textOf(request, 'item'), textOf(request, 'price')];
  if (item === undefined || price === undefined) return reply(400, { error: 'expected an item and a price' });
  const message = newMessage(dtm, {
    steps: [{ action: `${shopFrontUrl}/forget`, payload: { item } }],
    timeoutToFailMs: UNDECIDED_MS,
  });
  try {
    await message.doAndSubmit(`${ownUrl}/what-became-of`, barrier, (tx) =>
      tx.query('update price set price = $2 where item = $1', [item, price]),
    );
    return reply(200, { item, price });
  } catch (error) {
    return reply(503, { error: error instanceof Error ? error.message : 'unknown' });
  }
}
