/** Two-phase message: prepared, then a local transaction that carries the barrier row, then submitted, if the initiator still lives. */
import type { NewTransaction } from '../../../src/contract/new-transaction.ts';
import type { CallResult, Gid } from '../../../src/contract/transaction.ts';
import type { Initiator } from './initiator.ts';
import { drawOrder, drawSteps } from './saga.ts';

export async function runMessage(initiator: Initiator): Promise<void> {
  const { world, name } = initiator;
  const { random } = world;
  const steps = drawSteps(initiator, random.between(0, 3), false);
  const order = drawOrder(random, steps.length);
  const request: NewTransaction = {
    gid: name as Gid,
    mode: 'msg',
    identity: name,
    protocol: 'http',
    steps,
    timeoutMs: random.between(100, 3000),
    callback: { url: `http://${initiator.host}/msg` },
    ...initiator.drawDurations(),
    ...(order === undefined ? {} : { order }),
    ...(random.chance(0.3) ? { delayMs: random.between(10, 3000) } : {}),
  };
  const local = new LocalTransaction(initiator);
  world.serve(initiator.host, async () => local.ask());
  const isTaken = random.chance(0.2)
    ? await submitAtOnce(initiator, request, local)
    : await withLocalTransaction(initiator, request, local);
  if (isTaken && random.chance(0.5)) await initiator.waitForEnd(request.gid);
}

/** Without a local transaction there is nothing that could be rolled back. True when the coordinator is known to have it. */
async function submitAtOnce(initiator: Initiator, request: NewTransaction, local: LocalTransaction): Promise<boolean> {
  local.commit();
  const isTaken = await initiator.start(request, 'submitted');
  if (isTaken) initiator.world.atEnd(() => checkMessage(initiator, request.gid, local));
  return isTaken;
}

async function withLocalTransaction(
  initiator: Initiator,
  request: NewTransaction,
  local: LocalTransaction,
): Promise<boolean> {
  const { world } = initiator;
  const { random, time } = world;
  const { gid } = request;
  // What was not answered may have been taken all the same: then the initiator is asked.
  const isTaken = await initiator.start(request, 'prepared');
  if (!isTaken) return false;
  world.atEnd(() => checkMessage(initiator, gid, local));
  const isLate = world.happens('local commit is late');
  await time.sleep(isLate ? random.between(500, 8000) : random.between(1, 30));
  const isCommitted = !world.happens('local commit fails') && local.commit();
  if (world.happens('client falls silent')) return true;
  if (!isCommitted) await initiator.abort(gid);
  else await initiator.start(request, 'submitted');
  return true;
}

/** S26: delivered exactly when the local transaction has committed. */
export function checkMessage({ world }: Initiator, gid: Gid, { isCommitted }: LocalTransaction): void {
  const status = world.store.rows().get(gid)?.stored.transaction.status;
  if (status === (isCommitted ? 'succeed' : 'failed')) return;
  world.history.violated(
    'S26 two-phase message',
    `${gid} is ${status}, and its local transaction ${String(isCommitted)}`,
  );
}

/** The initiator's database: whoever comes first, the commit or the question, decides by the barrier row. */
export class LocalTransaction {
  readonly #initiator: Initiator;
  #row: 'none' | 'committed' | 'rolled back' = 'none';

  constructor(initiator: Initiator) {
    this.#initiator = initiator;
  }

  get isCommitted(): boolean {
    return this.#row === 'committed';
  }

  commit(): boolean {
    if (this.#row === 'none') this.#row = 'committed';
    this.#initiator.world.history.note(`${this.#initiator.name} committed its local transaction: ${this.#row}`);
    return this.#row === 'committed';
  }

  ask(): CallResult {
    const { history } = this.#initiator.world;
    history.count(
      this.isCommitted ? 'initiator asked after its local commit' : 'initiator asked before its local commit',
    );
    if (this.#row === 'none') this.#row = 'rolled back';
    return this.isCommitted ? 'success' : 'failure';
  }
}
