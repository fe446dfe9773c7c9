/**
 * One client session and its one upstream session. While there is no gid, bytes go through as they came and only their frame
 * headers are looked at; from the message that names a gid until its local transaction has ended, `converse` serves.
 */
import type { Socket } from 'node:net';
import { markOf, newSession, ready, type SessionState } from '../../sql/session.ts';
import type { Refusal } from '../../sql/statement.ts';
import { gidOf, workKey, workOf, type Work } from '../../sql/work.ts';
import { CopyIn } from '../operation/copy-in.ts';
import { errorFrame, type Conversation } from './conversation.ts';
import { converse } from './converse.ts';
import { BLOCK, Exchange, reportOf, SessionEnded } from './exchange.ts';
import { Inbox } from './inbox.ts';
import { Injected } from './injected.ts';
import { framesIn, isExtended, isSynchronising, PassWatch, type ClientFrame } from './pass-watch.ts';
import { ServerFacts, type CancelKey } from '../relay/server-facts.ts';
import { Sockets } from '../../relay/sockets.ts';
import { forgetNamed, forgetClueless, noStatements, type Statements } from './statements.ts';
import { bareInstead, withoutTraceComments } from '../relay/bare-statement.ts';
import type { OpenSession, SessionParts } from '../relay/open-session.ts';
import { Twins } from './twins.ts';
import { explainStatement } from '../xa/explain.ts';
import { messageTooLarge, namedInPipeline, rolledBackAsAWhole, sidecarFailed } from './refusals.ts';
import { BACKEND, createFrameReader, type FrameReader } from '../wire/frames.ts';

/** PG source: PQ_LARGE_MESSAGE_LIMIT, the most that a server takes, and its length field. */
const FRAME_BYTES_MAX = 0x3fff_fffe + 1;
/** Before the login nobody can make the sidecar keep more. PG source: PG_MAX_AUTH_TOKEN_LENGTH is the server's limit there. */
const EARLY_FRAME_BYTES_MAX = 65_535 + 1;
/** PG source: src/backend/utils/errcodes.txt. */
const QUERY_CANCELED = '57014';
const NOTHING = Buffer.alloc(0);

/** Starts to relay. `early` are the client's bytes behind its start-up packet, which has been sent upstream. */
export function relay(client: Socket, upstream: Socket, early: Buffer, deps: SessionParts): OpenSession {
  return new Relay(client, upstream, early, deps);
}

class Relay implements OpenSession {
  isConversing = false;

  readonly #sockets: Sockets;
  readonly #deps: SessionParts;
  readonly #fromClient: FrameReader;
  readonly #fromServer: FrameReader;
  readonly #statements: Statements = noStatements();
  readonly #facts: ServerFacts;
  readonly #watch: PassWatch;
  readonly #exchange: Exchange;
  readonly #injected: Injected;
  readonly #twins: Twins;
  readonly #conversation: Conversation;
  readonly #inbox: Inbox;
  readonly #copyIn: CopyIn;

  /** The server's answers are those of the conversation. */
  #isRunning = false;
  #isLoggedIn = false;
  #isOver = false;
  /** The key of the work that was rolled back under this session; it never comes back to life. */
  #abandoned: string | undefined;
  #cancelling: Promise<void> | undefined;

  constructor(client: Socket, upstream: Socket, early: Buffer, deps: SessionParts) {
    this.#deps = deps;
    this.#inbox = new Inbox(() => this.#sockets.resumeClient());
    this.#copyIn = new CopyIn(this.#inbox, (bytes) => this.#sockets.toServer(bytes));
    this.#facts = new ServerFacts({
      stripsChannelBinding: deps.stripsChannelBinding,
      onCopyIn: () => (this.#isRunning ? this.#copyIn.begin(this.#exchange.hasSync) : this.#watch.onCopyIn()),
      onDiscard: () => this.#forgetStatements(),
      onDeallocate: () => forgetClueless(this.#statements),
      onDefined: () => deps.planner.catalogueMoved(),
    });
    this.#watch = new PassWatch(this.#statements, this.#facts.settings, deps);
    const isLoggedIn = (): boolean => this.#isLoggedIn;
    this.#fromClient = createFrameReader({
      direction: 'frontend',
      holds: (type) => this.isConversing || this.#watch.holds(type),
      get maxBytes() {
        return isLoggedIn() ? deps.statementBytesMax : EARLY_FRAME_BYTES_MAX;
      },
      passesLarge: () => isLoggedIn() && !this.isConversing,
    });
    this.#fromServer = createFrameReader({
      direction: 'backend',
      holds: (type) => this.isConversing || this.#facts.isTelling(type),
      maxBytes: FRAME_BYTES_MAX,
    });
    const toServer = (bytes: Buffer): void => this.#sockets.toServer(bytes);
    const toClient = (bytes: Buffer): void => this.#toClient(bytes);
    const explain = (error: Buffer): Buffer => this.#explain(error);
    const bare = deps.stripsComments ? withoutTraceComments : (frame: Buffer): Buffer => frame;
    this.#exchange = new Exchange({ toServer, toClient, explain, bare }, (block, isKept) => {
      this.#conversation.state = ready(this.#conversation.state, block, isKept);
      if (block !== 'idle') return;
      this.#statements.portals.clear();
      this.#facts.idle();
    });
    this.#injected = new Injected(this.#exchange);
    this.#twins = new Twins(
      this.#facts.settings,
      (frame) => void this.#exchange.add({ kind: 'close', to: 'nobody' }, frame),
    );
    this.#conversation = this.#createConversation();
    this.#sockets = new Sockets(client, upstream, {
      onClientData: (chunk) => this.#onClientData(chunk),
      onServerData: (chunk) => this.#onServerData(chunk),
      mayReadClient: () => !this.#inbox.isFull,
      onEnd: () => this.#end(),
    });
    if (early.length > 0) this.#onClientData(early);
    this.#sockets.begin();
  }

  get isCancellable(): boolean {
    return !this.isConversing || this.#exchange.isAtStatement;
  }

  get isRunningStatement(): boolean {
    return this.isConversing && this.#exchange.isAtStatement;
  }

  get work(): Work | undefined {
    const mark = markOf(this.state);
    return mark === undefined ? undefined : workOf(mark, this.#deps.resource);
  }

  get state(): SessionState {
    return this.#conversation.state;
  }

  get key(): CancelKey | undefined {
    return this.#facts.key;
  }

  get closed(): Promise<void> {
    return this.#sockets.closed;
  }

  get isIdle(): boolean {
    const watch = this.#watch;
    if (this.state.block !== 'idle' || !watch.isQuiet || watch.isUnsynced) return false;
    // A session variable keeps a session conversing between its local transactions.
    return !this.isConversing || (this.#inbox.isAwaited && this.#exchange.pending === 0);
  }

  abandon(): void {
    this.#abandoned = this.work && workKey(this.work);
    this.#inbox.doom();
  }

  expectCancel(arrived: Promise<void>): void {
    const cancelling = Promise.allSettled([this.#cancelling, arrived]).then(() => {
      if (this.#cancelling === cancelling) this.#cancelling = undefined;
    });
    this.#cancelling = cancelling;
  }

  terminate(refusal: Refusal): void {
    if (this.#isOver) return;
    // Inside a frame of the server's an error would be read as a part of it.
    this.#sockets.hangUp(this.#fromServer.isMidFrame ? undefined : errorFrame(refusal, 'FATAL'));
    this.#end();
  }

  #createConversation(): Conversation {
    return {
      ...this.#deps,
      state: newSession,
      exchange: this.#exchange,
      injected: this.#injected,
      twins: this.#twins,
      settings: this.#facts.settings,
      statements: this.#statements,
      ambientMark: () => this.#watch.ambientMark(),
      nextOrDoom: () => this.#inbox.nextOrDoom(),
      next: () => this.#inbox.next(),
      isAbandoned: (branch) => this.#abandoned === workKey({ kind: 'undo', branch }),
      cancelling: () => this.#cancelling,
      peek: () => this.#inbox.head?.type,
      toClient: (bytes) => this.#toClient(bytes),
      holdClient: (until) => this.#sockets.holdClient(until),
    };
  }

  #end(): void {
    this.#isOver = true;
    this.#exchange.break();
    this.#inbox.end();
  }

  // ── from the client ────────────────────────────────────────────────────────────────────────────────────────────────────

  #onClientData(chunk: Buffer): void {
    if (this.#isOver) return;
    const reader = this.#fromClient;
    const watch = this.#watch;
    reader.push(chunk);
    /** What of this chunk goes through in one write. */
    let from = -1;
    let to = -1;
    /** Where in this chunk the pipeline begins that is not yet synchronised, and whether a part of it has been sent before. */
    let pipelineAt = -1;
    let wasUnsynced = false;
    while (reader.next()) {
      const { type, start, end, isLarge } = reader;
      if (this.isConversing) {
        this.#receive({ type, bytes: reader.bytes.subarray(start, end) });
        continue;
      }
      if (isLarge && watch.largeConcernsGid(reader)) return this.#tooLarge();
      const isInChunk = reader.bytes === chunk;
      const isWhole = reader.isFirst && reader.isLast;
      if (isWhole && watch.holds(type) && watch.concernsGid(type, reader.bytes.subarray(start, end))) {
        // What leads up to it in the same pipeline goes with it: nothing of that has been sent if it began in this chunk.
        const cut = pipelineAt >= 0 ? pipelineAt : to;
        if (from >= 0 && cut > from) this.#sockets.toServer(chunk.subarray(from, cut));
        from = -1;
        if (pipelineAt >= 0) {
          watch.takeBack(wasUnsynced);
          for (const frame of framesIn(chunk.subarray(pipelineAt, to))) this.#receive(frame);
        }
        this.#receive({ type, bytes: reader.bytes.subarray(start, end) });
        this.#beginConversation();
        continue;
      }
      const bare = this.#deps.stripsComments && isWhole ? bareInstead(reader) : undefined;
      if (isInChunk && bare === undefined) {
        if (from < 0) from = start;
        to = end;
      } else {
        if (from >= 0) this.#sockets.toServer(chunk.subarray(from, to));
        from = -1;
        this.#sockets.toServer(bare ?? reader.bytes.subarray(start, end));
      }
      // What leads up to another text than the client's has gone with it.
      if (isSynchronising(type) || bare !== undefined) pipelineAt = -1;
      else if (pipelineAt < 0 && isInChunk && reader.isFirst && isExtended(type)) {
        pipelineAt = start;
        wasUnsynced = watch.isUnsynced;
      }
      if (reader.isLast)
        watch.passed(type, watch.holds(type) && !isLarge ? reader.bytes.subarray(start, end) : NOTHING);
    }
    if (from >= 0) this.#sockets.toServer(part(chunk, from, to));
    if (reader.fault?.kind === 'too-large' && this.#isLoggedIn) this.#tooLarge();
    else if (reader.fault !== undefined)
      this.#protocolFault(reader.fault.message, 'The connection sent what is not the PostgreSQL protocol.');
  }

  // ── inside a global transaction ────────────────────────────────────────────────────────────────────────────────────────

  #beginConversation(): void {
    this.isConversing = true;
    if (this.#watch.isUnsynced) return this.terminate(namedInPipeline);
    this.#runWhenQuiet();
  }

  /** The conversation begins when the server has answered what went before, to the last byte. */
  #runWhenQuiet(): void {
    if (!this.isConversing || this.#isRunning || !this.#watch.isQuiet || this.#fromServer.isMidFrame) return;
    this.#isRunning = true;
    queueMicrotask(() => void this.#runConversation());
  }

  async #runConversation(): Promise<void> {
    try {
      await converse(this.#conversation);
    } catch (error) {
      if (error instanceof SessionEnded || this.#isOver) return;
      return this.#fail(error);
    }
    this.isConversing = false;
    this.#isRunning = false;
    this.#passOn(this.#inbox.takeAll());
    this.#sockets.resumeClient();
  }

  /** Messages that arrived while the session conversed and belong to nobody's global transaction, up to one that does. */
  #passOn(frames: readonly ClientFrame[]): void {
    const { passing, kept, isConcerned } = this.#watch.divide(frames);
    for (const { type, bytes } of passing) {
      this.#sockets.toServer(this.#deps.stripsComments ? withoutTraceComments(bytes) : bytes);
      this.#watch.passed(type, bytes);
    }
    for (const frame of kept) this.#receive(frame);
    if (isConcerned) this.#beginConversation();
  }

  #receive(frame: ClientFrame): void {
    if (frame.bytes.length > this.#deps.statementBytesMax) return this.#tooLarge();
    if (this.#copyIn.take(frame)) return undefined;
    this.#inbox.add(frame);
    if (this.#inbox.isFull) this.#sockets.pauseClient();
  }

  // ── from the server ────────────────────────────────────────────────────────────────────────────────────────────────────

  #onServerData(chunk: Buffer): void {
    if (this.#isOver) return;
    try {
      this.#readServer(chunk);
    } catch (error) {
      // Answers that no request of ours can have: the server is not one.
      this.#fail(error);
    }
  }

  #readServer(chunk: Buffer): void {
    const reader = this.#fromServer;
    reader.push(chunk);
    let from = -1;
    let to = -1;
    while (reader.next()) {
      const type = reader.type;
      if (this.#isRunning) {
        if (from >= 0) this.#toClient(chunk.subarray(from, to));
        from = -1;
        const frame = reader.bytes.subarray(reader.start, reader.end);
        if (this.#facts.isTelling(type)) this.#facts.observe(type, frame);
        this.#copyIn.answered(type);
        this.#exchange.receive(type, frame);
        continue;
      }
      const rewritten = this.#facts.isWorthALook(reader)
        ? this.#facts.observe(type, reader.bytes.subarray(reader.start, reader.end))
        : undefined;
      if (reader.bytes !== chunk || rewritten !== undefined) {
        if (from >= 0) this.#toClient(chunk.subarray(from, to));
        this.#toClient(rewritten ?? reader.bytes.subarray(reader.start, reader.end));
        from = -1;
      } else {
        if (from < 0) from = reader.start;
        to = reader.end;
      }
      if (reader.isLast && type === BACKEND.error) this.#watch.onError();
      if (reader.isLast && type === BACKEND.readyForQuery) this.#onReady(reader.bytes[reader.end - 1] ?? 0);
      if (this.isConversing) this.#runWhenQuiet();
    }
    if (from >= 0) this.#toClient(part(chunk, from, to));
    if (reader.fault !== undefined) {
      const message = `the database sent what is not its protocol: ${reader.fault.message}`;
      this.#protocolFault(message, 'Check that upstream is a PostgreSQL server.');
    }
  }

  #onReady(status: number): void {
    this.#isLoggedIn = true;
    const block = BLOCK[status] ?? 'idle';
    this.#conversation.state = ready(this.#conversation.state, block);
    if (block === 'idle') this.#facts.idle();
    this.#watch.onReady();
  }

  #forgetStatements(): void {
    forgetNamed(this.#statements);
    this.#injected.forget();
    this.#twins.forget();
    this.#deps.planner.forget();
  }

  // ── out ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A statement that was cancelled because its global transaction was rolled back says so. */
  #explain(error: Buffer): Buffer {
    const { work } = this;
    if (work !== undefined && workKey(work) === this.#abandoned && reportOf(error).code === QUERY_CANCELED)
      return errorFrame(rolledBackAsAWhole(gidOf(work)));
    return explainStatement(error, work, this.state, this.#deps.preparation);
  }

  #toClient(bytes: Buffer): void {
    if (this.isConversing) this.#sockets.gather(bytes);
    else this.#sockets.toClient(bytes);
  }

  #protocolFault(message: string, hint: string): void {
    this.#deps.count('protocol-error');
    this.terminate({ code: '08P01', message, hint });
  }

  #tooLarge(): void {
    this.terminate(messageTooLarge(this.#deps.statementBytesMax));
  }

  #fail(error: unknown): void {
    this.#deps.log.error({ err: error }, 'a database session failed: it is closed');
    this.terminate(sidecarFailed);
  }
}

/** A part of a chunk, which mostly is all of it. */
function part(chunk: Buffer, from: number, to: number): Buffer {
  return from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to);
}
