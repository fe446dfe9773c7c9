/** The row of an operation on its way: numbered, so that the session knows it again, and what an error says about it. */
import type { BarrierOperation } from '../../sql/work.ts';
import { withoutPosition } from '../session/capture-run.ts';
import type { Conversation } from '../session/conversation.ts';
import { reportOf, type Request } from '../session/exchange.ts';
import { rowsOf } from '../session/injected.ts';
import { OPERATION_DONE } from '../schema.ts';

/**
 * Adds the row to the batch. `told`: the client gets its error with the answers, and not by the caller. An error that leaves the
 * operation half done goes out only when that is remembered, so that whoever is asked next knows of it.
 */
export function sendRow(
  c: Conversation,
  operation: BarrierOperation,
  options: { readonly checkEarlierWrites: boolean; readonly told: boolean },
): Request {
  const { rows } = c.operations;
  const row = rows.add(operation);
  const request = c.injected.enter(operation, options.checkEarlierWrites, row);
  request.onEnd = () => {
    const { error } = request;
    if (request.state === 'done' && rowsOf(request)[0]?.[0] === 'f') rows.takeBack(operation, row);
    if (error === undefined) return;
    holdIfHalf(c, operation, error);
    if (options.told) c.toClient(withoutPosition(error));
  };
  return request;
}

function holdIfHalf(c: Conversation, { gid, branch, task }: BarrierOperation, error: Buffer): void {
  const { code, schema, table, constraint } = reportOf(error);
  const isDone = code === OPERATION_DONE.code && schema === OPERATION_DONE.schema && table === OPERATION_DONE.table;
  // What a message may have left undone is not called again: its row says that it has committed.
  if (!isDone || constraint === undefined || task === 'msg') return;
  if (c.operations.rows.isHalf({ gid, branch, task }, constraint))
    c.holdClient(c.operations.halve({ gid, branch, task }));
}
