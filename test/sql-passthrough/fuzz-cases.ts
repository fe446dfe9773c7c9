/** Bytes that no honest client or server would send, made of honest ones by chance from a seed. */
import { encodeFrontend } from '../../proxy/postgres/wire/messages.ts';
import { encodeStartupPacket } from '../../proxy/postgres/wire/startup.ts';
import { mutate, NASTY_INT16, NASTY_INT32 } from '../postgres/wire/arbitraries.ts';
import { SESSION } from '../postgres/wire/session-corpus.ts';
import type { Random } from '../simulation/random.ts';
import { startupPacket } from './support/raw-client.ts';
import { query } from './support/messages.ts';

export type FuzzCase =
  /** The first bytes of a connection. */
  | { readonly kind: 'startup'; readonly bytes: Buffer }
  /** What a client says that has logged in. */
  | { readonly kind: 'client'; readonly bytes: Buffer }
  /** What a client says in one go with its start-up packet. */
  | { readonly kind: 'early'; readonly bytes: Buffer }
  /** What a server answers to a query: one without a gid, or one whose answer the sidecar reads itself. */
  | { readonly kind: 'server'; readonly bytes: Buffer; readonly isNamed: boolean };

export const STARTUP: Buffer = startupPacket({ user: 'fuzz', database: 'postgres' });

export function anyCase(random: Random): FuzzCase {
  const dice = random.next();
  if (dice < 0.2) return { kind: 'startup', bytes: startupBytes(random) };
  if (dice < 0.6) return { kind: 'client', bytes: streamBytes(random, SESSION.frontend) };
  if (dice < 0.7) return { kind: 'early', bytes: streamBytes(random, SESSION.frontend) };
  return { kind: 'server', bytes: streamBytes(random, SESSION.backend), isNamed: random.chance(0.5) };
}

/** `bytes` in pieces that cut headers, or whole. */
export function cut(random: Random, bytes: Buffer): readonly Buffer[] {
  if (random.chance(0.6)) return [bytes];
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = random.between(1, random.chance(0.5) ? 9 : 200);
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  // Each piece takes a turn of the event loop: what is cut most is not cut to the end.
  return pieces.length > 12 ? [...pieces.slice(0, 12), bytes.subarray(sum(pieces.slice(0, 12)))] : pieces;
}

function sum(pieces: readonly Buffer[]): number {
  return pieces.reduce((total, piece) => total + piece.length, 0);
}

function startupBytes(random: Random): Buffer {
  const request = encodeStartupPacket({ kind: random.pick(['ssl-request', 'gssenc-request'] as const) });
  switch (random.between(0, 8)) {
    case 0:
      return Buffer.concat([request, garbage(random)]);
    case 1:
      return Buffer.concat([request, STARTUP]);
    case 2:
      return Buffer.concat([STARTUP, STARTUP]);
    case 3:
      return withLength(STARTUP, random.pick([...NASTY_INT32, 7, 8, 9, 10_004, 10_005]));
    case 4:
      return startupPacket({ user: 'x'.repeat(random.between(9_900, 12_000)) });
    case 5:
      return encodeStartupPacket({ kind: 'cancel-request', processId: random.between(-5, 5), secret: Buffer.alloc(4) });
    case 6:
      return Buffer.from('GET / HTTP/1.1\r\nhost: db\r\n\r\n');
    case 7:
      return garbage(random);
    default:
      return damaged(random, STARTUP);
  }
}

function streamBytes(random: Random, session: Buffer): Buffer {
  switch (random.between(0, 5)) {
    case 0: {
      // A frame whose length lies, and honest ones behind it.
      const type = session.subarray(0, 1);
      return Buffer.concat([
        session,
        withLength(Buffer.concat([type, Buffer.alloc(4)]), random.pick(NASTY_INT32), 1),
        session,
      ]);
    }
    case 1:
      return Buffer.concat([session, garbage(random), session]);
    case 2:
      return Buffer.concat([encodeFrontend(query('select 1')), STARTUP, session]);
    default:
      return damaged(random, session);
  }
}

function damaged(random: Random, bytes: Buffer): Buffer {
  let result = bytes;
  for (let left = random.between(1, 3); left > 0; left -= 1) {
    const place = random.between(0, 5000);
    switch (random.between(0, 5)) {
      case 0:
        result = mutate(result, { kind: 'flip', place, bit: random.between(0, 7) });
        break;
      case 1:
        result = mutate(result, { kind: 'cut-off', place });
        break;
      case 2:
        result = mutate(result, { kind: 'leave-out', place, length: random.between(1, 20) });
        break;
      case 3:
        result = mutate(result, { kind: 'insert', place, bytes: garbage(random) });
        break;
      case 4:
        result = mutate(result, { kind: 'int16', place, value: random.pick(NASTY_INT16) });
        break;
      default:
        result = mutate(result, { kind: 'int32', place, value: random.pick(NASTY_INT32) });
    }
  }
  return result;
}

function garbage(random: Random): Buffer {
  return Buffer.from(Array.from({ length: random.between(1, 60) }, () => random.between(0, 255)));
}

function withLength(bytes: Buffer, length: number, at = 0): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt32BE(length, at);
  return copy;
}
