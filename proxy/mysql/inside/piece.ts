/** One statement of what the client has sent: all of a command, or one of several in a text. */
import type { Heard } from '../session/transaction.ts';
import type { Effect } from '../session/transaction.ts';
import { assert } from '../../../src/platform/assert.ts';
import { isOpen, restated, type Context, type Failure } from './context.ts';
import type { Said } from '../session/naming/claimants.ts';
import type { ParsedStatement } from '../parse.ts';
import type { Reply } from './reply.ts';

export interface Piece {
  readonly parsed: ParsedStatement;
  /** Its text, with one character for each byte. */
  readonly sql: string;
  /** It is the whole command, so that the command itself can go to the server. */
  readonly isWhole: boolean;
  /** Another statement of the same text follows. */
  readonly hasMore: boolean;
  /** It is a prepared statement's: rows are in binary form. */
  readonly isPrepared: boolean;
  /** The prepared statement and its parameters, as long as these are not written into the text. */
  readonly prepared: Said['prepared'] | undefined;
}

/** The client's own words go to the server, and the answer to the client. Says how that has ended. */
export async function passOn(c: Context, piece: Piece, effect: Effect): Promise<Heard | undefined> {
  if (piece.isWhole) return c.seat.relay(effect);
  const reply = await collect(c, piece, effect);
  answer(c, piece, reply.packets);
  const last = reply.results.at(-1);
  if (last?.kind === 'error') return { kind: 'error', errno: last.errno };
  return { kind: 'ok', status: c.seat.binding.status };
}

/** The client's own words go to the server, and the answer to nobody yet. */
export async function collect({ seat }: Context, piece: Piece, effect: Effect): Promise<Reply> {
  if (piece.isWhole) return seat.collect(effect);
  const [reply] = await seat.ask([{ sql: piece.sql, effect }]);
  assert(reply !== undefined, 'a statement was answered');
  return reply;
}

/** The client hears an answer, whose end says what it knows of its local transaction. */
export function answer(c: Context, { hasMore }: Piece, packets: readonly Buffer[]): void {
  const states = { isInside: isOpen(c), hasMore };
  c.seat.answer(
    packets.map((packet, index) =>
      index === packets.length - 1 ? restated(packet, c.seat.capabilities, states) : packet,
    ),
  );
}

/** The client hears why not. False: nothing that follows in the same text is carried out. */
export function tell(c: Context, failure: Failure): false {
  c.last = failure.kind === 'error' ? failure.last : undefined;
  if (failure.kind === 'error') c.seat.answer([failure.packet]);
  else c.seat.refuse(failure.refusal);
  return false;
}
