/** How a local transaction ends inside a global one: by COMMIT, or by PREPARE TRANSACTION where it holds changes without images. */
import { assert } from '../../../src/platform/assert.ts';
import type { Refusal } from '../../sql/statement.ts';
import {
  currentBranch,
  errorFrame,
  refuseCommit,
  rollBack,
  sendReady,
  type Conversation,
  currentWork,
} from '../session/conversation.ts';
import type { Request } from '../session/exchange.ts';
import { endedBefore } from '../session/refusals.ts';
import { SYNC } from '../wire/bodiless.ts';
import { encodeCommandComplete } from '../wire/execute.ts';
import { explainPrepare } from './explain.ts';

/**
 * - `committable`: it has written nothing, so it may commit as it is.
 * - `prepared`: it is prepared, and with `chains` a new block has begun.
 * - `failed`: it was rolled back; `error` is for the client.
 */
export type PrepareResult =
  | { readonly kind: 'committable' }
  | { readonly kind: 'prepared' }
  | { readonly kind: 'failed'; readonly error: Buffer };

/** The command tag of a COMMIT, which is what the client asked for. */
export const COMMITTED: Buffer = encodeCommandComplete({ kind: 'command-complete', tag: Buffer.from('COMMIT') });
/** What the server answers when it has prepared; to one whose block has failed it says ROLLBACK. */
const TAG = 'PREPARE TRANSACTION';

/** In SQL, the right to take on a role, as `pg_has_role` names it: being a member suffices up to 15, from 16 on `SET` is one of its own. */
export const RIGHT_TO_TAKE_ON =
  "CASE WHEN pg_catalog.current_setting('server_version_num')::pg_catalog.int4 OPERATOR(pg_catalog.>=) 160000 THEN 'SET' ELSE 'MEMBER' END";

/**
 * Whether anything was written, whether the role of the second phase may end what the current role prepares, and what a chained
 * block inherits. Only who prepared may end it, or a superuser; a role may become another one of which it is a member.
 * PG source: src/backend/access/transam/twophase.c, LockGXact; GetUserId is the role that was set last.
 */
export const FACTS_OF_END = `SELECT (pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL)::pg_catalog.text,
 pg_catalog.pg_has_role($1::pg_catalog.name, current_user, ${RIGHT_TO_TAKE_ON})::pg_catalog.text,
 current_user::pg_catalog.text, pg_catalog.current_setting('transaction_isolation'), pg_catalog.current_setting('transaction_read_only'), pg_catalog.current_setting('transaction_deferrable')`;

/**
 * Ends the client's block, or one of ours, by preparing it. Its branch is known to the coordinator before: whatever the coordinator
 * does not know, no prepared transaction can belong to. Behind everything that was sent before; nothing of that may be unanswered.
 */
export async function prepare(c: Conversation, chains: boolean): Promise<PrepareResult> {
  const { preparation } = c;
  assert(preparation !== undefined, 'only what may be prepared escalates');
  const branch = currentBranch(c);
  const enlisting = refuseCommit(c);
  let error: Buffer | undefined;
  const rows = await c.injected.query('end', FACTS_OF_END, [preparation.finisher], {
    isInPipeline: false,
    passOn: (frame) => {
      error = frame;
    },
  });
  const [hasWritten, mayFinish, role, isolation, readOnly, deferrable] = rows?.[0] ?? [];
  const refusal = await enlisting;
  if (rows === undefined || refusal !== undefined) {
    const said = error ?? errorFrame(refusal ?? endedBefore);
    return await failed(c, said);
  }
  if (hasWritten !== 'true') return { kind: 'committable' };
  const obstacle =
    mayFinish === 'true' ? await preparation.mayCommit(branch.gid) : notAMember(preparation.finisher, role);
  if (obstacle !== undefined) return await failed(c, errorFrame(obstacle));

  const name = preparation.nameFor(branch);
  const prepared = await run(c, `PREPARE TRANSACTION '${name}'`);
  if (prepared.tag !== TAG)
    return await failed(c, explainPrepare(prepared.error ?? errorFrame(endedBefore), branch.gid));
  preparation.prepared(branch);
  c.count('prepared');
  if (!chains) return { kind: 'prepared' };
  const access = readOnly === 'on' ? 'READ ONLY' : 'READ WRITE';
  const begun = await run(
    c,
    `BEGIN ISOLATION LEVEL ${isolation ?? ''}, ${access}, ${deferrable === 'on' ? '' : 'NOT '}DEFERRABLE`,
  );
  // It is prepared all the same: the client hears why there is no new block.
  return begun.error === undefined ? { kind: 'prepared' } : { kind: 'failed', error: begun.error };
}

/** Ends a block of ours. The client hears why its end failed; nothing else. */
export async function endBlock(c: Conversation): Promise<void> {
  // What went ahead of its BEGIN has failed.
  if (c.state.block === 'idle') return;
  if (c.state.prepares && c.state.block === 'open') {
    const result = await prepare(c, false);
    if (result.kind === 'failed') c.toClient(result.error);
    if (result.kind !== 'committable') return;
  }
  // What triggers have recorded is committed as it is, and its branch must be known before.
  const records = c.state.block === 'open' && c.state.changed && currentWork(c)?.kind === 'undo';
  const refusal = records ? await refuseCommit(c) : undefined;
  if (refusal !== undefined) {
    await rollBack(c);
    return c.toClient(errorFrame(refusal));
  }
  await c.cancelling();
  const end = c.injected.add(c.state.block === 'failed' ? 'rollback' : 'commit');
  c.exchange.add({ kind: 'sync', to: 'nobody' }, SYNC);
  await c.exchange.settled();
  if (end.error !== undefined) c.toClient(end.error);
}

/** The client's Sync: whatever is open ends, a block of ours (`isWrapped`) too, and it hears that the session is ready. */
export async function endPipeline(
  c: Conversation,
  { isOpen, isWrapped }: { readonly isOpen: boolean; readonly isWrapped: boolean },
): Promise<void> {
  if (isOpen) {
    c.exchange.add({ kind: 'sync', to: isWrapped ? 'nobody' : 'client' }, SYNC);
    await c.exchange.settled();
  }
  if (isOpen && !isWrapped) return;
  if (isWrapped) await endBlock(c);
  sendReady(c);
}

/** One command of ours that must not be cancelled; the client hears what triggers have to say, as it would at a COMMIT. */
async function run(c: Conversation, command: string): Promise<Request> {
  await c.cancelling();
  const request = c.injected.once(command);
  c.exchange.add({ kind: 'sync', to: 'nobody' }, SYNC);
  await c.exchange.settled();
  return request;
}

/** Mostly the server has rolled it back with the error already. */
async function failed(c: Conversation, error: Buffer): Promise<PrepareResult> {
  if (c.state.block !== 'idle') await rollBack(c);
  return { kind: 'failed', error };
}

function notAMember(finisher: string, role: string | null | undefined): Refusal {
  return {
    code: '42501',
    message: `the role ${finisher} of the second phase could not end what the role ${role ?? ''} prepares`,
    hint: `Run: GRANT "${role ?? ''}" TO "${finisher}". Only the role that prepared a transaction, a member of it, or a superuser may end it.`,
  };
}
