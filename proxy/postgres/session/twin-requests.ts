/** The requests that put a capturing statement in the place of the client's, or the client's own back where it is needed. */
import type { Gid } from '../../../src/contract/transaction.ts';
import { holdsLocks } from '../../sql/session.ts';
import type { Capture } from '../../sql/statement.ts';
import type { UndoBranch } from '../../sql/work.ts';
import { answerOf, withoutPosition, type CaptureRun } from './capture-run.ts';
import type { Conversation } from './conversation.ts';
import type { Request } from './exchange.ts';
import { setPrepared, type Portal, type Statement } from './statements.ts';
import type { ProtocolFault } from '../wire/body.ts';
import { NO_DATA } from '../wire/bodiless.ts';
import { encodeClose, type Describe } from '../wire/describe.ts';
import { encodeExecute, type Execute } from '../wire/execute.ts';

/** What a portal is to be bound to. */
export interface TwinBinding {
  readonly portal: Portal;
  readonly capture: Capture;
  readonly branch: UndoBranch;
  /** Whose row locks may be taken over. */
  readonly committed: readonly Gid[];
  /** The statement also enters the branch. */
  readonly enter: boolean;
  /** Who hears that the portal is bound. */
  readonly to: 'client' | 'nobody';
}

/**
 * Adds the Bind of the capturing statement, and its Parse unless the server has it. A fault when the client's Bind is malformed. `watch`: hears
 * of what the client hears nothing of, with what is to be done should it fail.
 */
export function addTwin(
  c: Conversation,
  binding: TwinBinding,
  watch: (request: Request, onError?: () => void) => void = (request, onError) => passError(c, request, onError),
): ProtocolFault | undefined {
  const bound = c.twins.bind(binding);
  if (bound.kind === 'fault') return bound;
  const unnamed = bound.replacesUnnamed ? c.statements.byName.get('') : undefined;
  if (unnamed !== undefined) setPrepared(c.statements, unnamed, false);
  if (bound.parse !== undefined) {
    watch(c.exchange.add({ kind: 'parse', to: 'nobody' }, bound.parse), bound.unprepared);
  }
  const request = c.exchange.add({ kind: 'bind', to: binding.to }, bound.bind);
  if (binding.to === 'nobody') watch(request);
  return undefined;
}

/** Adds the Parse of a statement of the client's that the server does not have. */
export function addPrepared(c: Conversation, statement: Statement): void {
  if (statement.isPrepared) return;
  setPrepared(c.statements, statement, true);
  passError(c, c.exchange.add({ kind: 'parse', to: 'nobody' }, statement.frame));
}

/** Adds a Describe of the client's. What a captured change without RETURNING gives, a count of ours, is none of its business. */
export function addDescribe(c: Conversation, { target, name }: Describe, bytes: Buffer): void {
  const key = name.toString('latin1');
  if (target === 'statement') {
    const statement = c.statements.byName.get(key);
    if (statement !== undefined) addPrepared(c, statement);
    return void c.exchange.add({ kind: 'describe-statement', to: 'client' }, bytes);
  }
  const portal = c.statements.portals.get(key);
  const plan = portal?.plan;
  if (plan?.kind === 'capture' && !plan.capture.returnsRows && portal?.mark !== undefined)
    return void c.exchange.add({ kind: 'invented', to: 'client', invented: NO_DATA });
  c.exchange.add({ kind: 'describe-portal', to: 'client' }, bytes);
}

/** One captured statement of a portal that is bound to its capturing statement. `bindAgain` binds it once more, its answers going nowhere. */
export function twinRun(
  c: Conversation,
  of: Pick<CaptureRun, 'branch' | 'admission' | 'isAlone' | 'bindAgain'> & { readonly execute: Execute },
): CaptureRun {
  const { execute, ...run } = of;
  const { portal: name } = execute;
  // That of a change without RETURNING means nothing, and our count is a row.
  const maxRows = run.admission.capture.returnsRows ? execute.maxRows : 0;
  return {
    ...run,
    keepsLocks: c.state.lockedRows,
    holdsLocks: holdsLocks(c.state),
    isBound: true,
    bindAgain(committed) {
      // A portal that was bound before the savepoint has outlived the rollback to it.
      const bytes = encodeClose({ kind: 'close', target: 'portal', name });
      passError(c, c.exchange.add({ kind: 'close', to: 'nobody' }, bytes));
      run.bindAgain(committed);
    },
    execute: () =>
      c.exchange.add({ kind: 'execute', to: 'held' }, encodeExecute({ kind: 'execute', portal: name, maxRows })),
  };
}

/** Adds an Execute of a capturing statement that has run: the server has kept the rows that are left, and gives the next of them. */
export function addPortion(c: Conversation, capture: Capture, execute: Execute): void {
  const request = c.exchange.add({ kind: 'execute', to: 'held' }, encodeExecute(execute));
  request.onEnd = () => {
    if (request.error !== undefined) c.toClient(request.error);
    else if (request.state === 'done') for (const bytes of answerOf(capture, request)) c.toClient(bytes);
  };
}

/** The client hears nothing of the request but its error. */
export function passError(c: Conversation, request: Request, onError?: () => void): void {
  request.onEnd = () => {
    if (request.state !== 'done') onError?.();
    if (request.error !== undefined) c.toClient(withoutPosition(request.error));
  };
}
