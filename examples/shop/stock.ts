/** The stock service: reserves items while there are enough of them. */
import { connect, count, inTransaction, Refusal, serve, text, type Call, type Reply } from './service.ts';

const pool = connect();

serve({ 'POST /reservations': reserve });

async function reserve({ gid, body }: Call): Promise<Reply> {
  const order = text(body, 'order');
  const item = text(body, 'item');
  const quantity = count(body, 'quantity');

  return await inTransaction(pool, gid, async (client) => {
    const left = await client.query(
      'update item set available = available - $1 where id = $2 and available >= $1 returning available',
      [quantity, item],
    );
    if (left.rows.length === 0) throw new Refusal(409, `there are not ${quantity} × ${item} in stock`);
    await client.query('insert into reservation (order_id, item_id, quantity) values ($1, $2, $3)', [
      order,
      item,
      quantity,
    ]);
    return { status: 201, body: { item, available: left.rows[0].available } };
  });
}
