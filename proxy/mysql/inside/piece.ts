/** One statement of what the client has sent: all of a command, or one of several in a text. */
import type { Heard } from '../session/transaction.ts';
import type { Effect } from '../session/transaction.ts';
import { assert } from '../../../src/platform/assert.ts';
import { isOpen, restated, type Context, type Failure } from './context.ts';
import type { Said } from '../session/naming/claimants.ts';
import type { ParsedStatement } from '../parse.ts';
import { binaryRows } from './refusals.ts';
import { failedStatement, withoutWarnings } from './last-statement.ts';
import type { Reply } from './reply.ts';
import { inBinaryForm } from '../wire/rows.ts';

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
  /** It is a prepared statement's and runs as a text: its rows are turned into binary form. */
  readonly isTurned?: true;
  /** So many of its parameters were written into its text, and are no UTF-8: MySQL warns of them. */
  readonly badTexts?: number;
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
export function answer(c: Context, piece: Piece, packets: readonly Buffer[]): void {
  const { capabilities } = c.seat;
  const { hasMore, isTurned } = piece;
  const heard = withoutOurs(c, piece, packets);
  const told = isTurned === true ? inBinaryForm(heard, capabilities) : heard;
  if (told === undefined) return c.seat.refuse(binaryRows);
  const states = { isInside: isOpen(c), hasMore };
  c.seat.answer(
    told.map((packet, index) => (index === told.length - 1 ? restated(packet, capabilities, states) : packet)),
  );
}

/** Without the warnings that are ours. */
function withoutOurs(c: Context, { badTexts = 0 }: Piece, packets: readonly Buffer[]): readonly Buffer[] {
  const [packet, ...others] = packets;
  if (badTexts === 0 || packet === undefined || others.length > 0 || c.last === undefined) return packets;
  const { last, ok } = withoutWarnings(c.last, packet, { texts: badTexts, capabilities: c.seat.capabilities });
  c.last = last;
  return [ok];
}

/** The client hears why not. False: nothing that follows in the same text is carried out. */
export function tell(c: Context, failure: Failure): false {
  const { binding, capabilities } = c.seat;
  // Where a local transaction has ended, or may have, the server has heard something of ours since, or hears it next, and has forgotten the error.
  const isForgotten = binding.isDoubtful || !isOpen(c);
  const own = failure.kind === 'error' && isForgotten ? failedStatement(failure.packet, capabilities) : undefined;
  c.last = failure.kind === 'error' ? (failure.last ?? own) : undefined;
  if (failure.kind === 'error') c.seat.answer([failure.packet]);
  else c.seat.refuse(failure.refusal);
  return false;
}

/** Texts that leave the settings of the session as they are. */
export const QUERIES = /^\(*\s*(?:select|with|table|values|show|explain|desc|describe)\b/i;

/** Queries that read tables, and some that do not. */
export const READS_TABLES = /^[(\s]*(?:table\b|(?:select|with)\b.*\bfrom\b)/is;
