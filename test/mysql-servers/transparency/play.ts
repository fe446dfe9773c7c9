/** Plays what a client says to a server of MySQL's protocol and keeps everything that it hears behind the handshake, packet by packet. */
import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createAnswers, type Answers } from '../../../proxy/mysql/wire/answers.ts';
import { agreed, CAPABILITY, offeredTo, type Capabilities } from '../../../proxy/mysql/wire/capabilities.ts';
import { createFrameReader, encodePackets } from '../../../proxy/mysql/wire/frames.ts';
import { decodeHandshake, encodeClientHello } from '../../../proxy/mysql/wire/handshake.ts';
import { decodeOk, OUTCOME } from '../../../proxy/mysql/wire/outcome.ts';
import { decodeStateChanges } from '../../../proxy/mysql/wire/session-state.ts';
import { credentials } from '../login.ts';
import { until } from '../../../examples/support/until.ts';

/** What a client says in one session: in each turn everything at once, and then it listens until that is answered. */
export interface Talk {
  readonly capabilities: Capabilities;
  /** Payloads of commands, first byte included. */
  readonly turns: readonly (readonly Buffer[])[];
  /** What it sends when the server asks for a file. */
  readonly file: readonly Buffer[];
}

/** A packet as it came, with its number. */
export type Line = string;

const USER = 'atomesh';
const NOT_ANSWERED: readonly number[] = [0x01, 0x18, 0x19];

/** Everything that the server said, from the answer to the login on, and that an answer stayed away, if one did. */
export async function play(talk: Talk, port: number): Promise<readonly Line[]> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  const player = new Player(socket, talk);
  socket.on('data', (chunk: Buffer) => player.read(chunk));
  const closed = once(socket, 'close');
  try {
    await player.isQuiet();
    for (const turn of talk.turns) {
      if (player.isEnded) break;
      player.say(turn);
      await player.isQuiet();
    }
    if (!player.isEnded) {
      socket.write(encodePackets(Buffer.from([0x01]), 0));
      socket.end();
    }
    await closed;
    return player.lines;
  } catch (error) {
    return [...player.lines, `(${(error as Error).message})`];
  } finally {
    socket.destroy();
  }
}

class Player {
  readonly lines: Line[] = [];
  readonly #socket: Socket;
  readonly #talk: Talk;
  readonly #reader = createFrameReader({ holds: () => true, maxBytes: 1 << 27 });
  readonly #password = credentials(Buffer.alloc(0));
  #answers: Answers<number> | undefined;
  #capabilities: Capabilities = 0n;

  constructor(socket: Socket, talk: Talk) {
    this.#socket = socket;
    this.#talk = talk;
  }

  get isEnded(): boolean {
    return this.#socket.readableEnded || this.#socket.destroyed;
  }

  async isQuiet(): Promise<void> {
    await until(
      'everything is answered',
      () => Promise.resolve(this.isEnded || this.#answers?.size === 0 ? true : undefined),
      { withinMs: 10_000 },
    );
  }

  say(turn: readonly Buffer[]): void {
    assert(this.#answers !== undefined);
    for (const payload of turn) {
      const code = payload[0] ?? 0;
      if (!NOT_ANSWERED.includes(code)) this.#answers.push(code, code);
    }
    this.#socket.write(Buffer.concat(turn.map((payload) => encodePackets(payload, 0))));
  }

  read(chunk: Buffer): void {
    this.#reader.push(chunk);
    while (this.#reader.next()) {
      const payload = Buffer.from(this.#reader.payload());
      if (this.#answers === undefined) this.#greet(payload);
      else this.#take(payload, this.#answers);
    }
    if (this.#reader.fault !== undefined) this.lines.push(`fault ${this.#reader.fault.message}`);
  }

  #take(payload: Buffer, answers: Answers<number>): void {
    const code = answers.head();
    this.lines.push(`${this.#reader.sequence} ${lineOf(code, payload, this.#capabilities)}`);
    const role = answers.holds(this.#reader.type, this.#reader.length) ? answers.held(payload) : answers.passed();
    assert(typeof role === 'string', JSON.stringify(role));
    if (role === 'local-infile') {
      let sequence = this.#reader.sequence;
      for (const part of [...this.#talk.file, Buffer.alloc(0)]) {
        this.#socket.write(encodePackets(part, sequence & 0xff));
        answers.said(part.length === 0);
        sequence += 1;
      }
    }
    if (role === 'authentication' && answers.turn === 'authentication') {
      this.#socket.write(encodePackets(this.#password.next(payload), this.#reader.sequence));
      answers.said(false);
    }
  }

  #greet(payload: Buffer): void {
    const handshake = decodeHandshake(payload);
    assert(handshake.kind === 'handshake', payload.toString());
    const base = CAPABILITY.protocol41 | CAPABILITY.secureConnection | CAPABILITY.pluginAuth | CAPABILITY.connectWithDb;
    // As a client of the sidecar would, so that both servers are told the same.
    const offered = offeredTo(handshake.capabilities, { tls: false });
    const capabilities = agreed(offered, base | this.#talk.capabilities);
    this.#capabilities = capabilities;
    this.#answers = createAnswers(capabilities);
    this.#answers.push('login', 0);
    const isMysql = (capabilities & CAPABILITY.longPassword) !== 0n;
    const hello = encodeClientHello({
      kind: 'handshake-response',
      capabilities,
      maxPacketBytes: 1 << 24,
      charset: 45,
      reserved: Buffer.alloc(isMysql ? 23 : 19),
      user: Buffer.from(USER),
      authResponse: this.#password.first(handshake.plugin?.toString() ?? '', handshake.challenge),
      database: Buffer.from('k'),
      plugin: handshake.plugin ?? Buffer.alloc(0),
      attributes: (capabilities & CAPABILITY.connectAttributes) === 0n ? undefined : [],
      zstdLevel: undefined,
      trailing: Buffer.alloc(0),
    });
    this.#socket.write(encodePackets(hello, 1));
  }
}

/** Without what differs between two servers: the challenge of another login, the numbers of COM_STATISTICS. */
function lineOf(code: number | undefined, payload: Buffer, capabilities: Capabilities): string {
  if (code === 0x11 && payload[0] === 0xfe) return `switch of ${payload.length} bytes`;
  if (code === 0x09) return payload.toString('latin1').replace(/\d+(?:\.\d+)?/g, 'n');
  // A server tells changed variables in the order of its own memory.
  const ok = payload[0] === OUTCOME.ok || payload[0] === OUTCOME.eof ? decodeOk(payload, capabilities) : undefined;
  const changes = ok?.kind === 'ok' && ok.stateChanges !== undefined ? decodeStateChanges(ok.stateChanges) : [];
  if (!('kind' in changes) && changes.some(({ kind }) => kind === 'variables')) {
    const variables = changes.flatMap((change) => (change.kind === 'variables' ? change.variables : []));
    const rest = changes.filter(({ kind }) => kind !== 'variables');
    return JSON.stringify([{ ...ok, stateChanges: undefined }, rest, variables.map(String).toSorted()], asText);
  }
  return payload.length > 2000 ? `${payload.length} ${checksum(payload)}` : payload.toString('latin1');
}

function asText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}

function checksum(payload: Buffer): number {
  let sum = 0;
  for (const byte of payload) sum = (sum * 31 + byte) >>> 0;
  return sum;
}
