/**
 * TCC: an order holds pieces and money first (Try), and takes them when it has both (Confirm); when it cannot have both, it lets
 * go of what it holds (Cancel). In between nobody else can have them, and nobody sees them gone.
 */
import { FailureError, type Gid, newGid, runTcc } from '../../src/client/index.ts';
import { type ExampleOptions, onStage, type Stage } from '../stage.ts';
import { type Holdings, openHoldings } from './holdings.ts';

/** Runs the example; answers whether every check held. */
export function run(options: ExampleOptions): Promise<boolean> {
  return onStage('TCC: an order that holds pieces and money before it takes them', options, async (stage) => {
    const shop: Shop = {
      stage,
      stock: await openHoldings(stage, 'stock', 'teapot', 5),
      wallet: await openHoldings(stage, 'wallet', 'money of ada', 100),
    };
    await confirmed(shop);
    await cancelled(shop);
    await changedMind(shop);
  });
}

interface Shop {
  readonly stage: Stage;
  readonly stock: Holdings;
  readonly wallet: Holdings;
}

/** `thinking` is done while everything is held. */
async function order(
  { stage, stock, wallet }: Shop,
  { gid, pieces, money }: { readonly gid: Gid; readonly pieces: number; readonly money: number },
  thinking: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  await runTcc(stage.dtm, { gid, waitResult: true }, async (tcc) => {
    await tcc.callBranch(stock.branch('teapot', pieces));
    await tcc.callBranch(wallet.branch('money of ada', money));
    await thinking();
  });
}

async function confirmed(shop: Shop): Promise<void> {
  const { screen } = shop.stage;
  screen.scene(1, 'an order that is confirmed', ['Ada orders 2 teapots for 80. There are 5, and she has 100.']);
  await order(shop, { gid: newGid(), pieces: 2, money: 80 }, async () => {
    screen.step('both are held:');
    await checkStates(shop, '3 free, 2 held', '20 free, 80 held');
  });
  screen.step('the coordinator has had both confirmed:');
  await checkStates(shop, '3 free, 0 held', '20 free, 0 held');
}

async function cancelled(shop: Shop): Promise<void> {
  const { screen, check } = shop.stage;
  screen.scene(2, 'an order that is cancelled', ['Ada orders another one for 40, and has only 20 left.']);
  const gid = newGid();
  const error: unknown = await order(shop, { gid, pieces: 1, money: 40 }).catch((thrown: unknown) => thrown);
  check(error instanceof FailureError, 'the Try at the wallet is refused', String(error));
  check((await shop.stage.endOf(gid)) === 'failed', 'the transaction has been rolled back');
  await checkStates(shop, '3 free, 0 held', '20 free, 0 held');
}

async function changedMind(shop: Shop): Promise<void> {
  const { screen, check } = shop.stage;
  screen.scene(3, 'an initiator that changes its mind', [
    'One at a discount: Ada has the 20 that it costs. And then the shop itself has a defect.',
  ]);
  const gid = newGid();
  const defect = new Error('a defect of the shop');
  const error: unknown = await order(shop, { gid, pieces: 1, money: 20 }, () => Promise.reject(defect)).catch(
    (thrown: unknown) => thrown,
  );
  check(error === defect, 'what the work throws gives the transaction up, and is passed on', String(error));
  check((await shop.stage.endOf(gid)) === 'failed', 'the transaction has been rolled back');
  await checkStates(shop, '3 free, 0 held', '20 free, 0 held');
}

async function checkStates({ stage, stock, wallet }: Shop, ofStock: string, ofWallet: string): Promise<void> {
  const teapots = await stock.state('teapot');
  const money = await wallet.state('money of ada');
  stage.check(teapots === ofStock, `teapots: ${ofStock}`, teapots);
  stage.check(money === ofWallet, `money of Ada: ${ofWallet}`, money);
}
