/**
 * XA: one transaction over two databases. Each does its part and prepares it; when all are prepared, the coordinator has all of
 * them committed. Until then nobody sees anything, and a failure anywhere rolls all of them back.
 */
import { FailureError, newGid, runXa } from '../../src/client/index.ts';
import { type ExampleOptions, onStage, type Stage } from '../stage.ts';
import { type Accounts, openAccounts } from './accounts.ts';

/** Runs the example; answers whether every check held. */
export function run(options: ExampleOptions): Promise<boolean> {
  return onStage('XA: one transaction over two databases', options, async (stage) => {
    const east = await openAccounts(stage, 'east');
    const west = await openAccounts(stage, 'west');
    await committed(stage, east, west);
    await rolledBack(stage, east, west);
  });
}

async function committed(stage: Stage, east: Accounts, west: Accounts): Promise<void> {
  const { screen, check } = stage;
  screen.scene(1, 'both databases commit', ['30 go from the eastern database to the western one.']);
  const answers = await runXa(stage.dtm, { waitResult: true }, async (xa) => {
    const out = await xa.callBranch({ url: east.url, body: { amount: -30 } });
    const into = await xa.callBranch({ url: west.url, body: { amount: 30 } });
    screen.step('both have done their part and prepared it');
    const prepared = `${await east.preparedCount()} and ${await west.preparedCount()}`;
    check(prepared === '1 and 1', 'one transaction is prepared in each', prepared);
    await checkBalances(stage, east, west, '100 and 100');
    return [out.json(), into.json()];
  });
  screen.step(`the branches answered ${JSON.stringify(answers)}; the coordinator has had both committed`);
  await checkBalances(stage, east, west, '70 and 130');
  await checkNothingPrepared(stage, east, west);
}

async function rolledBack(stage: Stage, east: Accounts, west: Accounts): Promise<void> {
  const { screen, check } = stage;
  screen.scene(2, 'one database refuses', [
    '500 go to the western database first, and then are not there in the eastern one.',
  ]);
  const gid = newGid();
  const transfer = runXa(stage.dtm, { gid }, async (xa) => {
    await xa.callBranch({ url: west.url, body: { amount: 500 } });
    await xa.callBranch({ url: east.url, body: { amount: -500 } });
  });
  const error: unknown = await transfer.catch((thrown: unknown) => thrown);
  check(error instanceof FailureError, 'the initiator hears that it failed', String(error));
  check((await stage.endOf(gid)) === 'failed', 'the coordinator has had everything rolled back');
  await checkBalances(stage, east, west, '70 and 130');
  await checkNothingPrepared(stage, east, west);
}

async function checkBalances({ check }: Stage, east: Accounts, west: Accounts, wanted: string): Promise<void> {
  const found = `${await east.balance()} and ${await west.balance()}`;
  check(found === wanted, `everybody sees ${wanted}`, found);
}

async function checkNothingPrepared({ check }: Stage, east: Accounts, west: Accounts): Promise<void> {
  const left = (await east.preparedCount()) + (await west.preparedCount());
  check(left === 0, 'nothing is left prepared', String(left));
}
