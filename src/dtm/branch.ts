/** From a registered branch of DTM's protocol to what then happens to its transaction. */
import { INITIATOR, parseBranchId, type BranchId, type Protocol } from '../contract/transaction.ts';
import type { Event } from '../engine/event.ts';
import type { Read } from './custom-data.ts';
import type { DtmBranch } from './service.ts';
import type { TargetCheck } from './target.ts';

const OPERATION_CHARACTERS_MAX = 45;

/**
 * The event that registers `branch` with a transaction whose branches are called over `protocol`. Both targets of a TCC branch may be left out: then there is nothing to call. Answers why it
 * cannot be registered.
 */
export function readBranch(branch: DtmBranch, protocol: Protocol, targetFault: TargetCheck): Read<Event> {
  const check = (target: string): string | undefined => targetFault(target, protocol);
  const id = parseBranchId(branch.branchId);
  if (id === undefined) {
    return refuse(
      `branch_id: expected digits, two for each level, found ${JSON.stringify(branch.branchId.slice(0, 60))}`,
    );
  }
  switch (branch.transType) {
    case 'tcc':
      return enlisted(branch, id, 'tcc', { confirm: 'confirm', cancel: 'cancel' }, check);
    case 'xa':
      return enlisted(branch, id, 'xa', { commit: 'url', rollback: 'url' }, check);
    case 'workflow':
      return recorded(branch, id);
    default:
      return refuse(`unknow trans type: ${branch.transType.slice(0, 60)}`);
  }
}

function enlisted<Operation extends string>(
  { data, payload }: DtmBranch,
  id: BranchId,
  kind: 'tcc' | 'xa',
  fields: Readonly<Record<Operation, string>>,
  targetFault: (target: string) => string | undefined,
): Read<Event> {
  if (id === INITIATOR) return refuse('branch_id: 00 is the initiator itself');
  const operations: Record<string, string> = {};
  for (const [operation, field] of Object.entries<string>(fields)) {
    const target = data[field] ?? '';
    const fault = targetFault(target);
    if (fault !== undefined) return refuse(`${field}: ${fault}`);
    operations[operation] = target;
  }
  return {
    ok: true,
    value: {
      kind: 'enlist',
      branch: { id, kind, resource: id, operations, ...(payload === '' ? {} : { payload }) },
    },
  };
}

function recorded({ op, data, payload }: DtmBranch, branch: BranchId): Read<Event> {
  const operation = op === '' ? (data['op'] ?? '') : op;
  const status = data['status'];
  if (operation === '' || operation.length > OPERATION_CHARACTERS_MAX) {
    return refuse(`op: expected 1 to ${OPERATION_CHARACTERS_MAX} characters`);
  }
  if (status !== 'succeed' && status !== 'failed') {
    return refuse(`status: expected succeed or failed, found ${JSON.stringify((status ?? '').slice(0, 60))}`);
  }
  return { ok: true, value: { kind: 'record', step: { branch, operation, status, data: payload } } };
}

function refuse(message: string): { readonly ok: false; readonly message: string } {
  return { ok: false, message };
}
