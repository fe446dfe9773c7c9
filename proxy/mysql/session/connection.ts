/**
 * One client session and its one upstream session, once the login is over. While there is no gid, bytes go through as they came and only
 * their frame headers are looked at; the texts of statements are searched for a gid. A command that names one, and all that follow as long
 * as the session belongs to a global transaction, are looked at one at a time, when what went before is answered.
 */
import { Passage } from '../../relay/passage.ts';
import { Sockets } from '../../relay/sockets.ts';
import type { LoggedIn } from '../login/login.ts';
import { COMMAND } from '../wire/commands.ts';
import { createFrameReader, HEADER_BYTES, PACKET_BYTES_MAX, type FrameReader } from '../wire/frames.ts';
import { AnswerReader } from './answer-reader.ts';
import { OWN, UNSEEN, type Asked } from './asked.ts';
import { Binding, statusOf } from './binding.ts';
import { claimOfConnection, type Claim } from './naming/carriers.ts';
import { beginChange } from './change-user.ts';
import { codeOf, isExecute, LargeCommand, mayConcern, mayName, runs } from './naming/claimants.ts';
import { insteadOf, withoutMarks, withoutValues } from './naming/instead.ts';
import { contextFor, decide, type DecisionContext } from './decide.ts';
import { ANYTHING, lastingOfCommand } from '../inside/past/lasting.ts';
import type { OpenSession, SessionParts } from './open-session.ts';
import { brokenBy, cannotFollow, errorPacket, messageTooLarge, protocolBroken, type Refusal } from './refusals.ts';
import { Serving } from './serving.ts';
import { Statements } from './statements.ts';
import type { Work } from '../../sql/work.ts';

/** Commands that wait for their answers. A client that sends more without reading is not read any further. */
const UNANSWERED_MAX = 1_000;

/** Starts to relay. Nothing behind the login may have been read. */
export function relay(login: LoggedIn, parts: SessionParts): OpenSession {
  return new Relay(login, parts);
}

class Relay implements OpenSession {
  readonly #parts: SessionParts;
  readonly #login: LoggedIn;
  readonly #sockets: Sockets;
  readonly #fromClient: FrameReader;
  readonly #answers: AnswerReader;
  readonly #passage: Passage;
  readonly #statements = new Statements();
  readonly #binding: Binding;

  #isOver = false;
  /** The client is not read until something has been answered. `command`: the reader is at one that waits for that, `served`: at one that is served. */
  #isStopped: false | 'full' | 'command' | 'served' = false;
  readonly #serving: Serving;
  /** The prepared statement that the command which is served runs. */
  #servedStatement: number | undefined;
  /** What came before the pause took effect. */
  #backlog: Buffer[] = [];
  /** The frame that the reader is at has to be looked at as a whole. */
  #isHeld = false;
  /** The frame that the reader is at is no command. */
  #isWord = false;
  /** What passes of a command that is too large to be kept. */
  readonly #large = new LargeCommand();
  readonly #context: DecisionContext;
  /** What the attributes of the connection name, for as long as they hold. */
  #connectionClaim: Claim | undefined;

  constructor(login: LoggedIn, parts: SessionParts) {
    this.#parts = parts;
    this.#login = login;
    this.#binding = new Binding(statusOf(login.ok, login.capabilities));
    this.#connectionClaim = claimOfConnection(login.response.attributes);
    this.#reset();
    this.#context = contextFor(login, parts, { binding: this.#binding, statements: this.#statements });
    this.#answers = new AnswerReader(login.capabilities, {
      toClient: (bytes) => this.#sockets.toClient(bytes),
      onPrepared: ({ prepared, epoch }, id, parameterCount) => {
        if (prepared !== undefined) this.#statements.remember(id, prepared, parameterCount, epoch);
      },
      onNotPrepared: () => this.#statements.failed(),
      onHeard: (asked, what) => {
        this.#binding.heard(asked.effect, what);
        if (what.kind === 'reset') this.#reset();
      },
      onAnswered: () => {
        if (this.#isStopped !== 'served') this.#binding.answered();
      },
    });
    this.#serving = this.#createServing();
    this.#serving.inside?.loggedInto(login.response.database);
    this.#fromClient = createFrameReader({
      holds: (type) => (this.#isHeld = this.#holds(type)),
      maxBytes: parts.statementBytesMax,
      passesLarge: () => this.#binding.isFree && this.#answers.changing === undefined,
    });
    this.#passage = new Passage((bytes) => this.#sockets.toServer(bytes));
    this.#sockets = new Sockets(login.client, login.upstream, {
      onClientData: (chunk) => this.#guarded(() => this.#onClientData(chunk)),
      onServerData: (chunk) => this.#guarded(() => this.#onServerData(chunk)),
      mayReadClient: () => this.#isStopped === false,
      onEnd: () => {
        this.#isOver = true;
        this.#serving.over();
      },
    });
    this.#sockets.begin();
    login.client.resume();
    login.upstream.resume();
  }

  #createServing(): Serving {
    return new Serving(
      {
        seat: {
          binding: this.#binding,
          capabilities: this.#login.capabilities,
          isMariadb: this.#parts.isMariadb,
          toServer: (bytes) => this.#say(bytes),
          expect: (code, asked) => this.#answers.expect(code, asked),
          pass: (asked) => {
            this.#pass(asked);
            this.#passage.flush();
          },
          sockets: () => this.#sockets,
          dropValues: () => this.#dropValues(),
        },
        connection: this.#login.handshake.connectionId,
        onBegin: () => {
          this.#stop('served');
          this.#passage.flush();
          return this.#fromClient.sequence;
        },
        onDone: (endsSession) => this.#served(endsSession),
        onFailed: (error) => this.#failed(error),
      },
      this.#parts,
    );
  }

  get closed(): Promise<void> {
    return this.#sockets.closed;
  }

  get isIdle(): boolean {
    if (!this.#answers.isQuiet || this.#answers.isLost) return false;
    return !this.#fromClient.isMidFrame && this.#binding.transaction.block === 'idle';
  }

  get openWork(): Work | undefined {
    return this.#serving.inside?.openWork;
  }

  abandon(work: Work): void {
    this.#serving.abandon(work, this.#isStopped === false && this.#answers.isQuiet);
  }

  terminate(refusal: Refusal): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#passage.flush();
    // Inside a packet of the server's an error would be read as a part of it.
    this.#sockets.hangUp(this.#answers.isMidFrame ? undefined : errorPacket(refusal, this.#answers.sequence));
  }

  // ── from the client ────────────────────────────────────────────────────────────────────────────────────────────────────

  #onClientData(chunk: Buffer): void {
    if (this.#isStopped !== false) {
      this.#backlog.push(chunk);
      return;
    }
    this.#fromClient.push(chunk);
    this.#readClient();
  }

  /** Reads on, up to a command that has to wait for the answers to those before it. */
  #readClient(): void {
    const reader = this.#fromClient;
    while (this.#isStopped === false && !this.#isOver && reader.next()) this.#piece(reader);
    this.#passage.flush();
    if (this.#isStopped !== false || this.#isOver) return;
    if (reader.fault?.kind === 'too-large') this.terminate(messageTooLarge(this.#parts.statementBytesMax));
    else if (reader.fault !== undefined) this.#protocolFault(protocolBroken(reader.fault.message));
  }

  /** Which messages must be looked at as a whole. */
  #holds(type: number): boolean {
    if (this.#answers.turn !== 'command') return this.#answers.changing !== undefined;
    if (!this.#binding.isFree || this.#serving.isDoomed) return true;
    return mayConcern(type, this.#context);
  }

  #piece(reader: FrameReader): void {
    if (reader.isFirst) this.#isWord = this.#answers.turn !== 'command';
    if (this.#isWord) return this.#word(reader);
    if (this.#isHeld && reader.isFirst && reader.isLast && this.#concernsGid(reader)) {
      if (this.#answers.isQuiet) return this.#serve();
      return this.#stop('command');
    }
    if (reader.isLarge && this.#large.isSuspect(reader, this.#context)) {
      return this.terminate(messageTooLarge(this.#parts.statementBytesMax));
    }
    if (reader.isFirst) this.#serving.ungrant();
    const bare = reader.type === COMMAND.stmtPrepare ? withoutMarks(reader, this.#context) : undefined;
    if (bare === undefined) this.#passage.add(reader.bytes, reader.start, reader.end);
    else this.#say(bare);
    if (!reader.isFirst) return;
    if (runs(reader.type)) this.#ran('none');
    const { bytes, end } = reader;
    const from = reader.start + HEADER_BYTES;
    const lasting = isExecute(reader.type) ? this.#statements.ranUnseen(bytes, from, end) : undefined;
    if (reader.type !== COMMAND.query) this.#serving.inside?.unseen(lasting);
    // Of one that is too large to be kept only the beginning is here, and headers of packets stand within another.
    else if (!reader.isLast || reader.length >= PACKET_BYTES_MAX) this.#serving.inside?.unseen(ANYTHING);
    else this.#serving.inside?.unseenText(bytes, from + 1, end);
    this.#sent(UNSEEN);
  }

  #concernsGid(reader: FrameReader): boolean {
    if (!this.#binding.isFree || this.#serving.isDoomed || reader.type === COMMAND.changeUser) return true;
    return runs(reader.type) && mayName(reader, this.#context);
  }

  /** A part of what is no command: of a file that the server has asked for, or of a login inside COM_CHANGE_USER. */
  #word(reader: FrameReader): void {
    const { changing } = this.#answers;
    if (changing !== undefined) {
      if (changing.heard('client', reader.payload()) === 'server') this.#answers.said(false);
      return;
    }
    this.#passage.add(reader.bytes, reader.start, reader.end);
    if (reader.isLast) this.#answers.said(reader.length === 0);
  }

  /** The command that the reader is at goes on to the server. */
  #pass(asked: Asked, said?: Buffer): void {
    this.#serving.ungrant();
    const reader = this.#fromClient;
    const told = said ?? insteadOf(reader, this.#context);
    if (told === undefined) this.#passage.add(reader.bytes, reader.start, reader.end);
    else this.#say(told);
    this.#sent(asked);
  }

  /** The command that the reader is at has gone on, or has begun to. */
  #sent(how: Asked): void {
    const reader = this.#fromClient;
    const isWhole = reader.isFirst && reader.isLast;
    const code = codeOf(reader);
    let asked = how;
    if (code === COMMAND.resetConnection || code === COMMAND.changeUser) asked = { ...asked, resets: true };
    else if (code === COMMAND.stmtPrepare) {
      const prepared = isWhole ? Buffer.from(reader.payload().subarray(1)) : undefined;
      if (prepared !== undefined) asked = { ...asked, prepared, epoch: this.#serving.inside?.epoch };
      this.#statements.preparing(prepared ?? NOTHING);
    } else if (isWhole && this.#isHeld) {
      this.#statements.passed(code, reader.payload(), this.#binding.isFree ? 0 : this.#parts.statementBytesMax);
    }
    const lasting = lastingOfCommand(code);
    if (lasting !== undefined) this.#serving.inside?.unseen(lasting);
    if (code === COMMAND.setOption && isWhole) this.#serving.optionSet(reader.payload());
    this.#answers.expect(code, asked);
    if (this.#answers.unanswered >= UNANSWERED_MAX) this.#stop('full');
  }

  #stop(why: 'full' | 'command' | 'served'): void {
    this.#isStopped = why;
    this.#sockets.pauseClient();
  }

  /** Goes on with what waited for answers that are here now. */
  #goOn(): void {
    const { unanswered, isQuiet } = this.#answers;
    const isReady = this.#isStopped === 'full' ? unanswered <= UNANSWERED_MAX / 2 : isQuiet;
    if (this.#isStopped === false || this.#isStopped === 'served' || this.#isOver || !isReady) return;
    const wasAtCommand = this.#isStopped === 'command';
    this.#isStopped = false;
    if (wasAtCommand) this.#serve();
    this.#readOn();
  }

  #readOn(): void {
    this.#readClient();
    while (this.#backlog.length > 0 && this.#mayRead()) this.#onClientData(this.#backlog.shift() ?? NOTHING);
    if (this.#mayRead()) this.#sockets.resumeClient();
  }

  #mayRead(): boolean {
    return this.#isStopped === false && !this.#isOver;
  }

  // ── what may concern a global transaction ──────────────────────────────────────────────────────────────────────────────

  /** Serves the whole command that the reader is at; all before it is answered. */
  #serve(): void {
    const reader = this.#fromClient;
    const code = codeOf(reader);
    const payload = reader.payload();
    if (code === COMMAND.changeUser) return this.#changeUser(payload);
    const decision = decide(code, payload, this.#context);
    const isConcerned = decision.kind === 'refuse' || this.#binding.mark !== undefined;
    if (this.#answers.isLost && isConcerned) return this.terminate(cannotFollow);
    if (decision.kind === 'refuse') return this.#refuse(decision.refusal);
    if (decision.kind === 'inside') {
      this.#servedStatement = decision.said.prepared?.statement.id;
      return this.#serving.start((inside) => inside.serve(decision.said));
    }
    const refusal = decision.isInside ? undefined : decision.said && this.#serving.inside?.admit(decision.said);
    if (refusal !== undefined) return this.#refuse(refusal);
    if (decision.isInside) this.#parts.count('passed');
    else if (runs(code)) this.#ran(decision.reason);
    return this.#pass(decision.effect === 'unknown' ? UNSEEN : { by: 'client', effect: decision.effect });
  }

  #refuse(refusal: Refusal): void {
    this.#parts.count('refused');
    this.#sockets.toClient(errorPacket(refusal, this.#fromClient.sequence));
    this.#binding.answered();
    this.#dropValues();
  }

  /** Values that were sent ahead of a prepared statement that does not run would stand in front of those of its next run. */
  #dropValues(): void {
    const reset = withoutValues(this.#fromClient, this.#context);
    if (reset === undefined) return;
    this.#say(reset);
    this.#answers.expect(COMMAND.stmtReset, OWN);
  }

  /** What was served is done. */
  #served(endsSession: boolean): void {
    if (this.#isOver) return;
    // What the client has run has not run as it came, so that the server has the values still.
    const id = this.#servedStatement;
    this.#servedStatement = undefined;
    if (id !== undefined && (this.#statements.get(id)?.long.size ?? 0) > 0) this.#dropValues();
    if (endsSession) {
      this.#isOver = true;
      return this.#sockets.hangUp();
    }
    this.#isStopped = false;
    this.#binding.answered();
    return this.#guarded(() => this.#readOn());
  }

  /** Says something of the sidecar's own to the server, behind what the client has said. */
  #say(bytes: Buffer): void {
    this.#passage.flush();
    this.#sockets.toServer(bytes);
  }

  /** Another user, and a session like new; its attributes may name a global transaction. */
  #changeUser(payload: Buffer): void {
    const begun = beginChange(payload, this.#login, {
      toClient: (bytes) => this.#sockets.toClient(bytes),
      toServer: (bytes) => this.#say(bytes),
      refused: (refusal) => this.terminate(refusal),
    });
    if (begun.kind === 'malformed') return this.#protocolFault(protocolBroken('COM_CHANGE_USER is malformed'));
    if (begun.kind === 'refused') return this.terminate(begun.refusal);
    this.#connectionClaim = begun.claim;
    this.#answers.changing = begun.changing;
    return this.#pass({ by: 'client', effect: 'ends' }, begun.told);
  }

  /** A statement is carried out outside of any global transaction, perhaps while a request of one is being served. */
  #ran(reason: 'none' | 'unknown-trace'): void {
    if (this.#parts.traces.size > 0) this.#parts.count(reason);
  }

  // ── from the server ────────────────────────────────────────────────────────────────────────────────────────────────────

  #onServerData(chunk: Buffer): void {
    if (this.#isOver) return;
    const refusal = this.#answers.read(chunk);
    if (this.#serving.isBusy && this.#answers.isLost) return this.terminate(cannotFollow);
    return refusal === undefined ? this.#goOn() : this.#protocolFault(refusal);
  }

  #reset(): void {
    this.#statements.forgetAll();
    this.#serving?.inside?.reset();
    if (this.#connectionClaim !== undefined) this.#binding.claim(this.#connectionClaim);
  }

  #protocolFault(refusal: Refusal): void {
    this.#parts.count('protocol-error');
    this.terminate(refusal);
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    this.#parts.log.error({ err: error }, 'a database session failed: it is closed');
    this.terminate(brokenBy(error));
  }
}

const NOTHING: Buffer = Buffer.alloc(0);
