/**
 * Saga: money goes from one bank to another. The coordinator calls the steps one after another; when one is refused, it takes
 * back those before it.
 */
import { FailureError, type Gid, newGid, submitSaga } from '../../src/client/index.ts';
import { call } from '../support/http.ts';
import { type ExampleOptions, onStage, type Stage } from '../stage.ts';
import { type Bank, openBank } from './bank.ts';

/** Runs the example; answers whether every check held. */
export function run(options: ExampleOptions): Promise<boolean> {
  return onStage('Saga: a transfer between two banks', options, async (stage) => {
    const north = await openBank(stage, 'north', 'ada', 100);
    const south = await openBank(stage, 'south', 'bob', 100);
    await accepted(stage, north, south);
    await refused(stage, north, south);
  });
}

/** From an account at one bank to an account at the other: two steps, and how to take the first one back. */
async function transfer(stage: Stage, gid: Gid, north: Bank, south: Bank, receiver: string): Promise<void> {
  await submitSaga(stage.dtm, {
    gid,
    steps: [
      {
        action: `${north.url}/withdraw`,
        compensate: `${north.url}/withdraw-undo`,
        payload: { owner: 'ada', amount: 30 },
      },
      // The last step: nothing comes after it, so nothing can make it necessary to take it back.
      { action: `${south.url}/deposit`, payload: { owner: receiver, amount: 30 } },
    ],
    waitResult: true,
  });
}

async function accepted(stage: Stage, north: Bank, south: Bank): Promise<void> {
  const { screen } = stage;
  screen.scene(1, 'a transfer that both banks accept', ['Ada at the north bank sends 30 to Bob at the south bank.']);
  const gid = newGid();
  await transfer(stage, gid, north, south, 'bob');
  await checkBalances(stage, north, south, 70, 130);

  await transfer(stage, gid, north, south, 'bob');
  screen.step('the same saga is handed in again, as after a lost answer');
  await checkBalances(stage, north, south, 70, 130);
}

async function refused(stage: Stage, north: Bank, south: Bank): Promise<void> {
  const { screen, check } = stage;
  screen.scene(2, 'a transfer that the second bank refuses', [
    'Ada sends 30 to Eve, who has no account. By then the money has left the north bank already.',
  ]);
  const gid = newGid();
  const error: unknown = await transfer(stage, gid, north, south, 'eve').catch((thrown: unknown) => thrown);
  check(error instanceof FailureError, 'the initiator hears that it failed, and why', String(error));
  if (error instanceof FailureError) screen.lines([`      ${error.message}`]);
  check((await stage.endOf(gid)) === 'failed', 'the saga has been rolled back');
  await checkBalances(stage, north, south, 70, 130);

  const late = `${north.url}/withdraw?gid=${gid}&trans_type=saga&branch_id=01&op=action`;
  await call('POST', late, { body: { owner: 'ada', amount: 30 } });
  screen.step('a repetition of the withdrawal arrives, long after it was taken back');
  await checkBalances(stage, north, south, 70, 130);
}

async function checkBalances({ check }: Stage, north: Bank, south: Bank, ada: number, bob: number): Promise<void> {
  const found = `Ada has ${await north.balanceOf('ada')}, Bob has ${await south.balanceOf('bob')}`;
  const wanted = `Ada has ${ada}, Bob has ${bob}`;
  check(found === wanted, wanted, found);
}
