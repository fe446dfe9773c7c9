/**
 * Sends requests to the server in batches and brings the answers to whom they belong: to the client, to nobody (our own
 * requests), or held back until the session has decided (a captured statement whose branch is still being enlisted).
 */
import { assert } from '../../../src/platform/assert.ts';
import { createExpectedReplies } from '../../sql/expected-replies.ts';
import type { BlockStatus } from '../../sql/session.ts';
import { decodeReport, readReport, type ReportTexts } from '../wire/error.ts';
import { BACKEND, HEADER_BYTES } from '../wire/frames.ts';

/** What a request is, by how its answer ends. `query` is a simple query: everything up to ReadyForQuery is its answer. */
export type RequestKind =
  | 'parse'
  | 'bind'
  | 'close'
  | 'describe-statement'
  | 'describe-portal'
  | 'execute'
  | 'sync'
  | 'query'
  | 'invented';

export interface RequestSpec {
  readonly kind: RequestKind;
  /** Where the answer goes. `held`: kept in `frames` for the caller to pass on or drop. */
  readonly to: 'client' | 'nobody' | 'held';
  /** It ends a block: it must not be cancelled, whoever asks. */
  readonly isDecisive?: boolean;
  /** The client gets its notices, though not its answer: what triggers say at the end of a local transaction. */
  readonly tellsNotices?: boolean;
  /** Its ReadyForQuery is not passed on: more follows before the client has the next word. */
  readonly keepsReady?: boolean;
  /** The bytes that stand for the answer of an `invented` request: the server is not asked. */
  readonly invented?: Buffer;
}

/** A request that was sent, and its answer as far as it has come. */
export interface Request extends RequestSpec {
  readonly synchronises: boolean;
  state: 'waiting' | 'done' | 'failed' | 'skipped';
  /** Whole frames of the answer, kept when `to` is `held` or `nobody`. */
  frames: Buffer[];
  /** The ErrorResponse frame, when it failed. */
  error: Buffer | undefined;
  /** The command tag of the last CommandComplete. */
  tag: string | undefined;
  /** Called once when the state is no longer `waiting`. */
  onEnd: (() => void) | undefined;
}

export interface ExchangeOutput {
  toServer(bytes: Buffer): void;
  /** A message with a statement, as it goes to the server: mostly itself. */
  bare(frame: Buffer): Buffer;
  toClient(bytes: Buffer): void;
  /** The ErrorResponse that takes the place of the server's: mostly itself. */
  explain(error: Buffer): Buffer;
}

const ENDS: Readonly<Record<RequestKind, readonly number[]>> = {
  parse: [BACKEND.parseComplete],
  bind: [BACKEND.bindComplete],
  close: [BACKEND.closeComplete],
  'describe-statement': [BACKEND.rowDescription, BACKEND.noData],
  'describe-portal': [BACKEND.rowDescription, BACKEND.noData],
  execute: [BACKEND.commandComplete, BACKEND.emptyQueryResponse, BACKEND.portalSuspended],
  sync: [BACKEND.readyForQuery],
  query: [BACKEND.readyForQuery],
  invented: [],
};

/** ReadyForQuery's byte. */
export const BLOCK: Readonly<Record<number, BlockStatus>> = { 0x49: 'idle', 0x54: 'open', 0x45: 'failed' };

export class Exchange {
  readonly #output: ExchangeOutput;
  readonly #replies = createExpectedReplies<Request>();
  readonly #onReady: (block: BlockStatus, isKept: boolean) => void;
  #batch: Buffer[] = [];
  #waiters: (() => void)[] = [];
  #isBroken = false;
  #isSkipping = false;
  /** The last answer was neither an error nor the tag ROLLBACK. */
  #isKept = true;
  /** Unanswered statements of the client's, and unanswered ends of a block. */
  #statements = 0;
  #decisive = 0;

  /** `onReady` hears each ReadyForQuery, whoever asked for it, and whether what went before was kept if it has ended. */
  constructor(output: ExchangeOutput, onReady: (block: BlockStatus, isKept: boolean) => void) {
    this.#output = output;
    this.#onReady = onReady;
  }

  /** Adds a request to the batch. Nothing is sent before `flush`. */
  add(spec: RequestSpec, bytes?: Buffer): Request {
    const request: Request = {
      ...spec,
      // Behind an error of the extended protocol a server drops a Query too (PG source: postgres.c, ignore_till_sync).
      synchronises: spec.kind === 'sync',
      state: 'waiting',
      frames: [],
      error: undefined,
      tag: undefined,
      onEnd: undefined,
    };
    const isText = spec.kind === 'query' || spec.kind === 'parse';
    if (bytes !== undefined) this.#batch.push(isText ? this.#output.bare(bytes) : bytes);
    this.#replies.push(request);
    this.#count(request, 1);
    return request;
  }

  /** Adds bytes that are not answered (Flush). */
  addUnanswered(bytes: Buffer): void {
    this.#batch.push(bytes);
  }

  /** Sends the batch in one write. What was added behind an error that has been answered will not be: the server skips it. */
  flush(): void {
    if (this.#isSkipping) for (const request of this.#replies.takeSkipped()) this.#end(request, 'skipped');
    if (this.#batch.length === 1) this.#output.toServer(this.#batch[0] as Buffer);
    else if (this.#batch.length > 1) this.#output.toServer(Buffer.concat(this.#batch));
    this.#batch = [];
    this.#deliverInvented();
  }

  /** True when an error was answered and no synchronising request is on its way: the server skips everything until one comes. */
  get isSkipping(): boolean {
    return this.#isSkipping;
  }

  /**
   * True when a statement of the client's, captured or not, may be running, and nothing that must not be cancelled. The server
   * keeps its answers until the end of the batch: of what is unanswered, anything may be what it is at.
   */
  get isAtStatement(): boolean {
    return this.#statements > 0 && this.#decisive === 0;
  }

  /** True when a Sync was sent that is not answered. */
  get hasSync(): boolean {
    return this.#replies.some(({ kind }) => kind === 'sync');
  }

  /** Requests that wait for an answer. */
  get pending(): number {
    return this.#replies.size;
  }

  /** Resolves when every request sent so far is answered or skipped; rejects with `SessionEnded` when the session is over. */
  async settled(): Promise<void> {
    this.flush();
    while (this.#replies.size > 0) {
      if (this.#isBroken) throw new SessionEnded();
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
    if (this.#isBroken) throw new SessionEnded();
  }

  /** The connection is gone: whoever waits is told. */
  break(): void {
    this.#isBroken = true;
    this.#wake();
  }

  /** Takes one whole frame of the server. */
  receive(type: number, frame: Buffer): void {
    if (type === BACKEND.notification || type === BACKEND.parameterStatus) {
      this.#output.toClient(frame);
      return;
    }
    const head = this.#replies.head();
    if (head === undefined) {
      // Unasked: a notice, or the FATAL error before the server closes.
      this.#output.toClient(frame);
      return;
    }
    if (type === BACKEND.notice) {
      if (head.to !== 'nobody' || head.tellsNotices === true) this.#output.toClient(frame);
      return;
    }
    if (type === BACKEND.error) this.#receiveError(head, frame);
    else this.#receiveAnswer(head, type, frame);
    this.#deliverInvented();
    if (this.#replies.size === 0) this.#wake();
  }

  #receiveError(head: Request, said: Buffer): void {
    const frame = this.#output.explain(said);
    head.error = frame;
    this.#isKept = false;
    // Behind a FATAL error there will be no decision of ours: the server has ended the session.
    if (head.to === 'client' || isFatal(said)) this.#output.toClient(frame);
    if (head.kind === 'query' || head.kind === 'sync') {
      // A query goes on to its ReadyForQuery; so does a Sync whose implicit commit failed (a deferred constraint).
      head.state = 'failed';
      return;
    }
    const [failed, ...skipped] = this.#replies.takeFailed();
    assert(failed === head, 'the failed request heads the queue');
    this.#end(head, 'failed');
    for (const request of skipped) this.#end(request, 'skipped');
    if (this.#replies.size === 0) this.#isSkipping = true;
  }

  #receiveAnswer(head: Request, type: number, frame: Buffer): void {
    if (type === BACKEND.commandComplete) {
      head.tag = frame.toString('latin1', HEADER_BYTES, frame.length - 1);
      this.#isKept = head.tag !== 'ROLLBACK';
    }
    if (type === BACKEND.readyForQuery) {
      // Whoever waited for the answer of something else would wait for ever.
      assert(head.kind === 'sync' || head.kind === 'query', `ReadyForQuery does not answer ${head.kind}`);
      this.#isSkipping = false;
      this.#onReady(BLOCK[frame[HEADER_BYTES] ?? 0] ?? 'idle', this.#isKept);
    }
    const isKept = type === BACKEND.readyForQuery && head.keepsReady === true;
    if (head.to === 'client' && !isKept) this.#output.toClient(frame);
    else head.frames.push(frame);
    if (!ENDS[head.kind].includes(type)) return;
    this.#replies.done();
    this.#end(head, head.state === 'waiting' ? 'done' : head.state);
  }

  #deliverInvented(): void {
    for (let head = this.#replies.head(); head?.kind === 'invented'; head = this.#replies.head()) {
      assert(head.invented !== undefined, 'an invented answer has bytes');
      this.#output.toClient(head.invented);
      this.#replies.done();
      this.#end(head, 'done');
    }
  }

  #end(request: Request, state: 'done' | 'failed' | 'skipped' | 'waiting'): void {
    request.state = state;
    this.#count(request, -1);
    request.onEnd?.();
  }

  #count(request: Request, one: 1 | -1): void {
    if (request.isDecisive === true) this.#decisive += one;
    else if ((request.kind === 'execute' || request.kind === 'query') && request.to !== 'nobody')
      this.#statements += one;
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }
}

/** The texts of an ErrorResponse frame; none of one that is malformed. */
export function reportOf(frame: Buffer): ReportTexts {
  const report = decodeReport('error', frame.subarray(HEADER_BYTES));
  return report.kind === 'fault' ? {} : readReport(report);
}

function isFatal(frame: Buffer): boolean {
  const { severity } = reportOf(frame);
  return severity === 'FATAL' || severity === 'PANIC';
}

/** The client or the server is gone; nobody is left to be told. */
export class SessionEnded extends Error {
  constructor() {
    super('the database session has ended');
    this.name = 'SessionEnded';
  }
}
