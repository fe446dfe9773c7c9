/**
 * The orders service: takes an order, has it paid and reserved, and answers 201 when all of that is done.
 * It passes the header `atomesh-gid` on and binds it to its local transactions; everything else is the sidecar's.
 */
import { connect, count, inTransaction, Refusal, serve, text, type Call, type Reply } from './service.ts';

const pool = connect();
const ACCOUNTS_URL = process.env['ACCOUNTS_URL'] ?? 'http://127.0.0.1:9701/accounts';
const STOCK_URL = process.env['STOCK_URL'] ?? 'http://127.0.0.1:9701/stock';
const CLUB_URL = process.env['CLUB_URL'] ?? 'http://127.0.0.1:9701/club';
const POINTS_A_PIECE = 10;

serve({
  'POST /orders': placeOrder,
  'POST /orders/express': placeOrder,
});

async function placeOrder({ gid, body }: Call): Promise<Reply> {
  const customer = text(body, 'customer');
  const item = text(body, 'item');
  const quantity = count(body, 'quantity');
  const card = body['card'] === undefined ? undefined : text(body, 'card');

  const { id, amount } = await inTransaction(pool, gid, async (client) => {
    const product = await client.query('select price from product where item = $1', [item]);
    if (product.rows.length === 0) throw new Refusal(404, `there is no ${item} in the catalogue`);
    const order = await client.query(
      `insert into orders (customer, item, quantity, amount, state)
       values ($1, $2, $3::int, $3::int * $4::numeric, 'new')
       returning id, amount`,
      [customer, item, quantity, product.rows[0].price],
    );
    return order.rows[0] as { id: string; amount: string };
  });

  await post(`${ACCOUNTS_URL}/payments`, gid, { order: id, account: customer, amount });
  if (card !== undefined) {
    await post(`${CLUB_URL}/points`, gid, { order: id, card, points: quantity * POINTS_A_PIECE });
  }
  await post(`${STOCK_URL}/reservations`, gid, { order: id, item, quantity });

  await pool.query(`update orders set state = 'placed' where id = $1${gidComment(gid)}`, [id]);
  return { status: 201, body: { order: id, amount, state: 'placed', ...(gid === undefined ? {} : { gid }) } };
}

/** Asks another service to do its share. What it refuses, this service refuses with the same words. */
async function post(url: string, gid: string | undefined, body: object): Promise<void> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(gid === undefined ? {} : { 'atomesh-gid': gid }) },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(20_000),
  });
  if (response.ok) return;
  const answer = (await response.json().catch(() => ({}))) as { error?: unknown };
  const reason = typeof answer.error === 'string' ? answer.error : `status ${response.status}`;
  throw new Refusal(response.status === 409 ? 409 : 502, reason);
}

/** A single statement carries its gid in a comment. Only what has a gid's form may become part of a statement's text. */
function gidComment(gid: string | undefined): string {
  return gid !== undefined && /^[A-Za-z0-9._:{}-]{1,128}$/.test(gid) ? ` /*atomesh_gid='${gid}'*/` : '';
}
