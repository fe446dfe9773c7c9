/** The connection of a session that has prepared, without its client: all that can be said on it is how the branch ends. */
import type { Socket } from 'node:net';
import type { Instant } from '../../../src/contract/transaction.ts';
import { at, now } from '../../../src/platform/clock.ts';
import { AnswerReader } from '../session/answer-reader.ts';
import { CAPABILITY, has, type Capabilities } from '../wire/capabilities.ts';
import { COMMAND } from '../wire/commands.ts';
import { encodePackets } from '../wire/frames.ts';
import { encodeQuery } from '../wire/query.ts';

/** The answer to a statement: its error's number, `ok`, or that the connection is gone, and nobody knows. */
export type Said = 'ok' | 'gone' | { readonly errno: number };

export interface ParkedConnection {
  /** Says a statement that is answered by an OK or an error. Never rejects; a connection that is silent for too long is closed. */
  say(sql: string): Promise<Said>;
  /** Closes it at once. */
  close(): void;
  /** Resolves when it is closed, by whomever. */
  readonly closed: Promise<void>;
}

const SILENCE_MS_MAX = 30_000;

/**
 * A server that hears nothing for this many seconds closes the connection, so that others may end the branch: where the machine of the sidecar
 * is gone without a word, it would be kept for eight hours. And what is in the way of the end (FLUSH TABLES WITH READ LOCK) is waited for
 * no longer than a second. Both may be said in the state that the connection is in.
 */
const SETTINGS = 'SET SESSION wait_timeout = 60, lock_wait_timeout = 1';
/** How often the server hears something. */
const BEAT_MS = 15_000;
const BEAT = 'DO 0';

/** Takes over a connection on which all is answered and nothing is read. */
export function parkedConnection(socket: Socket, capabilities: Capabilities): ParkedConnection {
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  const answers = new AnswerReader(capabilities, {
    toClient: () => undefined,
    onPrepared: () => undefined,
    onNotPrepared: () => undefined,
    onHeard: () => undefined,
    onAnswered: () => undefined,
  });
  socket.on('data', (chunk: Buffer) => {
    if (answers.read(chunk) !== undefined || answers.isLost) socket.destroy();
  });
  // The server says nothing behind its end, and waits for ours.
  socket.on('end', () => socket.destroy());
  socket.on('error', () => undefined);
  socket.on('close', () => resolve());
  socket.resume();

  async function say(sql: string): Promise<Said> {
    if (socket.destroyed) return 'gone';
    const attributes = has(capabilities, CAPABILITY.queryAttributes) ? [] : undefined;
    const answered = new Promise<Said>((answer) => {
      answers.expect(COMMAND.query, {
        by: 'sidecar',
        effect: 'inside',
        onEnd: (end) => answer(end?.kind === 'error' ? { errno: end.errno } : end === undefined ? 'gone' : 'ok'),
      });
    });
    const cancel = at((now() + SILENCE_MS_MAX) as Instant, () => socket.destroy());
    socket.write(encodePackets(encodeQuery({ kind: 'query', attributes, text: Buffer.from(sql, 'latin1') }), 0));
    return await Promise.race([answered, closed.then((): Said => 'gone')]).finally(cancel);
  }

  let cancelBeat = (): void => undefined;
  const beat = (): void => {
    cancelBeat = at((now() + BEAT_MS) as Instant, () => void say(BEAT).then((said) => said === 'gone' || beat()));
  };
  void say(SETTINGS);
  beat();
  void closed.then(() => cancelBeat());
  return { closed, close: () => void socket.destroy(), say };
}
