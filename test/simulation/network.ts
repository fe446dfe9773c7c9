/** The way from a coordinator to the participants and back, on which everything happens that happens to packets. */
import type { CallResult } from '../../src/contract/transaction.ts';
import type { BranchCall, Transport } from '../../src/runner/ports.ts';
import type { Life } from './coordinator.ts';
import type { Faults } from './faults.ts';
import type { History } from './history.ts';
import type { Asked, Participant } from './participants/participant.ts';
import type { Random } from './random.ts';
import type { Time } from './time.ts';

export interface NetworkOptions {
  readonly time: Time;
  readonly random: Random;
  readonly history: History;
  readonly faults: () => Faults;
  readonly participants: ReadonlyMap<string, Participant>;
}

type Answer = { readonly result: CallResult; readonly detail?: string };
/** What is asked, and where. */
export type Request = Asked & { readonly url: string };
/** An initiator that can be asked. */
type Handler = (request: Request) => Promise<CallResult>;

export class Network {
  readonly #options: NetworkOptions;
  /** Participants and replicas that do not answer before this instant. */
  readonly #downUntil = new Map<string, number>();
  readonly #initiators = new Map<string, Handler>();

  constructor(options: NetworkOptions) {
    this.#options = options;
  }

  /** Makes a replica, named `service.replica`, unreachable until the given instant. */
  takeDown(host: string, until: number): void {
    this.#downUntil.set(host, until);
  }

  /** Lets an initiator be asked under this host's name. */
  serve(host: string, handler: Handler): void {
    this.#initiators.set(host, handler);
  }

  /** A call that an initiator makes itself. */
  callDirectly(request: Request, timeoutMs: number): Promise<CallResult> {
    return new Promise((resolve) => {
      this.#options.time.after(timeoutMs, () => resolve('unknown'));
      this.#send(request, ({ result }) => resolve(result));
    });
  }

  /** The transport of one coordinator. */
  transportFor(life: Life): Transport {
    return { call: (call, signal) => this.#call(life, call, signal) };
  }

  #call(life: Life, call: BranchCall, signal: AbortSignal): Promise<Answer> {
    const { time } = this.#options;
    life.checks.started(life.name, call, time.now);
    return new Promise((resolve) => {
      let isOver = false;
      const end = (answer: Answer): void => {
        if (isOver) return;
        isOver = true;
        cancelTimeout();
        life.checks.ended(call, answer.result, signal.aborted, time.now);
        resolve(answer);
      };
      const cancelTimeout = time.after(call.timeoutMs, () =>
        life.deliver(() => end({ result: 'unknown', detail: 'no answer in time' })),
      );
      signal.addEventListener('abort', () => end({ result: 'unknown', detail: 'given up' }), { once: true });
      this.#send(call, (answer) => life.deliver(() => end(answer)));
    });
  }

  #send(call: Request, receive: (answer: Answer) => void): void {
    const { time, random, history } = this.#options;
    if (this.#happens('call is lost')) return;
    const copies = this.#happens('call is delivered twice') ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      const delay = this.#happens('call arrives late') ? random.between(100, 3000) : random.between(1, 10);
      const arrive = async (): Promise<void> => {
        const answer = await this.#arrive(call);
        if (this.#happens('answer is lost after the effect')) return;
        time.after(random.between(1, 10), () => receive(answer));
      };
      time.after(delay, () => void arrive().catch((error: unknown) => history.violated('defect', String(error))));
    }
  }

  async #arrive(call: Request): Promise<Answer> {
    const { time, history, participants } = this.#options;
    const [, host = ''] = /^http:\/\/([^/]+)\//.exec(call.url) ?? [];
    if ((this.#downUntil.get(host) ?? 0) > time.now) return { result: 'unknown', detail: 'connection refused' };
    if (host.endsWith('.2')) history.count('second alternative was called');
    if (this.#happens('participant answers unknown')) return { result: 'unknown', detail: 'status 500' };
    if (this.#happens('participant answers ongoing')) return { result: 'ongoing' };
    const initiator = this.#initiators.get(host);
    if (initiator !== undefined) return { result: await initiator(call) };
    // Only a participant may: of an initiator a failure is the word that nothing was committed.
    if (this.#happens('participant answers failure')) return { result: 'failure' };
    const participant = participants.get(host.split('.', 1)[0] ?? '');
    if (participant === undefined) throw new Error(`nobody at ${call.url}`);
    return { result: participant.perform(call) };
  }

  #happens(kind: keyof Faults): boolean {
    const { random, faults, history } = this.#options;
    const happens = random.chance(faults()[kind]);
    if (happens) history.count(kind);
    return happens;
  }
}
