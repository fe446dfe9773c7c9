/** Reads what the server says: hands it on to the client piece by piece, and tells what a session has to know of it. */
import { Passage } from '../../relay/passage.ts';
import { createAnswers, type Answers, type ClientTurn, type PacketRole } from '../wire/answers.ts';
import { CAPABILITY, has, type Capabilities } from '../wire/capabilities.ts';
import { createFrameReader, PACKET_BYTES_MAX, type FrameReader } from '../wire/frames.ts';
import { decodeOk, OUTCOME, STATUS } from '../wire/outcome.ts';
import { decodePrepareOk } from '../wire/rows.ts';
import { decodeStateChanges, readTransactionState } from '../wire/session-state.ts';
import type { Asked } from './asked.ts';
import type { UserChange } from './change-user.ts';
import { serverBroken, type Refusal } from './refusals.ts';
import type { Heard } from './transaction.ts';

export interface AnswerEvents {
  readonly toClient: (bytes: Buffer) => void;
  /** A statement was prepared under a number. */
  readonly onPrepared: (asked: Asked, id: number, parameterCount: number) => void;
  readonly onNotPrepared: () => void;
  /** An answer, or one result of it, has ended so. */
  readonly onHeard: (asked: Asked, what: Heard) => void;
  /** An answer has ended, and its last byte has gone on. */
  readonly onAnswered: (asked: Asked | undefined) => void;
}

/** ER_QUERY_INTERRUPTED. */
export const INTERRUPTED = 1317;

export class AnswerReader {
  /** The login of COM_CHANGE_USER that is said anew on each side. */
  changing: UserChange | undefined;
  /** What the server says cannot be followed any more: it goes through as it comes. */
  isLost = false;

  readonly #events: AnswerEvents;
  readonly #capabilities: Capabilities;
  readonly #answers: Answers<Asked>;
  readonly #reader: FrameReader;
  readonly #passage: Passage;
  /** The packet that the reader is at is read as a whole: because the machine asks for it, or because it is collected. */
  #isHeld = false;
  #isForMachine = false;
  #isShown = true;
  #endsAnswer = true;
  /** Between two results of one answer: what the next packet has to carry. */
  #continuesAt: number | undefined;
  /** What the answer that the packet belongs to was asked with, and how it has ended. */
  #asked: Asked | undefined;
  #end: Heard | undefined;

  constructor(capabilities: Capabilities, events: AnswerEvents) {
    this.#events = events;
    this.#capabilities = capabilities;
    this.#answers = createAnswers(capabilities);
    this.#passage = new Passage(events.toClient);
    this.#reader = createFrameReader({
      holds: (type, length) => {
        this.#isForMachine = !this.isLost && this.#answers.holds(type, length);
        this.#isHeld = this.#isForMachine || (!this.isLost && this.#answers.head()?.collect !== undefined);
        return this.#isHeld;
      },
      // What is held is small by nature; the tracked state of a session may not be.
      maxBytes: PACKET_BYTES_MAX,
    });
  }

  /** A command is sent. */
  expect(code: number, asked: Asked): void {
    if (!this.isLost) this.#answers.push(code, asked);
  }

  /** How many commands wait for the end of their answer. */
  get unanswered(): number {
    return this.isLost ? 0 : this.#answers.size;
  }

  /** All is answered, to the last byte. */
  get isQuiet(): boolean {
    return this.unanswered === 0 && !this.isMidFrame;
  }

  /** What the client's next packet is. */
  get turn(): ClientTurn {
    if (this.changing?.isOpen === true) return 'authentication';
    return this.isLost ? 'command' : this.#answers.turn;
  }

  /** The client has sent a packet that is no command. */
  said(isEmpty: boolean): void {
    if (!this.isLost) this.#answers.said(isEmpty);
  }

  /** Inside a packet of the server's nothing can be said to the client. */
  get isMidFrame(): boolean {
    return this.#reader.isMidFrame;
  }

  /** The number that a packet has to carry that the client hears next. */
  get sequence(): number {
    if (this.changing !== undefined) return this.changing.sequence;
    return this.#endsAnswer ? 1 : this.#reader.sequence;
  }

  /** Takes a chunk. Undefined, or why the session cannot go on. */
  read(chunk: Buffer): Refusal | undefined {
    const reader = this.#reader;
    reader.push(chunk);
    while (reader.next()) {
      if (reader.isFirst) this.#begin(reader);
      if (this.#isShown) this.#passage.add(reader.bytes, reader.start, reader.end);
      if (reader.isLast && this.#endsAnswer && !this.isLost) {
        this.#passage.flush();
        const asked = this.#asked;
        const end = this.#end;
        this.#asked = undefined;
        this.#end = undefined;
        this.#events.onAnswered(asked);
        asked?.onEnd?.(end);
      }
    }
    this.#passage.flush();
    return reader.fault && serverBroken(reader.fault.message);
  }

  #begin(reader: FrameReader): void {
    this.#isShown = true;
    if (this.isLost) return;
    const answers = this.#answers;
    if (this.#continuesAt !== undefined && reader.sequence !== ((this.#continuesAt + 1) & 0xff)) this.#giveUp(answers);
    this.#continuesAt = undefined;
    const asked = answers.head();
    const payload = this.#isHeld ? reader.payload() : undefined;
    const role = payload === undefined || !this.#isForMachine ? answers.passed() : answers.held(payload);
    if (typeof role !== 'string') {
      this.isLost = true;
      return;
    }
    this.#endsAnswer = answers.isEnd;
    if (role === 'result-end') this.#continuesAt = reader.sequence;
    this.#asked = asked;
    if (asked === undefined) return;
    this.#isShown = asked.by === 'client';
    if (payload === undefined) return;
    if (this.#isForMachine) this.#observe(role, payload, asked);
    asked.collect?.(role, Buffer.from(payload));
  }

  /**
   * A server whose statement is killed between two statements of one text says nothing more of it, though it has announced another
   * result; it answers the next command, which begins to count anew. Source: MySQL source: sql/sql_parse.cc, `dispatch_command`.
   */
  #giveUp(answers: Answers<Asked>): void {
    const asked = answers.head();
    if (answers.size < 2 || asked === undefined) return;
    const end: Heard = { kind: 'error', errno: INTERRUPTED };
    answers.abandoned();
    this.#events.onHeard(asked, end);
    this.#events.onAnswered(asked);
    asked.onEnd?.(end);
  }

  #observe(role: PacketRole, payload: Buffer, asked: Asked): void {
    // What is answered ahead of it is about a command of our own.
    const changing = asked.resets === true ? this.changing : undefined;
    if (changing !== undefined && (role === 'authentication' || this.#endsAnswer)) {
      this.#isShown = false;
      this.#passage.flush();
      if (this.#endsAnswer) {
        changing.over(payload);
        this.changing = undefined;
        // Where the sidecar has answered itself, the server speaks again.
      } else if (changing.heard('server', payload) === 'server') this.#answers.said(false);
    }
    if (role === 'prepared') {
      const prepared = decodePrepareOk(payload);
      if (prepared.kind !== 'fault') {
        this.#events.onPrepared(asked, prepared.statement, prepared.parameterCount);
      }
    } else if (role === 'error') {
      if (asked.prepared !== undefined) this.#events.onNotPrepared();
      this.#hear(asked, { kind: 'error', errno: payload.readUInt16LE(1) });
    } else if (role === 'end' || role === 'result-end') this.#heardOk(role, payload, asked);
  }

  #heardOk(role: 'end' | 'result-end', payload: Buffer, asked: Asked): void {
    const { status } = this.#answers;
    if (status === undefined) return;
    if (asked.resets === true && role === 'end') return this.#hear(asked, { kind: 'reset', status });
    const isTracked = (status & STATUS.sessionStateChanged) !== 0 && this.#isTransactionTracked(payload);
    // Of an OK; an EOF, and an OK in its place, have another first byte.
    const wrote = payload[0] === OUTCOME.ok && payload[1] !== 0;
    return this.#hear(asked, { kind: 'ok', status, isTracked, wrote });
  }

  #hear(asked: Asked, what: Heard): void {
    this.#end = what;
    this.#events.onHeard(asked, what);
  }

  /** Session tracking says that a transaction is open. */
  #isTransactionTracked(payload: Buffer): boolean {
    if (!has(this.#capabilities, CAPABILITY.sessionTrack)) return false;
    const ok = decodeOk(payload, this.#capabilities);
    const changes = ok.kind === 'ok' && ok.stateChanges !== undefined ? decodeStateChanges(ok.stateChanges) : [];
    if ('kind' in changes) return false;
    const state = changes.findLast(({ kind }) => kind === 'transaction-state');
    return state?.kind === 'transaction-state' && (readTransactionState(state.state)?.open ?? 'no') !== 'no';
  }
}
