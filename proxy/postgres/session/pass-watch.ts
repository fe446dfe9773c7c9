/** What has to be known of messages that go through as they came: which texts were prepared, what the server still owes, who names a gid. */
import type { Gid } from '../../../src/contract/transaction.ts';
import { gidFromSqlComment, gidFromTraceparent } from '../../binding/from-sql-comment.ts';
import { Owed } from '../relay/owed.ts';
import { forget, isMarked, remember, type Statements, namesGidByParameter, namesGidSetting } from './statements.ts';
import { decodeBind } from '../wire/bind.ts';
import { createFrameReader, FRONTEND, HEADER_BYTES } from '../wire/frames.ts';

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
    if (type === FRONTEND.bind) return this.#statements.marked > 0 || this.ambientGid() !== undefined;
    if (type === FRONTEND.describe) return this.#statements.marked > 0;
    return type === FRONTEND.functionCall && this.ambientGid() !== undefined;
  }

  /** A message, whole if it is held, has gone through. */
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
        remember(this.#statements, frame, frame.subarray(HEADER_BYTES));
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
    if (this.#statements.marked === 0) return false;
    if (type === FRONTEND.describe) {
      const name = frame.toString('latin1', HEADER_BYTES + 1, frame.length - 1);
      return frame[HEADER_BYTES] === STATEMENT && this.#statements.byName.get(name)?.isPrepared === false;
    }
    if (type !== FRONTEND.bind) return false;
    const statementAt = frame.indexOf(0, HEADER_BYTES) + 1;
    const name = frame.toString('latin1', statementAt, frame.indexOf(0, statementAt));
    const statement = this.#statements.byName.get(name);
    if (statement === undefined) return false;
    if (!statement.isPrepared) return true;
    if (!statement.isMarked) return false;
    const bind = decodeBind(frame.subarray(HEADER_BYTES));
    if (bind.kind === 'bind' && namesGidByParameter(statement, bind.values)) return true;
    return this.#textConcernsGid(Buffer.from(statement.text));
  }

  /** The gid that the session's application_name stands for: some agents put their traceparent there. */
  ambientGid(): Gid | undefined {
    const name = this.#settings.get('application_name');
    return name?.length === TRACEPARENT_LENGTH ? gidFromTraceparent(name, this.#gidOfTrace) : undefined;
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
