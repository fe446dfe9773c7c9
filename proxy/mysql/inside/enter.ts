/** What goes ahead of the first change of a local transaction: its branch is made known and entered, or the row of its operation written. */
import { assert } from '../../../src/platform/assert.ts';
import { ENTER_BRANCH } from '../schema.ts';
import { withErrno } from '../session/refusals.ts';
import { transTypeOf, type BarrierOperation } from '../../sql/work.ts';
import { branchOf, failureIn, gidOf, type Context, type Failure } from './context.ts';
import {
  boundTooLate,
  branchEnded,
  branchNotOpened,
  lateOperation,
  operationDone,
  rolledBackAsAWhole,
} from './refusals.ts';
import { wordsIn, type Reply } from './reply.ts';
import type { Own } from './seat.ts';

/** A text in a statement of ours: of gids, resources and other names without quotes and backslashes in them. */
export function plainText(text: string): string {
  assert(/^[\w.:{}/#-]*$/.test(text), 'a name of ours needs no escaping');
  return `'${text}'`;
}

/** Fills the places of `?`, one after the other. */
export function filled(sql: string, values: readonly string[]): string {
  let number = 0;
  const text = sql.replaceAll('?', () => values[number++] ?? '');
  assert(number === values.length, 'each place has its value');
  return text;
}

/** What has to be said to the server, and what its answer means. */
export interface Entry {
  readonly statements: readonly Own[];
  /** Undefined when the local transaction may change rows. */
  judge(replies: readonly Reply[]): Promise<Failure | undefined>;
}

const NO_ENTRY: Entry = { statements: [], judge: () => Promise.resolve(undefined) };

/** Prepares the entry. Of a branch, its state is written by another connection first; what its enlisting comes to is asked at the end. */
export async function entryOf(c: Context): Promise<Entry | Failure> {
  const { local, work, seat } = c;
  if (c.isAbandoned()) return { kind: 'refused', refusal: rolledBackAsAWhole(gidOf(c)), ends: true };
  if (local.entered) return NO_ENTRY;
  if (!local.wasEntered && seat.binding.hasWritten) return { kind: 'refused', refusal: boundTooLate(gidOf(c)) };
  if (work.kind === 'operation') return operationEntry(c, work.operation);
  const branch = branchOf(c);
  const { enlistment } = c.parts;
  if (!enlistment.isEnlisted(branch) && local.enlisting === undefined) {
    local.enlisting = enlistment.enlist(branch, true);
    await enlistment.opened(branch);
  }
  const sql = filled(ENTER_BRANCH, [plainText(branch.gid), plainText(branch.resource)]);
  return {
    statements: [{ sql }],
    async judge(replies) {
      const [reply] = replies;
      assert(reply !== undefined, 'the entry was answered');
      const failure = failureIn(reply);
      if (failure !== undefined) return failure;
      const state = wordsIn(reply)[0]?.[0];
      if (state === 'active') {
        local.entered = true;
        local.wasEntered = true;
        seat.binding.engage();
        return undefined;
      }
      if (typeof state === 'string') return { kind: 'refused', refusal: branchEnded(branch.gid, state), ends: true };
      enlistment.forget(branch);
      // A row that is missing is a gap that this local transaction keeps locked now, so that nobody could open the branch. It is taken
      // back where the coordinator has not taken the branch.
      const enlisted = await local.enlisting;
      const refusal = enlisted?.kind === 'refused' ? withErrno(enlisted.refusal) : branchNotOpened(branch.gid);
      return { kind: 'refused', refusal, ends: true };
    },
  };
}

function operationEntry({ local, parts, seat }: Context, operation: BarrierOperation): Entry {
  const { rows } = parts.operations;
  const { gid, branch, task } = operation;
  const row = rows.add(operation);
  const values = [plainText(transTypeOf(task)), plainText(gid), plainText(branch), plainText(task), row];
  return {
    statements: [{ sql: `CALL atomesh.enter_operation(${values.join(', ')})` }],
    async judge(replies) {
      const [reply] = replies;
      assert(reply !== undefined, 'the entry was answered');
      const failure = failureIn(reply);
      if (failure !== undefined) {
        rows.takeBack(operation, row);
        return failure;
      }
      const [outcome, standing] = wordsIn(reply)[0] ?? [];
      switch (outcome) {
        case 'entered':
          local.entered = true;
          local.wasEntered = true;
          seat.binding.engage();
          return undefined;
        case 'read-only':
          // Nothing can be changed: the server says so to whoever tries.
          rows.takeBack(operation, row);
          return undefined;
        case 'late':
          return { kind: 'refused', refusal: lateOperation(gid), ends: true };
        default:
          // What a message may have left undone is not called again: its row says that it has committed.
          if (task !== 'msg' && typeof standing === 'string' && rows.isHalf(operation, standing)) {
            await parts.operations.halve({ gid, branch, task });
          }
          return { kind: 'refused', refusal: operationDone(gid), ends: true };
      }
    },
  };
}
