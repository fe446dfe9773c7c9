/** The demo's services by themselves: without sidecars they are plain services with plain local transactions. */
import test from 'ava';
import { readBooks } from '../../examples/shop/books.ts';
import { openShop } from '../../examples/shop/stage.ts';
import { openDatabases, query } from '../../examples/shop/databases.ts';

test('without sidecars an order goes through, and a refused one leaves its first half behind', async (t) => {
  await using shop = await openShop({ sidecars: false });
  const books = () => readBooks((database) => shop.databases.url(database, 'shop'));
  const opening = await books();

  const placed = await shop.order({ customer: 'ada', item: 'teapot', quantity: 2 });
  t.deepEqual(placed, { status: 201, body: { order: '1', amount: '59.80', state: 'placed' } });
  const after = await books();
  t.is(after.sums.ledger, 5980n);
  t.is(after.sums.balances + after.sums.ledger, opening.sums.balances);
  t.is(after.sums.reserved, 2n);
  t.is(after.sums.halfDone, 0n);

  // This is what the sidecars are for: the money is gone, the goods are not there.
  const refused = await shop.order({ customer: 'cleo', item: 'kettle', quantity: 3 });
  t.deepEqual(refused, { status: 409, body: { error: 'there are not 3 × kettle in stock' } });
  const torn = await books();
  t.is(torn.sums.halfDone, 1n);
  t.is(torn.sums.ledger - torn.sums.placedAmount, 13_500n);
});

test('the services refuse what makes no sense, with the reason', async (t) => {
  await using shop = await openShop({ sidecars: false });
  const answers = [
    await shop.order({ customer: 'ada', item: 'sofa', quantity: 1 }),
    await shop.order({ customer: 'nobody', item: 'cup', quantity: 1 }),
    await shop.order({ customer: 'ada', item: 'cup', quantity: -1 }),
    await shop.order({ customer: '', item: 'cup', quantity: 1 }),
  ];
  t.deepEqual(answers, [
    { status: 404, body: { error: 'there is no sofa in the catalogue' } },
    { status: 409, body: { error: 'the account of nobody does not hold 4.50' } },
    { status: 400, body: { error: 'expected a whole number above zero as "quantity"' } },
    { status: 400, body: { error: 'expected a text as "customer"' } },
  ]);
});

test('a service goes on after its database connections broke', async (t) => {
  await using shop = await openShop({ sidecars: false });
  t.is((await shop.order({ customer: 'ada', item: 'cup', quantity: 1 })).status, 201);
  await shop.databases.server.kill();
  await shop.databases.server.start();
  t.is((await shop.order({ customer: 'ada', item: 'cup', quantity: 1 })).status, 201);
});

test('the roles of the shop need their passwords', async (t) => {
  await using databases = await openDatabases();
  const url = databases.url('orders', 'shop').replace(databases.passwords.shop, 'wrong');
  await t.throwsAsync(query(url, 'select 1'), { message: /password authentication failed/ });
});
