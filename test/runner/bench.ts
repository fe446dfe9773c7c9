/** A runner on a memory store, virtual time, and participants that answer as the test says. */
import type { NewTransaction } from '../../src/contract/new-transaction.ts';
import type { CallResult, Gid, Instant } from '../../src/contract/transaction.ts';
import { branchIdOf } from '../../src/engine/branches/id.ts';
import type { GlobalTransaction } from '../../src/engine/global-transaction.ts';
import type { RunnerEvent } from '../../src/runner/driven.ts';
import type { BranchCall, Store } from '../../src/runner/ports.ts';
import { createRunner, type RunnerOptions } from '../../src/runner/run.ts';
import type { Outcome, Runner } from '../../src/runner/runner.ts';
import { openMemoryStore } from '../../src/store/memory.ts';
import { Time } from '../simulation/time.ts';

/** One call that is in flight until the test answers it. */
export interface OpenCall extends BranchCall {
  readonly answer: (result: CallResult, detail?: string) => void;
  readonly signal: AbortSignal;
}

export interface Bench {
  readonly runner: Runner;
  readonly store: Store;
  readonly time: Time;
  readonly now: () => Instant;
  /** Calls in flight, oldest first. */
  readonly calls: OpenCall[];
  /** The writes so far, in short words. */
  readonly writes: string[];
  readonly events: RunnerEvent[];
  /** Lets everything happen that can within `ms`. */
  readonly pass: (ms: number) => Promise<void>;
  /** Awaits something that needs no time to pass but what it plans itself. */
  readonly settle: <T>(promise: Promise<T>) => Promise<T>;
}

const SILENT: RunnerOptions['log'] = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  fatal: () => undefined,
  child: () => SILENT,
};

/** A store of which some verbs are others. */
export function withVerbs(store: Store, verbs: Partial<Store>): Store {
  return new Proxy(store, {
    get: (target, verb: keyof Store) => verbs[verb] ?? target[verb].bind(target),
  });
}

export function setUp(options: Partial<RunnerOptions> = {}, time: Time = new Time()): Bench {
  const now = (): Instant => time.now as Instant;
  const inner = options.store ?? openMemoryStore();
  const writes: string[] = [];
  const store = withVerbs(inner, {
    insert: (...insert) => {
      writes.push('insert');
      return inner.insert(...insert);
    },
    save: (...save) => {
      writes.push(`${save[0].status} ${save[4]}`);
      return inner.save(...save);
    },
  });
  const calls: OpenCall[] = [];
  const events: RunnerEvent[] = [];
  let gids = 0;
  const runner = createRunner({
    transport: {
      call: (call, signal) =>
        new Promise((resolve) => {
          const open: OpenCall = {
            ...call,
            signal,
            answer: (result, detail) => {
              calls.splice(calls.indexOf(open), 1);
              resolve(detail === undefined ? { result } : { result, detail });
            },
          };
          calls.push(open);
        }),
    },
    clock: { now, at: (instant, run) => time.at(instant, run) },
    newGid: () => `g${(gids += 1)}` as Gid,
    owner: 'me',
    leaseMs: 10_000,
    retentionMs: 3_600_000,
    limits: { branches: 100, unfinished: 1000, calls: 256 },
    log: SILENT,
    onEvent: (event) => events.push(event),
    ...options,
    store,
  });
  const pass = async (ms: number): Promise<void> => time.run(time.now + ms, () => false);
  const settle = async <T>(promise: Promise<T>): Promise<T> => {
    let isSettled = false;
    const settled = promise.finally(() => (isSettled = true));
    await time.run(time.now + 120_000, () => isSettled);
    return settled;
  };
  return { runner, store, time, now, calls, writes, events, pass, settle };
}

export function valueOf<T>(outcome: Outcome<T>): T {
  if (!outcome.ok) throw outcome.error;
  return outcome.value;
}

export function codeOf<T>(outcome: Outcome<T>): string {
  return outcome.ok ? 'ok' : outcome.error.code;
}

/** An undo branch at a host of the resource's name. */
export function branchAt(resource: string, host: string = resource) {
  return {
    kind: 'undo' as const,
    resource,
    operations: { commit: `http://${host}/commit`, rollback: `http://${host}/rollback` },
  };
}

/** Begins a transaction with the given branches. */
export async function beginWith(bench: Bench, resources: readonly string[], timeoutMs = 60_000): Promise<Gid> {
  const { gid } = valueOf(await bench.runner.begin({ timeoutMs })).transaction;
  for (const resource of resources) valueOf(await bench.runner.enlist(gid, branchAt(resource)));
  return gid;
}

/** A saga with a step at each of the hosts. */
export function sagaAt(hosts: readonly string[], wanted: Partial<NewTransaction> = {}): NewTransaction {
  const steps = hosts.map((host, index) => ({
    id: branchIdOf(index + 1),
    action: `http://${host}/action`,
    compensate: `http://${host}/compensate`,
  }));
  return { gid: 'saga' as Gid, mode: 'saga', identity: 'same', protocol: 'http', steps, ...wanted };
}

/** Answers every call with success until none is left. */
export async function answerAll(bench: Bench): Promise<void> {
  await bench.pass(0);
  for (let call = bench.calls[0]; call !== undefined; call = bench.calls[0]) {
    call.answer('success');
    await bench.pass(0);
  }
}

export async function stored(bench: Bench, gid: Gid): Promise<GlobalTransaction | undefined> {
  return (await bench.store.read(gid))?.transaction;
}
