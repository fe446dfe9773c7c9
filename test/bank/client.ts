/** An application of both services: it begins global transactions, works in their databases, and decides. It stops at nothing. */
import type { Gid } from '../../src/contract/transaction.ts';
import type { Random } from '../simulation/random.ts';
import type { Attempt, Operation, Told } from './history.ts';
import type { Session } from './server.ts';
import { SERVICES, type Service, type Stage } from './stage.ts';

/** What a client does in one local transaction of a service. */
export type Work = (session: Session, note: (operation: Operation) => void) => Promise<void>;

/** What a client does in one global transaction: the services in the order in which their local transactions begin and commit. */
export interface Plan {
  readonly parts: readonly { readonly service: Service; readonly work: Work }[];
  /** Local transactions stay open until the last has been worked in. */
  readonly isHeld: boolean;
  /** The client aborts at the end, as if something had not been as it liked. */
  readonly isRefused: boolean;
}

const GID_MS_MAX = 8_000;

/** A client with a session of each service, which it opens again when it is lost. */
export class Client implements AsyncDisposable {
  readonly attempts: Attempt[] = [];
  readonly #stage: Stage;
  readonly #sessions = new Map<Service, Session>();

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  /** Carries a plan out; whatever goes wrong is written down and done with. */
  async carryOut(planOf: (gid: string) => Plan): Promise<void> {
    const { coordinator } = this.#stage;
    const begun = await coordinator.begin({ timeoutMs: GID_MS_MAX, retryIntervalMs: 50 }).catch(() => undefined);
    if (begun === undefined) return;
    const { gid } = begun;
    const plan = planOf(gid);
    const operations: Operation[] = [];
    const isDone = await this.#work(gid, plan, (operation) => void operations.push(operation));
    let told: Told = 'unknown';
    try {
      if (isDone && !plan.isRefused) {
        await coordinator.submit(gid);
        told = 'committed';
      } else {
        await coordinator.abort(gid, {});
        told = 'rolled back';
      }
    } catch {
      // Nobody has answered, or the deadline has decided otherwise.
    }
    this.attempts.push({ gid, told, operations });
  }

  /** True when every local transaction has committed. */
  async #work(gid: Gid, plan: Plan, note: (operation: Operation) => void): Promise<boolean> {
    const open: Service[] = [];
    try {
      for (const { service, work } of plan.parts) {
        const session = await this.#session(service);
        open.push(service);
        await session.begin(gid);
        await work(session, note);
        if (!plan.isHeld) await this.#commit(service, open);
      }
      for (const service of open.slice()) await this.#commit(service, open);
      return true;
    } catch {
      // A session may be in a local transaction, or lost; the next attempt opens another.
      for (const service of open) this.#drop(service);
      return false;
    }
  }

  async #commit(service: Service, open: Service[]): Promise<void> {
    await this.#sessions.get(service)?.commit();
    open.splice(open.indexOf(service), 1);
  }

  async #session(service: Service): Promise<Session> {
    const known = this.#sessions.get(service);
    if (known !== undefined && !known.isLost) return known;
    const session = await this.#stage.connect(service);
    this.#sessions.set(service, session);
    return session;
  }

  #drop(service: Service): void {
    this.#sessions.get(service)?.drop();
    this.#sessions.delete(service);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const service of SERVICES) this.#drop(service);
  }
}

/** Both services, in either order; mostly in the same, for the others wait for each other. */
export function bothServices(random: Random): readonly Service[] {
  return random.chance(0.2) ? SERVICES.toReversed() : SERVICES;
}
