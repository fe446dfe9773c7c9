/** What has to be known of messages that go through as they came: which texts were prepared, what the server still owes, who names a gid. */
import type { Gid } from '../../../src/contract/transaction.ts';
import { gidFromSqlComment, gidFromTraceparent } from '../../binding/from-sql-comment.ts';
import { isMarked } from '../../binding/gid-marks.ts';
import { LargeMessage } from '../relay/large-message.ts';
import { Owed } from '../relay/owed.ts';
import { forget, lose, namesGidByParameter, namesGidSetting, remember, type Statements } from './statements.ts';
import { decodeBind } from '../wire/bind.ts';
import { createFrameReader, FRONTEND, HEADER_BYTES, type FrameReader } from '../wire/frames.ts';

/** A whole message of the client. */
export interface ClientFrame {
  readonly type: number;
  readonly bytes: Buffer;
}

export class PassWatch {
  /** Part of a pipeline went through, and its Sync has not. */
  isUnsynced = false;

  readonly #statements: Statements;
  readonly #settings: ReadonlyMap<string, string>;
  readonly #gidOfTrace: (traceId: string) => Gid | undefined;
  readonly #owed = new Owed();
  #large = new LargeMessage();

  constructor(
    statements: Statements,
    settings: ReadonlyMap<string, string>,
    gidOfTrace: (traceId: string) => Gid | undefined,
  ) {
    this.#statements = statements;
    this.#settings = settings;
    this.#gidOfTrace = gidOfTrace;
  }

  /** True when the server has answered every request that went through. */
  get isQuiet(): boolean {
    return this.#owed.isNothing;
  }

  /** Which messages must be looked at as a whole: texts may name a gid, and names matter while a marked statement exists. */
  holds(type: number): boolean {
    if (type === FRONTEND.query || type === FRONTEND.parse || type === FRONTEND.close) return true;
    if (type === FRONTEND.bind) return this.#looksAtNames || this.ambientGid() !== undefined;
    if (type === FRONTEND.describe) return this.#statements.marked > 0;
    return type === FRONTEND.functionCall && this.ambientGid() !== undefined;
  }

  /** A message has gone through: whole if it was held, and without its bytes if it was large. */
  passed(type: number, frame: Buffer): void {
    switch (type) {
      case FRONTEND.query:
        this.#owed.simple();
        forget(this.#statements, '');
        this.isUnsynced = false;
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
        this.#passedExtended();
        break;
      case FRONTEND.close:
        if (frame[HEADER_BYTES] === STATEMENT)
          forget(this.#statements, frame.toString('latin1', HEADER_BYTES + 1, frame.length - 1));
        this.#passedExtended();
        break;
      case FRONTEND.bind:
      case FRONTEND.describe:
      case FRONTEND.execute:
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

  /** True when a whole message names a gid, sets one, or runs a statement that does. */
  concernsGid(type: number, frame: Buffer): boolean {
    if (type === FRONTEND.query || type === FRONTEND.parse) return this.#textConcernsGid(frame.subarray(HEADER_BYTES));
    if (type === FRONTEND.bind || type === FRONTEND.functionCall) {
      if (this.ambientGid() !== undefined) return true;
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

  /**
   * Looks at the piece of a large message that the reader is at. True when the message concerns a gid, or may: as long as its end
   * has not been sent, the server does nothing with it.
   */
  largeConcernsGid({ type, bytes, start, end, isFirst }: FrameReader): boolean {
    if (isFirst) this.#large = new LargeMessage();
    const large = this.#large;
    large.push(bytes.subarray(start, end));
    if (isFirst && RUNNING.includes(type) && this.ambientGid() !== undefined) return true;
    if (type === FRONTEND.query || type === FRONTEND.parse) return large.isMarked;
    if (type !== FRONTEND.bind) return false;
    const found = large.nameAt(1);
    if (found === undefined) return false;
    return found === 'endless' || this.#nameConcernsGid(found.name, () => ANY_GID);
  }

  /** True while the name of a statement alone may tell that it concerns a gid. */
  get #looksAtNames(): boolean {
    return this.#statements.marked > 0 || this.#statements.hasLostMarks;
  }

  /** True when the statement of that name concerns a gid; `values` are the parameters that it is bound to. */
  #nameConcernsGid(name: string, values: () => readonly (Buffer | null)[]): boolean {
    const statement = this.#statements.byName.get(name);
    if (statement === undefined) return name !== '' && this.#statements.hasLostMarks;
    if (!statement.isPrepared) return true;
    if (!statement.isMarked) return false;
    return (
      statement.mayHideMark ||
      namesGidByParameter(statement, values()) ||
      this.#textConcernsGid(Buffer.from(statement.text))
    );
  }

  /** The gid that the session's application_name stands for: some agents put their traceparent there. */
  ambientGid(): Gid | undefined {
    const name = this.#settings.get('application_name');
    return name?.length === TRACEPARENT_LENGTH ? gidFromTraceparent(name, this.#gidOfTrace) : undefined;
  }

  /** The statement is too large to be remembered, and the one in whose place it was prepared may be there or not. */
  #passedLargeParse(): void {
    const found = this.#large.nameAt(0);
    const old = typeof found === 'object' ? this.#statements.byName.get(found.name) : undefined;
    if (old !== undefined) lose(this.#statements, old);
    this.#large = new LargeMessage();
  }

  #passedExtended(): void {
    this.#owed.extended();
    this.isUnsynced = true;
  }

  #textConcernsGid(text: Buffer): boolean {
    if (isMarked(text)) {
      const sql = text.toString('utf8').replaceAll('\0', ' ');
      if (namesGidSetting(sql) || gidFromSqlComment(sql, this.#gidOfTrace) !== undefined) return true;
    }
    return this.ambientGid() !== undefined;
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
