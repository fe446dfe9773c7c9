/**
 * Where each answer ends. A server answers strictly in order, but nothing in its packets says which of them is the last: that follows
 * from the command, the capabilities and the first bytes of the packets before. This machine looks at no more than those, keeps no
 * packet, and lets rows and definitions pass in the pieces that they come in.
 * Source: MySQL documentation, "Command Phase" and "Text Resultset"; MariaDB documentation, "Result Set Packets".
 */
import { protocolFault, type ProtocolFault } from './body.ts';
import { AUTHENTICATION, CACHING_SHA2 } from './authentication.ts';
import { CAPABILITY, has, type Capabilities } from './capabilities.ts';
import { COMMAND } from './commands.ts';
import { PACKET_BYTES_MAX } from './frames.ts';
import { decodeColumnCount, decodePrepareOk } from './rows.ts';
import { EOF_BYTES_MAX, OUTCOME, PROGRESS_ERRNO, STATUS, statusOf } from './outcome.ts';

/** What a packet of the server is in its answer. Whether it is the last says `isEnd`: a definition may be, too. */
export type PacketRole =
  /** The count of columns that a result begins with. */
  | 'columns'
  /** The answer to COM_STMT_PREPARE, before the definitions. */
  | 'prepared'
  | 'definition'
  /** The EOF behind definitions. */
  | 'definitions-end'
  | 'row'
  /** A word of the server on how far it has come. */
  | 'progress'
  /** The server wants the client's file: packets of the client follow, up to an empty one. */
  | 'local-infile'
  /** Something said while a login or COM_CHANGE_USER is under way. */
  | 'authentication'
  /** OK or EOF at the end of a result behind which another follows. */
  | 'result-end'
  /** OK, EOF or another single packet that ends the answer well. */
  | 'end'
  /** ERR at the end of the answer. */
  | 'error'
  /** An ERR that answers nothing: the server is about to close the connection. */
  | 'unasked-error'
  /** Of a command whose answer has no end that could be told: replication, and what is not known. */
  | 'opaque';

/** Whose turn the client's next packet is. */
export type ClientTurn =
  | 'command'
  /** A part of the file that the server asked for; the empty packet is its end. */
  | 'file'
  /** The answer to what the server said during authentication. */
  | 'authentication';

/** The machine. `T` is what the session keeps of each command. */
export interface Answers<T> {
  /** A command was sent, by its first byte; `login` stands for the client's answer to the handshake. */
  push(command: number | 'login', kept: T): void;
  /** The command that the server's next packet answers. */
  head(): T | undefined;
  /** How many commands wait for the end of their answer. The session holds it below a cap: a client may send without reading. */
  readonly size: number;
  /** For the frame reader: must the server's next packet be held, to be given to `held`? All others are given to `passed`. */
  holds(type: number, length: number): boolean;
  /** A whole packet that was held. */
  held(payload: Buffer): PacketRole | ProtocolFault;
  /** A packet that passes, once, when its first piece comes. */
  passed(): PacketRole | ProtocolFault;
  /** The server has given up the answer behind one of its results, and answers the next command: the head is that already. */
  abandoned(): void;
  /** The last packet was the last of its answer: the head is the next command already. */
  readonly isEnd: boolean;
  readonly turn: ClientTurn;
  /** The client sent a packet that is not a command. `isEmpty`: it has no payload. */
  said(isEmpty: boolean): void;
  /** The status flags of the last OK or EOF: see STATUS. Those of errors are not known. */
  readonly status: number | undefined;
}

/** How the answer to a command looks. */
type Shape = 'none' | 'single' | 'result' | 'execute' | 'fields' | 'prepare' | 'fetch' | 'authentication' | 'opaque';

/** Where in an answer the server is. */
type Place =
  | 'start'
  | 'definitions'
  | 'definitions-end'
  | 'second-definitions'
  | 'second-definitions-end'
  | 'rows'
  /** The file is being sent, and OK or ERR comes behind it. */
  | 'file';

const SINGLE: readonly number[] = [
  COMMAND.initDb,
  COMMAND.createDb,
  COMMAND.dropDb,
  COMMAND.refresh,
  COMMAND.shutdown,
  COMMAND.statistics,
  COMMAND.processKill,
  COMMAND.debug,
  COMMAND.ping,
  COMMAND.registerSlave,
  COMMAND.stmtReset,
  COMMAND.setOption,
  COMMAND.resetConnection,
  // Of the server's inside: a client that sends one gets an error.
  0x00,
  0x0b,
  0x0f,
  0x10,
];

/** Commands that get no answer at all. The connection ends after COM_QUIT, or an ERR comes that nobody asked for. */
const NO_ANSWER: readonly number[] = [COMMAND.quit, COMMAND.stmtSendLongData, COMMAND.stmtClose];

const KNOWN_SHAPES: ReadonlyMap<number, Shape> = new Map<number, Shape>([
  ...SINGLE.map((code) => [code, 'single'] as const),
  ...NO_ANSWER.map((code) => [code, 'none'] as const),
  [COMMAND.query, 'result'],
  [COMMAND.processInfo, 'result'],
  [COMMAND.stmtExecute, 'execute'],
  [COMMAND.bulkExecute, 'result'],
  [COMMAND.fieldList, 'fields'],
  [COMMAND.stmtPrepare, 'prepare'],
  [COMMAND.stmtFetch, 'fetch'],
  [COMMAND.changeUser, 'authentication'],
]);
/** By the first byte of the command. */
const SHAPES: readonly Shape[] = Array.from({ length: 256 }, (_, code) => KNOWN_SHAPES.get(code) ?? 'opaque');

/** A machine for a session with the given capabilities, which both sides agreed on. */
export function createAnswers<T>(capabilities: Capabilities): Answers<T> {
  return new Machine<T>(capabilities);
}

class Machine<T> implements Answers<T> {
  status: number | undefined;
  isEnd = false;
  turn: ClientTurn = 'command';

  readonly #capabilities: Capabilities;
  readonly #deprecatesEof: boolean;
  readonly #cachesMetadata: boolean;
  /** Of the command that is answered; undefined when all are. */
  #shape: Shape | undefined;
  #kept: T | undefined;
  /** Those behind it: few clients have any. */
  #behind: { readonly shape: Shape; readonly kept: T }[] = [];
  #place: Place = 'start';
  /** The columns of a result, where the packet that says so is passing. */
  #count = 0;
  /** Definitions that are still to come, and of the second list of a prepared statement. */
  #definitions = 0;
  #secondDefinitions = 0;

  constructor(capabilities: Capabilities) {
    this.#capabilities = capabilities;
    this.#deprecatesEof = has(capabilities, CAPABILITY.deprecateEof);
    this.#cachesMetadata = has(capabilities, CAPABILITY.mariadbCacheMetadata);
  }

  get size(): number {
    return this.#shape === undefined ? 0 : 1 + this.#behind.length;
  }

  push(command: number | 'login', kept: T): void {
    const shape = command === 'login' ? 'authentication' : (SHAPES[command] ?? 'opaque');
    if (shape === 'none') return;
    if (this.#shape === undefined) this.#startAnswer(shape, kept);
    else this.#behind.push({ shape, kept });
  }

  head(): T | undefined {
    return this.#kept;
  }

  holds(type: number, length: number): boolean {
    const shape = this.#shape;
    if (shape === undefined) return true;
    if (shape === 'opaque') return false;
    switch (this.#place) {
      case 'start':
        this.#count = length === 1 && (shape === 'result' || shape === 'execute') ? this.#countIn(type) : 0;
        return this.#count === 0;
      case 'file':
      case 'definitions-end':
      case 'second-definitions-end':
        return true;
      case 'definitions':
      case 'second-definitions':
        return type === OUTCOME.error || (type === OUTCOME.eof && shape === 'fields');
      case 'rows':
        return type === OUTCOME.error || this.#endsRows(type, length);
    }
  }

  passed(): PacketRole | ProtocolFault {
    this.isEnd = false;
    const shape = this.#shape;
    if (shape === 'opaque') return 'opaque';
    switch (this.#place) {
      case 'rows':
        return 'row';
      case 'definitions':
      case 'second-definitions':
        if (shape !== 'fields') this.#countDefinition();
        return 'definition';
      case 'start':
        if (this.#count > 0) return this.#columns(this.#count, false);
        return protocolFault('a packet passes that has to be read');
      case 'file':
      case 'definitions-end':
      case 'second-definitions-end':
        return protocolFault('a packet passes that has to be read');
    }
  }

  held(payload: Buffer): PacketRole | ProtocolFault {
    this.isEnd = false;
    const shape = this.#shape;
    if (payload[0] === OUTCOME.error) return this.#error(payload);
    if (shape === undefined) return protocolFault('the server answers what nobody asked');
    switch (shape) {
      case 'none':
      case 'opaque':
        return 'opaque';
      case 'single':
        return this.#single(payload);
      case 'authentication':
        return this.#authentication(payload);
      case 'result':
      case 'execute':
      case 'fields':
      case 'prepare':
      case 'fetch':
        return this.#inResult(shape, payload);
    }
  }

  abandoned(): void {
    this.#endAnswer();
  }

  said(isEmpty: boolean): void {
    if (this.turn === 'authentication' || isEmpty) this.turn = 'command';
  }

  #inResult(shape: Shape, payload: Buffer): PacketRole | ProtocolFault {
    switch (this.#place) {
      case 'start':
        return shape === 'prepare' ? this.#prepared(payload) : this.#resultStart(payload);
      case 'definitions-end':
      case 'second-definitions-end':
        return this.#definitionsEnd(shape, payload);
      case 'file':
      case 'definitions':
      case 'second-definitions':
      case 'rows':
        return this.#outcome(shape, payload);
    }
  }

  /** OK, a request for a file, or the count of columns. */
  #resultStart(payload: Buffer): PacketRole | ProtocolFault {
    if (payload[0] === OUTCOME.ok) return this.#outcome('result', payload);
    if (payload[0] === OUTCOME.localInfile) {
      this.#place = 'file';
      this.turn = 'file';
      return 'local-infile';
    }
    const counted = decodeColumnCount(payload, this.#capabilities);
    if (counted.kind === 'fault') return counted;
    if (counted.columnCount === 0) return protocolFault('a result without columns');
    // MariaDB leaves the definitions out when the client has them from the last run of the statement.
    return this.#columns(counted.columnCount, counted.definitionsFollow === false);
  }

  /** The count of columns that a packet of one byte tells; 0 where it tells none. */
  #countIn(byte: number): number {
    return byte > 0 && byte < OUTCOME.localInfile && !this.#cachesMetadata ? byte : 0;
  }

  #columns(count: number, areLeftOut: boolean): PacketRole {
    this.#definitions = areLeftOut ? 0 : count;
    this.#place = areLeftOut ? (this.#deprecatesEof ? 'rows' : 'definitions-end') : 'definitions';
    return 'columns';
  }

  /** Definitions of parameters come first, then those of columns, and neither list is there when it is empty. */
  #prepared(payload: Buffer): PacketRole | ProtocolFault {
    const prepared = decodePrepareOk(payload);
    if (prepared.kind === 'fault') return prepared;
    const { parameterCount, columnCount } = prepared;
    this.#definitions = parameterCount > 0 ? parameterCount : columnCount;
    this.#secondDefinitions = parameterCount > 0 ? columnCount : 0;
    if (this.#definitions === 0) this.#endAnswer();
    else this.#place = 'definitions';
    return 'prepared';
  }

  #countDefinition(): void {
    this.#definitions -= 1;
    if (this.#definitions > 0) return;
    if (!this.#deprecatesEof) {
      this.#place = this.#place === 'definitions' ? 'definitions-end' : 'second-definitions-end';
    } else if (this.#shape === 'prepare') this.#nextDefinitions();
    else this.#place = 'rows';
  }

  #definitionsEnd(shape: Shape, payload: Buffer): PacketRole | ProtocolFault {
    const status = statusOf(payload);
    if (typeof status !== 'number') return status;
    if (shape === 'prepare') {
      this.#nextDefinitions();
      return 'definitions-end';
    }
    // A cursor was opened: its rows come when they are asked for, and this EOF is the one at the end of the result.
    if (shape === 'execute' && (status & STATUS.cursorExists) !== 0) return this.#outcome(shape, payload);
    this.#place = 'rows';
    return 'definitions-end';
  }

  /** Of a prepared statement: on to the definitions of its columns, or to the end of the answer. */
  #nextDefinitions(): void {
    this.#definitions = this.#secondDefinitions;
    this.#secondDefinitions = 0;
    if (this.#definitions === 0) this.#endAnswer();
    else this.#place = 'second-definitions';
  }

  /** OK or EOF at the end of a result. */
  #outcome(shape: Shape, payload: Buffer): PacketRole | ProtocolFault {
    const status = statusOf(payload);
    if (typeof status !== 'number') return status;
    this.status = status;
    const hasMore = (shape === 'result' || shape === 'execute') && (status & STATUS.moreResults) !== 0;
    if (hasMore) {
      this.#place = 'start';
      return 'result-end';
    }
    this.#endAnswer();
    return 'end';
  }

  /** OK, EOF, or a text. */
  #single(payload: Buffer): PacketRole | ProtocolFault {
    if (payload[0] === OUTCOME.ok || payload[0] === OUTCOME.eof) return this.#outcome('single', payload);
    this.#endAnswer();
    return 'end';
  }

  #authentication(payload: Buffer): PacketRole | ProtocolFault {
    if (payload[0] === OUTCOME.ok) return this.#outcome('authentication', payload);
    const isFastSuccess =
      payload.length === 2 && payload[0] === AUTHENTICATION.moreData && payload[1] === CACHING_SHA2.fastSuccess;
    // Everything else is a question: the switch to another method, a challenge, a prompt, a public key that was asked for.
    this.turn = isFastSuccess ? 'command' : 'authentication';
    return 'authentication';
  }

  #error(payload: Buffer): PacketRole | ProtocolFault {
    if (payload.length < ERROR_BYTES_MIN) return protocolFault('an ERR without a number');
    if (payload.readUInt16LE(1) === PROGRESS_ERRNO && has(this.#capabilities, CAPABILITY.mariadbProgress)) {
      return 'progress';
    }
    if (this.#shape === undefined) return 'unasked-error';
    if (this.turn === 'authentication') this.turn = 'command';
    this.#endAnswer();
    return 'error';
  }

  #endAnswer(): void {
    this.isEnd = true;
    const next = this.#behind.length === 0 ? undefined : this.#behind.shift();
    this.#startAnswer(next?.shape, next?.kept);
  }

  #startAnswer(shape: Shape | undefined, kept: T | undefined): void {
    this.#shape = shape;
    this.#kept = kept;
    this.#count = 0;
    this.#definitions = 0;
    this.#secondDefinitions = 0;
    this.#place = shape === 'fetch' ? 'rows' : shape === 'fields' ? 'definitions' : 'start';
  }

  /** A row of over 16 MB may begin with the same byte as the end of the rows. */
  #endsRows(type: number, length: number): boolean {
    return type === OUTCOME.eof && (this.#deprecatesEof ? length < PACKET_BYTES_MAX : length <= EOF_BYTES_MAX);
  }
}

/** The first byte and the number. */
const ERROR_BYTES_MIN = 3;
