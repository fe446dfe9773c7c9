/** A client that shows all of an answer as it came: columns, rows, counts, warnings. It may send parameters of any type. */
import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createAnswers, type Answers, type PacketRole } from '../../../proxy/mysql/wire/answers.ts';
import type { ProtocolFault } from '../../../proxy/mysql/wire/body.ts';
import { CAPABILITY, agreed, type Capabilities } from '../../../proxy/mysql/wire/capabilities.ts';
import { encodeCommand, type Command } from '../../../proxy/mysql/wire/commands.ts';
import { createFrameReader, encodePackets } from '../../../proxy/mysql/wire/frames.ts';
import { decodeHandshake, encodeClientHello } from '../../../proxy/mysql/wire/handshake.ts';
import { decodeEof, decodeError, decodeOk } from '../../../proxy/mysql/wire/outcome.ts';
import type { Parameter } from '../../../proxy/mysql/wire/query.ts';
import {
  decodeBinaryRow,
  decodeColumnDefinition,
  decodePrepareOk,
  decodeTextRow,
  type ColumnDefinition,
} from '../../../proxy/mysql/wire/rows.ts';
import { credentials } from '../login.ts';

export type Result =
  | {
      readonly kind: 'rows';
      readonly columns: readonly ColumnDefinition[];
      /** Values in text or binary form, as bytes in latin1. */
      readonly rows: readonly (readonly (string | null)[])[];
      readonly warnings: number;
    }
  | {
      readonly kind: 'ok';
      readonly affectedRows: bigint;
      readonly insertId: bigint;
      readonly warnings: number;
      readonly info: string;
    }
  | { readonly kind: 'error'; readonly errno: number; readonly message: string };

export interface Asking {
  /** A text, one character for a byte; each statement of it has a result. */
  query(text: string): Promise<readonly Result[]>;
  /** Prepares a text, runs it once, and closes it. */
  execute(text: string, parameters: readonly Parameter[]): Promise<Result>;
  close(): void;
}

interface Packet {
  readonly role: PacketRole;
  readonly payload: Buffer;
}

const ANSWER_MS = 30_000;

const WANTED =
  CAPABILITY.protocol41 |
  CAPABILITY.secureConnection |
  CAPABILITY.pluginAuth |
  CAPABILITY.transactions |
  CAPABILITY.multiStatements |
  CAPABILITY.multiResults |
  CAPABILITY.psMultiResults |
  CAPABILITY.connectWithDb;

/** Logs in as a user without a password. */
export async function startAsking(
  port: number,
  user: string,
  database: string,
  further: Capabilities = 0n,
): Promise<Asking> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.setNoDelay(true).setTimeout(ANSWER_MS, () => socket.destroy());
  const conversation = new Conversation(socket, user, database, further);
  const packets = await conversation.answered();
  assert.equal(packets.at(-1)?.role, 'end', packets.at(-1)?.payload.toString());
  return conversation;
}

class Conversation implements Asking {
  readonly #socket: Socket;
  readonly #login: { readonly user: string; readonly database: string; readonly further: Capabilities };
  readonly #password = credentials(Buffer.alloc(0));
  readonly #reader = createFrameReader({ holds: () => true, maxBytes: 1 << 26 });
  #capabilities: Capabilities = 0n;
  #answers: Answers<true> | undefined;
  #packets: Packet[] = [];
  #wake: (answered: undefined) => void = () => undefined;

  constructor(socket: Socket, user: string, database: string, further: Capabilities) {
    this.#socket = socket;
    this.#login = { user, database, further };
    socket.on('data', (chunk) => this.#read(chunk));
    socket.on('error', () => socket.destroy());
  }

  async query(text: string): Promise<readonly Result[]> {
    return results(
      await this.#ask({ kind: 'query', attributes: undefined, text: Buffer.from(text, 'latin1') }),
      this.#capabilities,
      false,
    );
  }

  async execute(text: string, parameters: readonly Parameter[]): Promise<Result> {
    const [first] = await this.#ask({ kind: 'stmt-prepare', text: Buffer.from(text, 'latin1') });
    assert(first !== undefined);
    if (first.role === 'error') return errorOf(first.payload, this.#capabilities);
    const prepared = decodePrepareOk(first.payload);
    assert(prepared.kind === 'prepare-ok');
    for (const [index, { value }] of parameters.entries()) {
      if (value !== undefined) continue;
      this.#send({ kind: 'stmt-send-long-data', statement: prepared.statement, parameter: index, data: LONG });
    }
    const packets = await this.#ask({
      kind: 'stmt-execute',
      statement: prepared.statement,
      flags: 0,
      iterations: 1,
      parameters: parameters.length === 0 ? undefined : parameters,
      sendsTypes: true,
    });
    this.#send({ kind: 'stmt-close', statement: prepared.statement });
    const [result] = results(packets, this.#capabilities, true);
    assert(result !== undefined);
    return result;
  }

  close(): void {
    this.#socket.destroy();
  }

  async answered(): Promise<readonly Packet[]> {
    if (!this.#isAnswered()) {
      const { promise, resolve, reject } = Promise.withResolvers<undefined>();
      this.#wake = resolve;
      this.#socket.once('close', () => reject(new Error('the server closed the connection')));
      await promise;
      this.#socket.removeAllListeners('close');
    }
    const packets = this.#packets;
    this.#packets = [];
    return packets;
  }

  #isAnswered(): boolean {
    return this.#answers !== undefined && this.#answers.size === 0;
  }

  #ask(command: Command): Promise<readonly Packet[]> {
    this.#send(command);
    return this.answered();
  }

  #send(command: Command): void {
    const payload = encodeCommand(command, this.#capabilities);
    this.#answers?.push(payload[0] as number, true);
    this.#socket.write(encodePackets(payload, 0));
  }

  #read(chunk: Buffer): void {
    this.#reader.push(chunk);
    while (this.#reader.next()) {
      const payload = Buffer.from(this.#reader.payload());
      if (this.#answers === undefined) this.#greet(payload);
      else this.#take(payload, this.#answers);
    }
    if (this.#isAnswered()) this.#wake(undefined);
  }

  #take(payload: Buffer, answers: Answers<true>): void {
    const role = answers.holds(this.#reader.type, this.#reader.length) ? answers.held(payload) : answers.passed();
    assert(typeof role === 'string');
    if (role === 'authentication' && answers.turn === 'authentication') {
      this.#socket.write(encodePackets(this.#password.next(payload), this.#reader.sequence));
      answers.said(false);
    } else this.#packets.push({ role, payload });
  }

  #greet(payload: Buffer): void {
    const handshake = decodeHandshake(payload);
    assert(handshake.kind === 'handshake');
    const { user, database, further } = this.#login;
    this.#capabilities = agreed(handshake.capabilities, WANTED | further);
    this.#answers = createAnswers(this.#capabilities);
    this.#answers.push('login', true);
    const hello = encodeClientHello({
      kind: 'handshake-response',
      capabilities: this.#capabilities,
      maxPacketBytes: 1 << 24,
      charset: 45,
      reserved: Buffer.alloc(19),
      user: Buffer.from(user),
      authResponse: this.#password.first(handshake.plugin?.toString() ?? '', handshake.challenge),
      database: Buffer.from(database),
      plugin: handshake.plugin ?? Buffer.alloc(0),
      attributes: undefined,
      zstdLevel: undefined,
      trailing: Buffer.alloc(0),
    });
    this.#socket.write(encodePackets(hello, 1));
  }
}

/** What COM_STMT_SEND_LONG_DATA sends for a parameter without a value of its own. */
export const LONG: Buffer = Buffer.from("long \u00e4' \\ data");

function errorOf(payload: Buffer, capabilities: Capabilities): Result {
  const error = decodeError(payload, capabilities);
  assert(error.kind === 'error');
  return { kind: 'error', errno: error.errno, message: error.message.toString('latin1') };
}

/** The results of an answer. */
function results(packets: readonly Packet[], capabilities: Capabilities, isBinary: boolean): readonly Result[] {
  const found: Result[] = [];
  let columns: ColumnDefinition[] = [];
  let rows: (readonly (string | null)[])[] = [];
  let isTable = false;
  for (const { role, payload } of packets) {
    if (role === 'columns') isTable = true;
    else if (role === 'definition') columns.push(checked(decodeColumnDefinition(payload, capabilities)));
    else if (role === 'row') {
      const row = checked(
        isBinary
          ? decodeBinaryRow(
              payload,
              columns.map(({ type }) => type),
            )
          : decodeTextRow(payload, columns.length),
      );
      rows.push(row.values.map((value) => value?.toString('latin1') ?? null));
    } else if (role === 'error') found.push(errorOf(payload, capabilities));
    else if (role === 'end' || role === 'result-end') {
      if (isTable) found.push({ kind: 'rows', columns, rows, warnings: checked(decodeEof(payload)).warnings });
      else {
        const { affectedRows, lastInsertId: insertId, warnings, info } = checked(decodeOk(payload, capabilities));
        found.push({ kind: 'ok', affectedRows, insertId, warnings, info: info?.toString('latin1') ?? '' });
      }
      columns = [];
      rows = [];
      isTable = false;
    }
  }
  return found;
}

function checked<T extends { readonly kind: string }>(decoded: T | ProtocolFault): T {
  assert(decoded.kind !== 'fault', 'a packet of the server that cannot be read');
  return decoded as T;
}
