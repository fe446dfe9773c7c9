/** What all parts of a session inside a global transaction share. */
import { assert } from '../../../src/platform/assert.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import { workOf, type UndoBranch, type Work } from '../../sql/work.ts';
import type { Refusal } from '../session/refusals.ts';
import { CAPABILITY, has, type Capabilities } from '../wire/capabilities.ts';
import { decodeEof, decodeOk, encodeEof, encodeOk, STATUS } from '../wire/outcome.ts';
import type { LastStatement, SessionMemory } from './last-statement.ts';
import type { Local } from './local.ts';
import type { InsideParts } from './parts.ts';
import { errorIn, type Reply } from './reply.ts';
import type { Own, Seat } from './seat.ts';
import type { Settings } from './settings.ts';
import type { TemporaryTables } from './tables/temporary.ts';

/** One session. */
export interface Context {
  readonly seat: Seat;
  readonly parts: InsideParts;
  readonly settings: Settings;
  /** SET TRANSACTION may have given the local transaction a level of its own, or access, which nobody tells: begun anew it would not have it. */
  readonly hasLevel: boolean;
  readonly tables: TemporaryTables;
  readonly memory: SessionMemory;
  /** Of the local transaction that is open, or is about to be. */
  readonly local: Local;
  /** For what the statement that is served is carried out. */
  readonly work: Work;
  /** What the client may ask about its last statement. */
  last: LastStatement | undefined;
  /** True when the branch, or the operation, was rolled back as a whole while this session belonged to it. */
  isAbandoned(): boolean;
}

/** Why a statement was not carried out. */
export type Failure =
  /** The server's own error, which the client gets. */
  | { readonly kind: 'error'; readonly packet: Buffer; readonly errno: number; readonly last?: LastStatement }
  /** `ends`: the local transaction has to be rolled back as a whole. */
  | { readonly kind: 'refused'; readonly refusal: Refusal; readonly ends?: true };

/** The error that a reply ended with, as the client's. */
export function failureIn(reply: Reply): Failure | undefined {
  const error = errorIn(reply);
  const packet = reply.packets.at(-1);
  return error === undefined || packet === undefined ? undefined : { kind: 'error', packet, errno: error.errno };
}

/** The branch that changes are captured for. */
export function branchOf({ work }: Pick<Context, 'work'>): UndoBranch {
  assert(work.kind === 'undo', 'changes of an operation have no branch');
  return work.branch;
}

/** Whom the session works for. */
export function gidOf({ work }: Pick<Context, 'work'>): Gid {
  return work.kind === 'undo' ? work.branch.gid : work.operation.gid;
}

/** For what a mark of the session stands; undefined when it has none. */
export function workOfSeat({ binding }: Seat, { resource }: InsideParts): Work | undefined {
  return binding.mark && workOf(binding.mark, resource);
}

/** A statement outside of a local transaction, which gets one of its own. Without autocommit it begins one that stays. */
export function isAlone({ seat }: Pick<Context, 'seat'>): boolean {
  const { block, hasAutocommit } = seat.binding.transaction;
  return block === 'idle' && hasAutocommit;
}

/** A local transaction is open, as far as is known. */
export function isOpen({ seat }: Pick<Context, 'seat'>): boolean {
  return seat.binding.transaction.block !== 'idle';
}

/** Runs statements of ours and gives the failure of the first that failed. */
export async function askAll(
  { seat }: Pick<Context, 'seat'>,
  statements: readonly Own[],
): Promise<Failure | undefined> {
  const replies = await seat.ask(statements);
  return replies.map(failureIn).find((failure) => failure !== undefined);
}

/**
 * The last packet of an answer as the client is to see it: `isInside` says whether it has a local transaction open by what it
 * knows, `hasMore` whether another result follows. What session tracking said of a local transaction of ours is left out.
 */
export function restated(
  packet: Buffer,
  capabilities: Capabilities,
  states: { readonly isInside: boolean; readonly hasMore: boolean },
): Buffer {
  const turn = (status: number): number => {
    const kept = status & ~STATUS.inTransaction & ~STATUS.moreResults & ~STATUS.sessionStateChanged;
    return kept | (states.isInside ? STATUS.inTransaction : 0) | (states.hasMore ? STATUS.moreResults : 0);
  };
  if (packet[0] === 0xff) return packet;
  if (packet[0] === 0xfe && !has(capabilities, CAPABILITY.deprecateEof)) {
    const eof = decodeEof(packet);
    return eof.kind === 'eof' ? encodeEof({ ...eof, status: turn(eof.status) }) : packet;
  }
  const ok = decodeOk(packet, capabilities);
  if (ok.kind !== 'ok') return packet;
  // The word on the session's state follows the text, and a text that is missing could not be told from it.
  return encodeOk({ ...ok, status: turn(ok.status), stateChanges: undefined });
}
