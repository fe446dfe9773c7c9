/**
 * Cache invalidation: a price changes in PostgreSQL, and its copy in Redis has to go. A service that does one after the other and
 * dies in between leaves a stale copy for good. Here both are one two-phase message: whatever dies, the cache is right in the end.
 */
import { closeGate, type Gate } from '../demo/gate.ts';
import { openScreen, type Screen } from '../demo/screen.ts';
import type { ExampleOptions } from '../stage.ts';
import { call } from '../support/http.ts';
import { ProgramMissing } from '../support/programs.ts';
import { until } from '../support/until.ts';
import { ITEMS, openCustomers, openPriceStage, type PriceStage } from './stage.ts';

const CHANGES = 200;
const CUSTOMERS = 4;
const CHANGES_AT_ONCE = 8;
const CHANGES_MS = 60_000;

interface Play {
  readonly stage: PriceStage;
  readonly screen: Screen;
  readonly signal: AbortSignal;
  readonly check: Screen['check'];
}

/** Plays all scenes; answers whether every check held, and says what to install when there is no Redis on this machine. */
export async function run({ output, signal }: ExampleOptions): Promise<boolean> {
  const screen = openScreen(output);
  screen.headline('Cache invalidation: a change in PostgreSQL and the deletion of its copy in Redis, both or neither');
  try {
    await using stage = await openPriceStage(signal);
    screen.step('Redis, PostgreSQL, a coordinator, the prices service and the shop front are running');
    const failed = await playAll(stage, screen, signal);
    screen.headline(
      failed === 0 ? 'Every check held.' : `${failed} ${failed === 1 ? 'check' : 'checks'} did not hold.`,
    );
    return failed === 0;
  } catch (error) {
    if (!(error instanceof ProgramMissing)) throw error;
    screen.lines(['', `  ${error.message}`]);
    return false;
  }
}

async function playAll(stage: PriceStage, screen: Screen, signal: AbortSignal): Promise<number> {
  let failed = 0;
  const check: Screen['check'] = (holds, text, found) => {
    if (!holds) failed += 1;
    screen.check(holds, text, found);
  };
  try {
    const play = { stage, screen, signal, check };
    await plainChange(play);
    await diesAfterCommit(play);
    await diesBeforeCommit(play);
    await everythingAtOnce(play);
  } catch (error) {
    signal.throwIfAborted();
    check(false, 'the scene was played to its end', error instanceof Error ? error.message : String(error));
    screen.lines(await stage.stage.lastWords());
  }
  return failed;
}

async function plainChange({ stage, screen, signal, check }: Play): Promise<void> {
  screen.scene(1, 'nobody dies', ['The teapot becomes cheaper: 90 instead of 100.']);
  await stage.seen('teapot');
  check((await stage.cached('teapot')) === '100', 'the old price is in the cache');
  await stage.change('teapot', '90', signal);
  await stage.stage.allFinished(signal);
  await checkSame({ stage, check }, 'teapot', '90');
}

async function diesAfterCommit({ stage, screen, signal, check }: Play): Promise<void> {
  screen.scene(2, 'killed between the commit and the deletion', [
    'The change is committed at the very moment when the coordinator is dead, and then the prices service is killed too.',
    'Nobody is left who remembers that there is something to forget: but the mark of the change was committed with it.',
  ]);
  await using gate = await heldChange({ stage, signal }, 'teapot', '80');
  await stage.stage.coordinator.kill();
  screen.step('kill -9 the coordinator, while the change waits in its local transaction');
  await gate.open();
  await until('the change is committed', async () => ((await stage.stored('teapot')) === '80' ? true : undefined), {
    signal,
  });
  await stage.prices.process.kill();
  screen.step('the change is committed; kill -9 the prices service');
  check((await stage.seen('teapot')) === '90', 'for now, the cache is stale: customers see 90');

  await stage.prices.process.start(signal);
  await stage.stage.coordinator.start(signal);
  screen.step('both are back');
  await stage.stage.allFinished(signal);
  screen.step('the coordinator has asked the prices service what became of the change, and had the copy deleted');
  await checkSame({ stage, check }, 'teapot', '80');
}

async function diesBeforeCommit({ stage, screen, signal, check }: Play): Promise<void> {
  screen.scene(3, 'killed before the commit', ['The prices service dies inside its local transaction.']);
  await using gate = await heldChange({ stage, signal }, 'teapot', '70');
  await stage.prices.process.kill();
  screen.step('kill -9 the prices service, while the change waits in its local transaction');
  await gate.open();
  await stage.prices.process.start(signal);
  await stage.stage.allFinished(signal);
  screen.step('the coordinator has asked what became of the change: nothing, and nothing ever will');
  await checkSame({ stage, check }, 'teapot', '80');
}

async function everythingAtOnce({ stage, screen, signal, check }: Play): Promise<void> {
  screen.scene(4, 'all of it at once', [
    `${CHANGES} changes, ${CHANGES_AT_ONCE} at a time, while ${CUSTOMERS} customers look at prices and fill the cache again and again; the`,
    'prices service, the coordinator and Redis are killed one after the other.',
  ]);
  await using customers = openCustomers(stage, CUSTOMERS);
  const ended = new AbortController();
  const changers = openChangers(stage, AbortSignal.any([signal, ended.signal]));
  try {
    const mortals = [
      ['the prices service', stage.prices.process],
      ['the coordinator', stage.stage.coordinator],
      ['Redis', stage.stage.redis],
    ] as const;
    for (const [index, [name, mortal]] of mortals.entries()) {
      const share = Math.floor((CHANGES * (index + 1)) / (mortals.length + 1));
      const isReached = (): Promise<true | undefined> => Promise.resolve(changers.done() >= share ? true : undefined);
      await until(`${share} changes are done`, isReached, { withinMs: CHANGES_MS, signal });
      await mortal.kill();
      await mortal.start(signal);
      screen.step(`kill -9 ${name}, and start it again`);
    }
    await changers.allDone;
  } finally {
    ended.abort();
  }
  await stage.stage.allFinished(signal);
  screen.step(`every change is finished; customers saw ${await customers.stop()} prices meanwhile`);
  for (const item of ITEMS) await checkSame({ stage, check }, item, (await stage.stored(item)) ?? 'nothing');
}

/** Changes one price after the other, several at a time. */
function openChangers(
  stage: PriceStage,
  signal: AbortSignal,
): { readonly allDone: Promise<unknown>; readonly done: () => number } {
  let next = 0;
  let done = 0;
  const changers = Array.from({ length: CHANGES_AT_ONCE }, async () => {
    for (; next < CHANGES; done += 1) {
      const number = next;
      next += 1;
      await stage.change(ITEMS[number % ITEMS.length] ?? '', String(1000 + number), signal);
    }
  });
  const allDone = Promise.all(changers);
  // Nobody waits for it any more when the scene has failed before.
  allDone.catch(() => undefined);
  return { allDone, done: () => done };
}

/** A change that is held in its local transaction, before its update, until the gate opens. */
async function heldChange(
  { stage, signal }: Pick<Play, 'stage' | 'signal'>,
  item: string,
  price: string,
): Promise<Gate> {
  await stage.seen(item);
  const gate = await closeGate(stage.databaseUrl, 'price');
  // One request and no second one: what becomes of it is the coordinator's to find out.
  void call('POST', `${stage.prices.url}/price`, { body: { item, price } }).catch(() => undefined);
  await gate.isWaitedAt(signal);
  return gate;
}

/** Neither the cache nor a customer may say anything else than the database. */
async function checkSame({ stage, check }: Pick<Play, 'stage' | 'check'>, item: string, price: string): Promise<void> {
  const [stored, cached, seen] = [await stage.stored(item), await stage.cached(item), await stage.seen(item)];
  const holds = stored === price && seen === price && (cached === undefined || cached === price);
  const found = `${stored} in the database, ${cached ?? 'nothing'} in the cache, customers see ${seen ?? 'nothing'}`;
  check(holds, `${item}: the database says ${price}, and so does everybody else`, found);
}
