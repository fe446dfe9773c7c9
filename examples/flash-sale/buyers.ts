/** The buyers: all at once, each wants one piece, and none of them trusts a connection that broke. */
import { Agent, request } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { monotonicSeconds } from '../../src/platform/clock.ts';

/** What a buyer knows in the end. `nothing`: the connection broke in the middle, and he went away without asking again. */
export type Told = 'bought' | 'refused' | 'nothing';

export interface Crowd {
  /** Where the sale is: `POST /buy`. */
  readonly url: string;
  readonly buyers: number;
  /** Every so many-th buyer goes away when his connection breaks in the middle; the others ask again. */
  readonly impatientEach: number;
  readonly signal: AbortSignal;
}

const CONNECTIONS_MAX = 200;
const PATIENCE_SECONDS = 90;
const PAUSE_MS = 50;

/** Lets all of them buy at once; answers what each was told, by the id of the purchase. */
export async function buyAll({ url, buyers, impatientEach, signal }: Crowd): Promise<ReadonlyMap<string, Told>> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS_MAX });
  try {
    const deadline = monotonicSeconds() + PATIENCE_SECONDS;
    const visits = Array.from({ length: buyers }, async (_, index) => {
      const purchase = `p${index}`;
      const isImpatient = index % impatientEach === 0;
      return [purchase, await buyOne({ agent, url, purchase, isImpatient, deadline, signal })] as const;
    });
    return new Map(await Promise.all(visits));
  } finally {
    agent.destroy();
  }
}

interface Visit {
  readonly agent: Agent;
  readonly url: string;
  readonly purchase: string;
  readonly isImpatient: boolean;
  readonly deadline: number;
  readonly signal: AbortSignal;
}

async function buyOne(visit: Visit): Promise<Told> {
  while (monotonicSeconds() < visit.deadline) {
    const answer = await ask(visit);
    if (answer === 200) return 'bought';
    if (answer === 409) return 'refused';
    // Nobody was there at all (`refused`), or it did not work: that is no reason to go away yet.
    if (answer === 'broken' && visit.isImpatient) return 'nothing';
    await pause(PAUSE_MS, undefined, { signal: visit.signal });
  }
  throw new Error(`${visit.purchase} was told nothing for ${PATIENCE_SECONDS} s`);
}

/** The status of the answer; `absent` when nobody listens, `broken` when the connection ended before the answer. */
function ask({ agent, url, purchase, signal }: Visit): Promise<number | 'absent' | 'broken'> {
  return new Promise((resolve, reject) => {
    const body = JSON.stringify({ purchase });
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const outgoing = request(`${url}/buy`, { agent, method: 'POST', headers, signal });
    outgoing.once('response', (incoming) => {
      incoming.resume();
      incoming.once('error', () => resolve('broken'));
      incoming.once('end', () => resolve(incoming.statusCode ?? 0));
    });
    outgoing.once('error', (error: NodeJS.ErrnoException) => {
      if (signal.aborted) reject(error);
      else resolve(error.code === 'ECONNREFUSED' ? 'absent' : 'broken');
    });
    outgoing.end(body);
  });
}
