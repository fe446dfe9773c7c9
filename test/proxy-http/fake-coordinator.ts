/** A coordinator in memory with real state and switches for failure: what the sidecar's client sees, without the network. */
import { CodedError } from '../../src/contract/errors.ts';
import type {
  AbortRequest,
  BeginRequest,
  EnlistAnswer,
  RunAnswer,
  TransactionList,
  TransactionView,
} from '../../src/contract/messages.ts';
import type { Gid, GlobalStatus, Instant } from '../../src/contract/transaction.ts';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';
import { newGid } from '../../src/platform/random.ts';

export type Verb = 'begin' | 'submit' | 'abort' | 'read';

/** What happens to a call: it is lost on the way there, or its answer on the way back. */
export type Loss = 'request' | 'answer';

interface Kept {
  status: GlobalStatus;
  readonly begun: BeginRequest;
  reason: string | undefined;
}

export class FakeCoordinator implements CoordinatorClient {
  readonly transactions = new Map<Gid, Kept>();
  readonly calls: string[] = [];
  /** Losses still to happen, by verb. */
  readonly losses = new Map<Verb, Loss[]>();
  /** Calls of a verb wait for this before they take effect. */
  readonly gates = new Map<Verb, Promise<unknown>>();

  /** The only transaction there is. */
  single(): Kept & { readonly gid: Gid } {
    const [entry, another] = this.transactions;
    if (entry === undefined || another !== undefined)
      throw new Error(`there are ${this.transactions.size} transactions`);
    return { gid: entry[0], ...entry[1] };
  }

  lose(verb: Verb, loss: Loss, times: number): void {
    this.losses.set(
      verb,
      Array.from({ length: times }, () => loss),
    );
  }

  /** As the coordinator does by itself when the deadline passes. */
  expire(): void {
    for (const kept of this.transactions.values()) {
      if (kept.status === 'prepared') kept.status = 'failed';
    }
  }

  begin(request: BeginRequest): Promise<TransactionView> {
    return this.call('begin', () => {
      const gid = request.gid ?? newGid();
      this.transactions.set(gid, { status: 'prepared', begun: request, reason: undefined });
      return this.view(gid);
    });
  }

  submit(gid: Gid): Promise<TransactionView> {
    return this.call('submit', () => {
      const kept = this.known(gid);
      if (kept.status === 'prepared') kept.status = 'submitted';
      if (kept.status === 'failed' || kept.status === 'aborting') {
        throw new CodedError('TRANSACTION_ROLLED_BACK', 'rolled back');
      }
      return this.view(gid);
    });
  }

  abort(gid: Gid, { reason }: AbortRequest): Promise<TransactionView> {
    return this.call('abort', () => {
      const kept = this.known(gid);
      if (kept.status === 'submitted' || kept.status === 'succeed')
        throw new CodedError('TRANSACTION_DECIDED', 'committed');
      if (kept.status === 'prepared') {
        kept.status = 'failed';
        kept.reason = reason;
      }
      return this.view(gid);
    });
  }

  read(gid: Gid): Promise<TransactionView | undefined> {
    return this.call('read', () => (this.transactions.has(gid) ? this.view(gid) : undefined));
  }

  enlist(): Promise<EnlistAnswer> {
    return Promise.reject(new CodedError('INTERNAL', 'not used here'));
  }
  runs(): Promise<RunAnswer> {
    return Promise.reject(new CodedError('INTERNAL', 'not used here'));
  }
  step(): Promise<void> {
    return Promise.reject(new CodedError('INTERNAL', 'not used here'));
  }
  steps(): Promise<RunAnswer> {
    return Promise.reject(new CodedError('INTERNAL', 'not used here'));
  }
  retry(): Promise<TransactionView> {
    return Promise.reject(new CodedError('INTERNAL', 'not used here'));
  }
  resolve(): Promise<TransactionView> {
    return Promise.reject(new CodedError('INTERNAL', 'not used here'));
  }
  stop(): Promise<TransactionView> {
    return Promise.reject(new CodedError('INTERNAL', 'not used here'));
  }
  list(): Promise<TransactionList> {
    return Promise.resolve({ transactions: [] });
  }
  ready(): Promise<boolean> {
    return Promise.resolve(true);
  }
  close(): Promise<void> {
    return Promise.resolve();
  }

  private async call<T>(verb: Verb, run: () => T): Promise<T> {
    this.calls.push(verb);
    await this.gates.get(verb);
    const loss = this.losses.get(verb)?.shift();
    const unreachable = new CodedError('COORDINATOR_UNREACHABLE', 'no answer', { retry: 'safe' });
    if (loss === 'request') throw unreachable;
    const result = run();
    if (loss === 'answer') throw unreachable;
    return result;
  }

  private known(gid: Gid): Kept {
    const kept = this.transactions.get(gid);
    if (kept === undefined) throw new CodedError('GID_UNKNOWN', 'unknown');
    return kept;
  }

  private view(gid: Gid): TransactionView {
    const { status } = this.known(gid);
    return { gid, mode: 'mesh', status, createdAt: 0 as Instant, needsAttention: false, branches: [] };
  }
}
