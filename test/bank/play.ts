/** Clients at work while parts of the mesh fail; afterwards all is mended, everything ends, and the history is taken down. */
import { until } from '../../examples/support/until.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { Random } from '../simulation/random.ts';
import { Client } from './client.ts';
import { faultsInOrder, inject } from './faults.ts';
import type { Account, Attempt, History, Movement } from './history.ts';
import { bankPlan, listPlan } from './plans.ts';
import { BALANCE, type Books } from './server.ts';
import { SERVICES, type Service, type Stage } from './stage.ts';

export interface Wishes {
  readonly seed: number;
  /** How often each fault happens; 0: the clients work in peace, for as many global transactions as there would be faults around them. */
  readonly faults: number;
  /** No further fault begins after this, in milliseconds. */
  readonly ms: number;
}

/** What was played, for a line of the log. */
export interface Played {
  readonly history: History;
  readonly committed: number;
  readonly rolledBack: number;
  readonly faults: number;
}

const CLIENTS_EACH = 3;
/** So much must have committed between one fault and the next. */
const COMMITS_BETWEEN = 6;
const END_MS_MAX = 40_000;

/** Plays on a fresh stage. */
export async function play(stage: Stage, { seed, faults, ms }: Wishes): Promise<Played> {
  const random = new Random(seed);
  const over = new AbortController();
  const clients = Array.from({ length: 2 * CLIENTS_EACH }, () => new Client(stage));
  let value = 0;
  const nextValue = (): number => (value += 1);
  const working = clients.map(async (client, index) => {
    const own = new Random(seed * 100 + index);
    while (!over.signal.aborted) {
      await client.carryOut((gid) => (index < CLIENTS_EACH ? bankPlan(stage, own, gid) : listPlan(own, nextValue)));
    }
  });
  const committed = (): number => attemptsOf(clients).filter(({ told }) => told === 'committed').length;
  const deadline = performance.now() + ms;
  let injected = 0;
  try {
    const order = faultsInOrder(random, Math.max(1, faults));
    for (const fault of order) {
      if (performance.now() > deadline && injected >= order.length / 2) break;
      const before = committed();
      await until('the clients get on', async () => (committed() >= before + COMMITS_BETWEEN ? true : undefined), {
        withinMs: END_MS_MAX,
      });
      if (faults === 0) continue;
      await inject(fault, stage, random);
      injected += 1;
    }
  } finally {
    over.abort();
    await Promise.all(working);
    for (const client of clients) await client[Symbol.asyncDispose]();
  }
  const attempts = attemptsOf(clients);
  const history = await takeDown(stage, attempts);
  const ends = [...history.ended.values()];
  return {
    history,
    committed: ends.filter((status) => status === 'succeed').length,
    rolledBack: ends.filter((status) => status === 'failed').length,
    faults: injected,
  };
}

function attemptsOf(clients: readonly Client[]): readonly Attempt[] {
  return clients.flatMap(({ attempts }) => attempts);
}

/** Waits until every global transaction has ended, as long as that may take, and reads what is there. */
async function takeDown(stage: Stage, attempts: readonly Attempt[]): Promise<History> {
  const ended = new Map<string, string>();
  const enlisted = new Set<string>();
  const isOver = async (gid: string): Promise<boolean> => {
    const view = await stage.coordinator.read(gid as Gid);
    for (const { resource } of view?.branches ?? []) enlisted.add(`${gid} ${resource}`);
    const status = view?.needsAttention === true ? 'dirty' : (view?.status ?? 'unknown');
    ended.set(gid, status);
    return ['succeed', 'failed', 'dirty', 'unknown'].includes(status);
  };
  let left = attempts.map(({ gid }) => gid);
  await until(
    'all global transactions have ended',
    async () => {
      const still: string[] = [];
      for (const gid of left) if (!(await isOver(gid))) still.push(gid);
      left = still;
      return left.length === 0 ? true : undefined;
    },
    { withinMs: END_MS_MAX },
  ).catch(() => undefined);
  const accounts: Account[] = [];
  const movements: Movement[] = [];
  const lists = new Map<string, readonly number[]>();
  const leftovers: string[] = [];
  for (const service of SERVICES) {
    const books = await stage.books(service);
    accounts.push(...books.accounts);
    movements.push(...books.movements);
    for (const [name, items] of books.lists) lists.set(name, items);
    leftovers.push(...leftoversOf(service, books), ...contraryStates(books, ended, enlisted));
  }
  return { attempts, ended, balanceAtFirst: BALANCE, accounts, movements, lists, leftovers };
}

function leftoversOf(service: Service, { leftovers }: Books): readonly string[] {
  return Object.entries(leftovers)
    .filter(([, count]) => count > 0)
    .map(([what, count]) => `${service}: ${count} ${what} left`);
}

/** States of branches that are not what their global transaction has come to. One that was never enlisted may be left `active`. */
function contraryStates(
  { states }: Books,
  ended: ReadonlyMap<string, string>,
  enlisted: ReadonlySet<string>,
): readonly string[] {
  return states
    .filter(({ gid, resource, state }) => {
      if (state === 'active') return enlisted.has(`${gid} ${resource}`);
      return ended.get(gid) === (state === 'committed' ? 'failed' : 'succeed');
    })
    .map(({ gid, resource, state }) => `${gid} is ${ended.get(gid)}, and its branch ${resource} is ${state}`);
}
