/** The accounts service: takes money from an account that has enough of it, and writes down what for. */
import { connect, inTransaction, Refusal, serve, text, type Call, type Reply } from './service.ts';

const pool = connect();

serve({ 'POST /payments': pay });

async function pay({ gid, body }: Call): Promise<Reply> {
  const order = text(body, 'order');
  const account = text(body, 'account');
  const amount = text(body, 'amount');
  if (!/^\d{1,9}(\.\d{1,2})?$/.test(amount)) throw new Refusal(400, 'expected an amount such as 12.50');

  return await inTransaction(pool, gid, async (client) => {
    const paid = await client.query(
      'update account set balance = balance - $1 where id = $2 and balance >= $1 returning balance',
      [amount, account],
    );
    if (paid.rows.length === 0) throw new Refusal(409, `the account of ${account} does not hold ${amount}`);
    await client.query('insert into ledger (order_id, account_id, amount) values ($1, $2, $3)', [
      order,
      account,
      amount,
    ]);
    return { status: 201, body: { account, balance: paid.rows[0].balance } };
  });
}
