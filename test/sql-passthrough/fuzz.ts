/** Throws malformed bytes at a live listener, from both sides: `node test/sql-passthrough/fuzz.ts [--seed S] [--iterations N] [--only I]`. */
import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createFrameReader, HEADER_BYTES, type Direction } from '../../proxy/postgres/wire/frames.ts';
import { encodeFrontend } from '../../proxy/postgres/wire/messages.ts';
import { createStartupReader } from '../../proxy/postgres/wire/startup.ts';
import { Random } from '../simulation/random.ts';
import { anyCase, cut, STARTUP, type FuzzCase } from './fuzz-cases.ts';
import { startListening, type Listening } from './support/listening.ts';
import { RawClient, rowsOf, textsOf } from './support/raw-client.ts';
import { GREETING, startScriptedServer, type ScriptedServer } from './support/scripted-server.ts';
import { bind, describe, execute, parse, query, sync } from './support/messages.ts';

export interface FuzzReport {
  readonly iterations: number;
  /** Connections that were ended because of their bytes. */
  readonly refused: number;
  /** Answers that the canary got, each checked to the last byte. */
  readonly canaryAnswers: number;
}

/** How long a connection may live after its bad bytes on a busy machine. One that does not end because of them lives until its client ends it. */
const CLOSE_MS_MAX = 10_000;
const WORKERS = 8;

/** Runs `iterations` cases, of which number `only` alone if that is given. Rejects with the case that broke a rule. */
export async function fuzz(options: {
  readonly seed: number;
  readonly iterations: number;
  readonly only?: number;
}): Promise<FuzzReport> {
  let next = 0;
  let refused = 0;
  let canaryAnswers = 0;
  const worker = async (): Promise<void> => {
    await using server = await startScriptedServer();
    await using sidecar = await startListening({ to: server.port });
    using canary = await new RawClient({ port: sidecar.port }).logIn('postgres');
    server.take();
    for (;;) {
      const index = next;
      next += 1;
      if (index >= options.iterations) break;
      if (options.only !== undefined && index !== options.only) continue;
      const random = new Random(options.seed * 1_000_003 + index);
      const fuzzCase = anyCase(random);
      const token = `canary ${index}`;
      try {
        const sung = canary.query(token);
        if (await runCase(fuzzCase, random, server, sidecar)) refused += 1;
        assert.deepEqual(rowsOf(await sung), [[token]], 'the canary heard something else');
        canaryAnswers += 1;
        canary.frames.length = 0;
      } catch (cause) {
        const replay = `node test/sql-passthrough/fuzz.ts --seed ${options.seed} --iterations ${options.iterations} --only ${index}`;
        const bytes = fuzzCase.bytes.toString('base64');
        throw new Error(`${fuzzCase.kind} ${bytes}: ${(cause as Error).message}\nreplay: ${replay}`, { cause });
      }
    }
    assert.equal(sidecar.listener.sessions, 1, 'a session was left behind');
  };
  await Promise.all(Array.from({ length: options.only === undefined ? WORKERS : 1 }, worker));
  return { iterations: next - WORKERS, refused, canaryAnswers };
}

/** True when the connection was ended because of its bytes. */
async function runCase(
  fuzzCase: FuzzCase,
  random: Random,
  server: ScriptedServer,
  sidecar: Listening,
): Promise<boolean> {
  const visitor = new Visitor(sidecar.port);
  const isRefused = await runWith(visitor, fuzzCase, random, server);
  await Promise.all(server.take().map(({ closed }) => closed));
  return isRefused;
}

async function runWith(visitor: Visitor, fuzzCase: FuzzCase, random: Random, server: ScriptedServer): Promise<boolean> {
  const { bytes } = fuzzCase;
  switch (fuzzCase.kind) {
    case 'startup':
      return checkStartup(visitor, bytes, random, server);
    case 'client': {
      await visitor.send([STARTUP]);
      await visitor.has(GREETING.length);
      await visitor.send(cut(random, bytes));
      const { good, isBad } = readable('frontend', bytes);
      await visitor.end(isBad);
      const [accepted] = server.take();
      assert(accepted !== undefined);
      await accepted.closed;
      isPrefix(accepted.bytes(), Buffer.concat([STARTUP, isBad ? upTo(bytes, good) : bytes]), 'the server got');
      if (!isBad) assert(accepted.bytes().length >= STARTUP.length + good, 'a good message was lost');
      if (isBad) visitor.endsWith('08P01');
      return isBad;
    }
    case 'early': {
      const all = Buffer.concat([STARTUP, bytes]);
      await visitor.send(cut(random, all));
      const { good, isBad } = readable('frontend', bytes);
      await visitor.end(isBad);
      for (const accepted of server.take()) {
        await accepted.closed;
        isPrefix(accepted.bytes(), isBad ? upTo(all, STARTUP.length + good) : all, 'the server got');
      }
      return isBad;
    }
    case 'server': {
      server.say(bytes);
      await visitor.send([STARTUP]);
      await visitor.has(GREETING.length);
      server.say(undefined);
      await visitor.send([fuzzCase.isNamed ? random.pick(NAMED) : encodeFrontend(query('select 1'))]);
      await visitor.end(true);
      const { good, isBad } = readable('backend', bytes);
      // What the sidecar reads itself it may also find wrong for another reason than its frames.
      if (fuzzCase.isNamed) return isBad;
      const heard = visitor.bytes().subarray(GREETING.length);
      isPrefix(heard.subarray(0, good), bytes, 'the client got');
      assert(heard.length >= good || !isBad, 'a good answer was lost');
      if (isBad) visitor.endsWith('08P01', GREETING.length + good);
      else isPrefix(heard, bytes, 'the client got');
      return isBad;
    }
  }
}

const COMMENT = "/*atomesh_gid='some-gid'*/";
/** Requests whose answers the sidecar reads itself. */
const NAMED: readonly Buffer[] = [
  encodeFrontend(query(`select count(*) from account ${COMMENT}`)),
  encodeFrontend(query(`update account set id = 1 ${COMMENT}`)),
  Buffer.concat(
    [
      parse('', `select 1 ${COMMENT}`),
      bind('', ''),
      describe('portal', ''),
      execute(''),
      parse('', 'delete from account'),
      bind('', ''),
      execute(''),
      sync,
    ].map(encodeFrontend),
  ),
];

async function checkStartup(visitor: Visitor, bytes: Buffer, random: Random, server: ScriptedServer): Promise<boolean> {
  const started = createStartupReader().push(Buffer.from(bytes));
  // Alone a request for encryption would be right, and what comes later the next packet.
  const isRequest = bytes.length >= 8 && bytes.readInt32BE(0) === 8;
  await visitor.send(isRequest ? [bytes] : cut(random, bytes));
  const isRefused = started !== undefined && started.kind !== 'packet';
  await visitor.end(isRefused);
  for (const accepted of server.take()) {
    await accepted.closed;
    assert(bytes.includes(accepted.bytes()), 'the server got what was not sent');
  }
  return isRefused;
}

/** The good bytes, and so much of a bad frame's header as may have come before it was known to be bad: no server can act on it. */
function upTo(bytes: Buffer, good: number): Buffer {
  return bytes.subarray(0, good + HEADER_BYTES - 1);
}

/** Types whose frames are looked at as a whole: only those can be too long. */
const HELD: Readonly<Record<Direction, string>> = { frontend: 'QPC', backend: 'RSKGC' };

/** How many bytes of a stream are good frames, and whether bad ones follow. */
function readable(direction: Direction, bytes: Buffer): { readonly good: number; readonly isBad: boolean } {
  const holds = (type: number): boolean => HELD[direction].includes(String.fromCharCode(type));
  const reader = createFrameReader({ direction, holds, maxBytes: 0x3fff_ffff });
  let good = 0;
  reader.push(Buffer.from(bytes));
  while (reader.next()) if (reader.isLast) good = reader.end;
  return { good, isBad: reader.fault !== undefined };
}

function isPrefix(part: Buffer, whole: Buffer, who: string): void {
  assert(whole.subarray(0, part.length).equals(part), `${who} ${part.toString('base64')}, which was not sent`);
}

/** A connection whose bytes mean nothing here. */
class Visitor {
  readonly #socket: Socket;
  readonly #chunks: Buffer[] = [];
  #length = 0;
  #wake: (() => void) | undefined;
  #isClosed = false;

  constructor(port: number) {
    this.#socket = connect({ host: '127.0.0.1', port, noDelay: true });
    this.#socket.on('error', () => undefined);
    this.#socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#length += chunk.length;
      this.#wake?.();
    });
    this.#socket.once('close', () => {
      this.#isClosed = true;
      this.#wake?.();
    });
  }

  bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  async send(pieces: readonly Buffer[]): Promise<void> {
    for (const piece of pieces) {
      if (this.#isClosed) return;
      this.#socket.write(piece);
      if (pieces.length > 1) await turn();
    }
  }

  async has(length: number): Promise<void> {
    while (this.#length < length) {
      assert(!this.#isClosed, 'closed too early');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Waits for the end: at once if it is due because of the bytes, otherwise after this side has ended. */
  async end(isDue: boolean): Promise<void> {
    if (!isDue) this.#socket.end();
    if (this.#isClosed) return;
    await once(this.#socket, 'close', { signal: AbortSignal.timeout(CLOSE_MS_MAX) }).catch(() =>
      assert.fail(`is still open${isDue ? ` ${CLOSE_MS_MAX} ms after its bad bytes` : ''}`),
    );
  }

  /** The last frame, from `at` on if that is given, is a FATAL error with this code. */
  endsWith(code: string, at?: number): void {
    const bytes = this.bytes();
    const start = at ?? bytes.lastIndexOf('E\0\0\0', undefined, 'latin1');
    assert(
      start >= 0 && bytes[start] === 0x45,
      `there is no error at the end, but ${bytes.subarray(Math.max(0, start)).toString('latin1')}`,
    );
    assert.equal(start + 1 + bytes.readInt32BE(start + 1), bytes.length, 'the error is not the last of it');
    assert.equal(textsOf(bytes.subarray(start)).code, code);
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { seed: { type: 'string' }, iterations: { type: 'string' }, only: { type: 'string' } },
  });
  const seed = Number(values.seed ?? Date.now() % 0x7fff_ffff);
  const iterations = Math.min(Number(values.iterations ?? 100_000), 10_000_000);
  console.log(`seed ${seed}, ${iterations} iterations`);
  const only = values.only === undefined ? {} : { only: Number(values.only) };
  console.log(await fuzz({ seed, iterations, ...only }));
}
