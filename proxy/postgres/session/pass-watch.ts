/** What has to be known of messages that go through as they came: which texts were prepared, what the server still owes, who names a gid. */
import type { Mark } from '../../../src/contract/transaction.ts';
import { markFromSqlComment, markFromTraceparent, type ServedTraces } from '../../binding/from-sql-comment.ts';
import { hasClue } from '../../binding/gid-clues.ts';
import type { Planner } from '../../sql/planner.ts';
import { LargeMessage } from '../relay/large-message.ts';
import { Owed } from '../relay/owed.ts';
import { PathWatch } from '../relay/path-watch.ts';
import { forget, lose, namesGidByParameter, namesGidSetting, remember, type Statements } from './statements.ts';
import { decodeBind } from '../wire/bind.ts';
import { createFrameReader, FRONTEND, HEADER_BYTES, type FrameReader } from '../wire/frames.ts';

/** A whole message of the client. */
export interface ClientFrame {
  readonly type: number;
  readonly bytes: Buffer;
}

/** What it is made of. */
export interface PassWatchParts {
  readonly traces: ServedTraces;
  /** Hears of each statement that is carried out while requests of traces are served that belong to a global transaction. */
  readonly count: (reason: 'unknown-trace' | 'none') => void;
  readonly planner: Pick<Planner, 'knowsNames' | 'pathMoved'>;
  /** What may meet a row lock is looked at, though it names no gid. */
  readonly respectsLocks: boolean;
}

/** A text without any of these words locks, updates and deletes nothing by itself. */
const MAY_MEET_LOCKS = /update|delete|merge|share|execute/i;

export class PassWatch {
  /** Part of a pipeline went through, and its Sync has not. */
  isUnsynced = false;

  readonly #statements: Statements;
  readonly #settings: ReadonlyMap<string, string>;
  readonly #traces: ServedTraces;
  readonly #onUnattributed: (reason: 'unknown-trace' | 'none') => void;
  readonly #path: PathWatch;
  readonly #respectsLocks: boolean;
  readonly #owed = new Owed();
  #large = new LargeMessage();
  /** Why what was looked at last concerns no gid. */
  #reason: 'unknown-trace' | 'none' = 'none';

  constructor(
    statements: Statements,
    settings: ReadonlyMap<string, string>,
    { traces, count, planner, respectsLocks }: PassWatchParts,
  ) {
    this.#path = new PathWatch(settings, planner);
    this.#statements = statements;
    this.#settings = settings;
    this.#traces = traces;
    this.#onUnattributed = count;
    this.#respectsLocks = respectsLocks;
  }

  /** True when the server has answered every request that went through. */
  get isQuiet(): boolean {
    return this.#owed.isNothing;
  }

  /** Which messages must be looked at as a whole: texts may name a gid, and names matter while a statement with a clue exists. */
  holds(type: number): boolean {
    if (this.#respectsLocks && isExtended(type)) return true;
    if (type === FRONTEND.query || type === FRONTEND.parse || type === FRONTEND.close) return true;
    if (type === FRONTEND.bind) return this.#looksAtNames || this.ambientMark() !== undefined;
    if (type === FRONTEND.describe) return this.#statements.withClue > 0;
    return type === FRONTEND.functionCall && this.ambientMark() !== undefined;
  }

  /** A message has gone through: whole if it was held, and without its bytes if it was large. */
  passed(type: number, frame: Buffer): void {
    switch (type) {
      case FRONTEND.query:
        this.#executed();
        this.#owed.simple();
        forget(this.#statements, '');
        this.isUnsynced = false;
        this.#path.passed(frame, false);
        break;
      case FRONTEND.functionCall:
        this.#owed.simple();
        break;
      case FRONTEND.sync:
        this.#owed.sync();
        this.isUnsynced = false;
        break;
      case FRONTEND.parse:
        if (frame.length === 0) this.#passedLargeParse();
        else remember(this.#statements, frame.subarray(HEADER_BYTES));
        this.#path.passed(frame, frame[HEADER_BYTES] !== 0);
        this.#passedExtended();
        break;
      case FRONTEND.close:
        if (frame[HEADER_BYTES] === STATEMENT)
          forget(this.#statements, frame.toString('latin1', HEADER_BYTES + 1, frame.length - 1));
        this.#passedExtended();
        break;
      case FRONTEND.execute:
        this.#executed();
        this.#passedExtended();
        break;
      case FRONTEND.bind:
      case FRONTEND.describe:
        this.#passedExtended();
        break;
      case FRONTEND.copyDone:
      case FRONTEND.copyFail:
        this.#owed.copyEnd();
        break;
      default:
    }
  }

  /** What has passed of the pipeline was not sent after all. `wasUnsynced` says whether a part of it had been sent before. */
  takeBack(wasUnsynced: boolean): void {
    this.isUnsynced = wasUnsynced;
    if (!wasUnsynced) this.#owed.takeBack();
  }

  /** The server is ready for the next request. */
  onReady(): void {
    this.#owed.onReady();
  }

  /** The server waits for COPY data. */
  onCopyIn(): void {
    this.#owed.onCopyIn();
  }

  /** The server answered with an error. */
  onError(): void {
    this.#owed.onError();
  }

  /**
   * True when a whole message names a gid, sets one, or runs a statement that does; also when it may meet a row lock, where those who have no
   * gid respect them.
   */
  concernsGid(type: number, frame: Buffer): boolean {
    const isConcerned = this.#concernsGid(type, frame);
    if (isConcerned) this.#path.named();
    return isConcerned;
  }

  #concernsGid(type: number, frame: Buffer): boolean {
    if (this.#respectsLocks && this.#mayMeetLocks(type, frame)) return true;
    if (type === FRONTEND.query || type === FRONTEND.parse) return this.#textConcernsGid(frame.subarray(HEADER_BYTES));
    if (type === FRONTEND.bind || type === FRONTEND.functionCall) {
      if (this.ambientMark() !== undefined) return true;
    }
    if (!this.#looksAtNames) return false;
    if (type === FRONTEND.describe) {
      const name = frame.toString('latin1', HEADER_BYTES + 1, frame.length - 1);
      return frame[HEADER_BYTES] === STATEMENT && this.#statements.byName.get(name)?.isPrepared === false;
    }
    if (type !== FRONTEND.bind) return false;
    const statementAt = frame.indexOf(0, HEADER_BYTES) + 1;
    const name = frame.toString('latin1', statementAt, frame.indexOf(0, statementAt));
    const bind = (): readonly (Buffer | null)[] => {
      const decoded = decodeBind(frame.subarray(HEADER_BYTES));
      return decoded.kind === 'bind' ? decoded.values : [];
    };
    return this.#nameConcernsGid(name, bind);
  }

  /** A pipeline as a whole, since it is one local transaction. One whose beginning was too large to be looked at goes on as it came. */
  #mayMeetLocks(type: number, frame: Buffer): boolean {
    if (isExtended(type)) return !this.isUnsynced;
    return type === FRONTEND.query && MAY_MEET_LOCKS.test(frame.toString('latin1', HEADER_BYTES));
  }

  /**
   * Looks at the piece of a large message that the reader is at. True when the message concerns a gid, or may: as long as its end
   * has not been sent, the server does nothing with it.
   */
  largeConcernsGid({ type, bytes, start, end, isFirst }: FrameReader): boolean {
    if (isFirst) this.#large = new LargeMessage();
    const large = this.#large;
    large.push(bytes.subarray(start, end));
    if (isFirst && RUNNING.includes(type) && this.ambientMark() !== undefined) return true;
    if (type === FRONTEND.query || type === FRONTEND.parse) return large.hasClue;
    if (type !== FRONTEND.bind) return false;
    const found = large.nameAt(1);
    if (found === undefined) return false;
    return found === 'endless' || this.#nameConcernsGid(found.name, () => ANY_GID);
  }

  /** True while the name of a statement alone may tell that it concerns a gid. */
  get #looksAtNames(): boolean {
    return this.#statements.withClue > 0 || this.#statements.hasLostClues;
  }

  /** True when the statement of that name concerns a gid; `values` are the parameters that it is bound to. */
  #nameConcernsGid(name: string, values: () => readonly (Buffer | null)[]): boolean {
    const statement = this.#statements.byName.get(name);
    if (statement === undefined) return name !== '' && this.#statements.hasLostClues;
    if (!statement.isPrepared) return true;
    if (!statement.hasClue) return false;
    return (
      statement.mayHideClue ||
      namesGidByParameter(statement, values()) ||
      this.#textConcernsGid(Buffer.from(statement.text))
    );
  }

  /**
   * Messages that arrived while the session conversed: those that may pass on, and from the first one that belongs to a global
   * transaction, and what leads up to it in its pipeline, those that may not.
   */
  divide(frames: readonly ClientFrame[]): {
    readonly passing: readonly ClientFrame[];
    readonly kept: readonly ClientFrame[];
    readonly isConcerned: boolean;
  } {
    const concerned = frames.findIndex(({ type, bytes }) => this.concernsGid(type, bytes));
    const end = concerned < 0 ? frames.length : concerned;
    const start = concerned < 0 ? end : frames.slice(0, end).findLastIndex(({ type }) => isSynchronising(type)) + 1;
    return { passing: frames.slice(0, start), kept: frames.slice(start), isConcerned: concerned >= 0 };
  }

  /** The mark that the session's application_name stands for: some agents put their traceparent there. */
  ambientMark(): Mark | 'ambiguous' | undefined {
    const name = this.#settings.get('application_name');
    return name?.length === TRACEPARENT_LENGTH ? markFromTraceparent(name, this.#traces) : undefined;
  }

  /** The statement is too large to be remembered, and the one in whose place it was prepared may be there or not. */
  #passedLargeParse(): void {
    const found = this.#large.nameAt(0);
    const old = typeof found === 'object' ? this.#statements.byName.get(found.name) : undefined;
    if (old !== undefined) lose(this.#statements, old);
    this.#large = new LargeMessage();
  }

  #executed(): void {
    if (this.#traces.size > 0) this.#onUnattributed(this.#reason);
    this.#reason = 'none';
  }

  #passedExtended(): void {
    this.#owed.extended();
    this.isUnsynced = true;
  }

  #textConcernsGid(text: Buffer): boolean {
    if (hasClue(text)) {
      const sql = text.toString('utf8').replaceAll('\0', ' ');
      if (namesGidSetting(sql) || markFromSqlComment(sql, this.#traces) !== undefined) return true;
      if (sql.includes('traceparent')) this.#reason = 'unknown-trace';
    }
    return this.ambientMark() !== undefined;
  }
}

/** True for messages that the server answers with ReadyForQuery. */
export function isSynchronising(type: number): boolean {
  return type === FRONTEND.sync || type === FRONTEND.query || type === FRONTEND.functionCall;
}

/** True for messages that begin a pipeline, or go on with it, up to its Sync. */
export function isExtended(type: number): boolean {
  return EXTENDED.includes(type);
}

/** The whole messages in `bytes`. */
export function framesIn(bytes: Buffer): ClientFrame[] {
  const reader = createFrameReader({ direction: 'frontend', holds: () => true, maxBytes: bytes.length });
  const frames: ClientFrame[] = [];
  reader.push(bytes);
  while (reader.next()) frames.push({ type: reader.type, bytes: reader.bytes.subarray(reader.start, reader.end) });
  return frames;
}

/** What runs a text, or prepares it. */
const RUNNING: readonly number[] = [FRONTEND.query, FRONTEND.parse, FRONTEND.bind, FRONTEND.functionCall];
const EXTENDED: readonly number[] = [
  FRONTEND.parse,
  FRONTEND.bind,
  FRONTEND.describe,
  FRONTEND.execute,
  FRONTEND.close,
];
/** S, of Close */
const STATEMENT = 0x53;
const TRACEPARENT_LENGTH = 55;
/** What a parameter may be that has not been seen. */
const ANY_GID: readonly Buffer[] = [Buffer.from('atomesh.gid')];
