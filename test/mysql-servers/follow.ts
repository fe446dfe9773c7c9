/** Follows a recorded connection packet by packet: each must decode, encode to the same bytes, and be where the machine expects it. */
import { strict as assert } from 'node:assert';
import { createAnswers, type Answers, type PacketRole } from '../../proxy/mysql/wire/answers.ts';
import { decodeAuthentication, encodeAuthentication } from '../../proxy/mysql/wire/authentication.ts';
import { agreed, type Capabilities } from '../../proxy/mysql/wire/capabilities.ts';
import { COMMAND, decodeCommand, encodeCommand, type Command } from '../../proxy/mysql/wire/commands.ts';
import { LAST_STATEMENT, statementOf, type StatementContext } from '../../proxy/mysql/wire/execute.ts';
import { createFrameReader, encodePackets, type FrameReader } from '../../proxy/mysql/wire/frames.ts';
import {
  decodeClientHello,
  decodeHandshake,
  encodeClientHello,
  encodeHandshake,
} from '../../proxy/mysql/wire/handshake.ts';
import {
  decodeEof,
  decodeError,
  decodeLocalInfile,
  decodeOk,
  encodeEof,
  encodeError,
  encodeLocalInfile,
  encodeOk,
} from '../../proxy/mysql/wire/outcome.ts';
import {
  decodeBinaryRow,
  decodeColumnCount,
  decodeColumnDefinition,
  decodePrepareOk,
  decodeTextRow,
  encodeBinaryRow,
  encodeColumnCount,
  encodeColumnDefinition,
  encodePrepareOk,
  encodeTextRow,
} from '../../proxy/mysql/wire/rows.ts';
import { decodeStateChanges, encodeStateChanges, type StateChange } from '../../proxy/mysql/wire/session-state.ts';
import { interpretBinary, type ParameterType } from '../../proxy/mysql/wire/values.ts';
import type { Heard } from './recording.ts';

/** What was found in a connection. */
export interface Followed {
  /** How many packets each side sent. */
  readonly packets: { client: number; server: number };
  /** How often each role came. */
  readonly roles: Map<PacketRole, number>;
  readonly commands: Map<Command['kind'], number>;
  readonly stateChanges: Set<StateChange['kind']>;
  /** Answers that had not ended when the connection did. */
  unanswered: number;
}

interface Statement {
  parameterCount: number;
  types: readonly ParameterType[] | undefined;
  columns: readonly number[];
  readonly long: Set<number>;
}

interface Sent {
  readonly code: number | 'login';
  readonly statement: Statement | undefined;
  /** The sequence id that the answer begins with. */
  readonly sequence: number;
}

type Message = { readonly kind: string };

/** Follows a connection from its first byte to its last. Throws at the first packet that is not understood. */
export function follow(heard: readonly Heard[]): Followed {
  const follower = new Follower();
  for (const { side, chunk } of heard) follower.hear(side, chunk);
  return follower.finish();
}

class Follower {
  readonly #found: Followed = {
    packets: { client: 0, server: 0 },
    roles: new Map(),
    commands: new Map(),
    stateChanges: new Set(),
    unanswered: 0,
  };
  readonly #readers = { client: reader(), server: reader() };
  readonly #statements = new Map<number, Statement>();
  #offered: Capabilities | undefined;
  #capabilities: Capabilities = 0n;
  #answers: Answers<Sent> | undefined;
  #columns: number[] = [];
  #lastStatement: Statement | undefined;
  #expected = 0;

  hear(side: Heard['side'], chunk: Buffer): void {
    const from = this.#readers[side];
    from.push(Buffer.from(chunk));
    while (from.next()) {
      assert(from.isFirst && from.isLast);
      this.#found.packets[side] += 1;
      const payload = from.payload();
      const frame = from.bytes.subarray(from.start, from.end);
      assert(encodePackets(payload, frame[3] ?? 0).equals(frame), 'packets encode to other bytes');
      if (side === 'client') this.#fromClient(payload, from);
      else this.#fromServer(payload, from);
    }
    assert.equal(from.fault, undefined);
  }

  finish(): Followed {
    this.#found.unanswered = this.#answers?.size ?? 0;
    return this.#found;
  }

  #fromClient(payload: Buffer, from: FrameReader): void {
    const answers = this.#answers;
    if (answers === undefined) {
      const hello = same(payload, decodeClientHello(payload), encodeClientHello);
      assert(this.#offered !== undefined && hello.kind === 'handshake-response');
      this.#capabilities = agreed(this.#offered, hello.capabilities);
      this.#answers = createAnswers(this.#capabilities);
      this.#answers.push('login', { code: 'login', statement: undefined, sequence: from.sequence });
      this.#expected = from.sequence;
      return;
    }
    if (answers.turn !== 'command') {
      answers.said(payload.length === 0);
      this.#expected = from.sequence;
      return;
    }
    assert.equal(payload.length === 0, false);
    const code = payload[0] as number;
    const statement = this.#statementFor(code, payload);
    const context: StatementContext = {
      parameterCount: statement?.parameterCount ?? 0,
      types: statement?.types,
      isLong: (index) => statement?.long.has(index) ?? false,
    };
    const command = same(payload, decodeCommand(payload, this.#capabilities, context), (message) =>
      encodeCommand(message, this.#capabilities),
    );
    count(this.#found.commands, command.kind);
    // What is prepared last is known once its answer is here, and a failed one leaves none.
    if (command.kind === 'stmt-prepare') this.#lastStatement = undefined;
    this.#remember(command, statement);
    answers.push(code, { code, statement, sequence: from.sequence });
    if (answers.size === 1) this.#expected = from.sequence;
  }

  #statementFor(code: number, payload: Buffer): Statement | undefined {
    if (code < COMMAND.stmtExecute || (code > COMMAND.stmtFetch && code !== COMMAND.bulkExecute)) return undefined;
    if (code === COMMAND.setOption) return undefined;
    const id = statementOf(payload);
    assert(typeof id === 'number');
    return id === LAST_STATEMENT ? this.#lastStatement : this.#statements.get(id);
  }

  #remember(command: Command, statement: Statement | undefined): void {
    if (statement === undefined) return;
    if (command.kind === 'stmt-send-long-data') statement.long.add(command.parameter);
    if (command.kind === 'stmt-reset') statement.long.clear();
    if (command.kind === 'stmt-bulk-execute') statement.types = command.types;
    if (command.kind !== 'stmt-execute') return;
    statement.long.clear();
    for (const { type, value } of command.parameters ?? []) {
      if (value instanceof Buffer) assert.notEqual(interpretBinary(type, value).kind, 'fault');
    }
    if (command.sendsTypes) statement.types = command.parameters?.map(({ type }) => type);
  }

  #fromServer(payload: Buffer, from: FrameReader): void {
    const answers = this.#answers;
    if (answers === undefined) {
      const handshake = same(payload, decodeHandshake(payload), encodeHandshake);
      this.#offered = handshake.capabilities;
      return;
    }
    const sent = answers.head();
    const sequence = (from.sequence + 256 - Math.floor(payload.length / 0xff_ffff) - 1) & 0xff;
    assert.equal(sequence, this.#expected, 'the sequence id is not what it should be');
    this.#expected = from.sequence;
    const isHeld = answers.holds(from.type, from.length);
    const role = isHeld ? answers.held(payload) : answers.passed();
    assert(typeof role === 'string', `${JSON.stringify(role)} at ${payload.subarray(0, 40).toString('hex')}`);
    count(this.#found.roles, role);
    this.#check(role, payload, sent);
    if (answers.isEnd) this.#expected = answers.head()?.sequence ?? 0;
  }

  #check(role: PacketRole, payload: Buffer, sent: Sent | undefined): void {
    const capabilities = this.#capabilities;
    // Of one that was run before the answer to its preparation came, as clients of MariaDB do, the number is known by now.
    const isRun = sent?.code === COMMAND.stmtExecute || sent?.code === COMMAND.bulkExecute;
    const statement = sent?.statement ?? (isRun ? this.#lastStatement : undefined);
    switch (role) {
      case 'columns': {
        const counted = same(payload, decodeColumnCount(payload, capabilities), encodeColumnCount);
        this.#columns = counted.definitionsFollow === false ? [...(statement?.columns ?? [])] : [];
        break;
      }
      case 'prepared': {
        const { statement: id, parameterCount } = same(payload, decodePrepareOk(payload), encodePrepareOk);
        const prepared: Statement = { parameterCount, types: undefined, columns: [], long: new Set() };
        this.#statements.set(id, prepared);
        this.#lastStatement = prepared;
        this.#columns = [];
        break;
      }
      case 'definition': {
        const definition = same(payload, decodeColumnDefinition(payload, capabilities), encodeColumnDefinition);
        this.#columns.push(definition.type);
        if (sent?.code === COMMAND.stmtPrepare && this.#lastStatement !== undefined) {
          this.#lastStatement.columns = this.#columns.slice(this.#lastStatement.parameterCount);
        } else if (statement !== undefined) statement.columns = [...this.#columns];
        break;
      }
      case 'definitions-end':
        same(payload, decodeEof(payload), encodeEof);
        break;
      case 'row':
        this.#row(payload, statement?.columns);
        break;
      case 'progress':
      case 'error':
      case 'unasked-error':
        same(payload, decodeError(payload, capabilities), encodeError);
        break;
      case 'local-infile':
        same(payload, decodeLocalInfile(payload), encodeLocalInfile);
        break;
      case 'authentication':
        same(payload, decodeAuthentication(payload), encodeAuthentication);
        break;
      case 'result-end':
      case 'end':
        this.#outcome(payload, sent);
        break;
      case 'opaque':
        break;
    }
  }

  #row(payload: Buffer, types: readonly number[] | undefined): void {
    if (types === undefined) {
      same(payload, decodeTextRow(payload, this.#columns.length), encodeTextRow);
      return;
    }
    const row = same(payload, decodeBinaryRow(payload, types), (message) => encodeBinaryRow(message, types));
    for (const [index, value] of row.values.entries()) {
      if (value === null) continue;
      assert.notEqual(interpretBinary({ code: types[index] ?? 0, flags: 0 }, value).kind, 'fault');
    }
  }

  #outcome(payload: Buffer, sent: Sent | undefined): void {
    if (sent?.code === COMMAND.statistics) return;
    if (payload[0] === 0xfe && payload.length === 5) {
      same(payload, decodeEof(payload), encodeEof);
      return;
    }
    const ok = same(payload, decodeOk(payload, this.#capabilities), encodeOk);
    if (ok.stateChanges === undefined) return;
    const changes = decodeStateChanges(ok.stateChanges);
    assert(!('kind' in changes), JSON.stringify(changes));
    assert(encodeStateChanges(changes).equals(ok.stateChanges), 'state changes encode to other bytes');
    for (const { kind } of changes) this.#found.stateChanges.add(kind);
  }
}

function reader(): FrameReader {
  return createFrameReader({ holds: () => true, maxBytes: 1 << 27 });
}

/** The message, which is not a fault and encodes to the same bytes. */
function same<T extends Message>(
  payload: Buffer,
  message: T | { readonly kind: 'fault'; readonly message: string },
  encode: (message: Exclude<T, { kind: 'fault' }>) => Buffer,
): Exclude<T, { kind: 'fault' }> {
  assert(
    message.kind !== 'fault',
    `${'message' in message ? message.message : ''}: ${payload.subarray(0, 100).toString('hex')}`,
  );
  const good = message as Exclude<T, { kind: 'fault' }>;
  const again = encode(good);
  assert(again.equals(payload), `${good.kind} changes: ${payload.subarray(0, 200).toString('hex')}`);
  return good;
}

function count<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
