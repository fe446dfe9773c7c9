/** Several statements in one simple query inside a global transaction: one after another, in one local transaction, answered as one. */
import type { PlannedStatement } from '../../../sql/planner.ts';
import { admit, type Admission } from '../../../sql/session.ts';
import type { StatementPlan } from '../../../sql/statement.ts';
import { SYNC } from '../../wire/bodiless.ts';
import { encodeQuery } from '../../wire/query.ts';
import {
  errorFrame,
  fail,
  note,
  notePassed,
  plansOf,
  refuseCommit,
  rollBack,
  sendReady,
  type Conversation,
} from '../conversation.ts';
import { endBlock } from '../../xa/end.ts';
import { aheadOfPassed } from '../ahead/earlier-writes.ts';
import { runChange } from '../../xa/simple.ts';

/** A text of several statements, all of which pass, are captured, or run in a local transaction that will be prepared. */
export interface SeveralStatements {
  readonly text: string;
  readonly statements: readonly PlannedStatement[];
  /** Runs one captured statement and gives the client its answer; false when it failed, and the client has the error. */
  readonly capture: (admission: Extract<Admission, { kind: 'capture' }>, plan: StatementPlan) => Promise<boolean>;
}

/**
 * Serves them. Outside a block the server would run them in one implicit local transaction: they get a block of ours, whose
 * COMMIT waits until the branch is known to the coordinator. The first that fails ends them all, as with the server itself. One thing
 * differs: when that COMMIT fails, by a deferred constraint, the client has the last statement's tag ahead of the error.
 */
export async function serveSeveral(c: Conversation, several: SeveralStatements): Promise<void> {
  const wraps = c.state.block === 'idle';
  if (wraps && !(await begin(c))) return sendReady(c);
  let goesOn = true;
  let isMoved = false;
  for (const [index, { plan: planned, start, length }] of several.statements.entries()) {
    const plan = isMoved ? await planAnew(c, several, index) : planned;
    goesOn = plan !== undefined;
    if (plan === undefined) break;
    isMoved ||= runsCode(plan);
    const admission = admit(c.state, plan);
    const range = { start, length };
    if (admission.kind === 'capture') goesOn = await several.capture(admission, plan);
    else if (admission.kind === 'enter' || admission.kind === 'entered')
      goesOn = await runChange(c, {
        frame: padded(several.text, range),
        text: several.text,
        index,
        admission,
        begins: false,
      });
    else goesOn = await pass(c, several.text, range);
    if (!goesOn) break;
  }
  if (wraps) await end(c, goesOn);
  sendReady(c);
}

function runsCode(plan: StatementPlan): boolean {
  if (plan.kind === 'change') return (plan.runsCode ?? plan.recorded?.runsCode) === true;
  return plan.kind === 'capture' && plan.capture.recorded?.runsCode === true;
}

/** The plan of one behind code of the user's, which may have changed what its names mean; undefined when the client has got an error. */
async function planAnew(
  c: Conversation,
  { text }: SeveralStatements,
  index: number,
): Promise<StatementPlan | undefined> {
  const plan = (await plansOf(c, text, false))?.[index]?.plan;
  if (plan?.kind !== 'refuse') return plan;
  await fail(c, plan.refusal, false);
  return undefined;
}

async function begin(c: Conversation): Promise<boolean> {
  const begun = c.injected.add('begin');
  c.exchange.add({ kind: 'sync', to: 'nobody' }, SYNC);
  await c.exchange.settled();
  if (begun.error !== undefined) c.toClient(begun.error);
  return begun.error === undefined;
}

interface Range {
  readonly start: number;
  readonly length: number;
}

/** The Query message of one statement. What comes before it becomes blanks, so that positions in the server's errors stay those of the whole text. */
function padded(text: string, { start, length }: Range): Buffer {
  const bytes = Buffer.from(text);
  const head = bytes.toString('utf8', 0, start).replaceAll(/./gsu, ' ');
  return encodeQuery({ kind: 'query', text: Buffer.from(head + bytes.toString('utf8', start, start + length)) });
}

async function pass(c: Conversation, text: string, range: Range): Promise<boolean> {
  const statement = Buffer.from(text).toString('utf8', range.start, range.start + range.length);
  notePassed(c, statement);
  if ((await aheadOfPassed(c, statement)) === false) {
    c.exchange.add({ kind: 'sync', to: 'nobody' }, SYNC);
    await c.exchange.settled();
    return false;
  }
  const request = c.exchange.add({ kind: 'query', to: 'client', keepsReady: true }, padded(text, range));
  await c.exchange.settled();
  if (request.state === 'done') note(c, { kind: 'pass' });
  return request.state === 'done';
}

/** Ends the block of ours; the client hears why when that fails. */
async function end(c: Conversation, isGood: boolean): Promise<void> {
  const refusal = isGood && c.state.changed ? await refuseCommit(c) : undefined;
  if (refusal === undefined) return isGood ? endBlock(c) : rollBack(c);
  await rollBack(c);
  c.toClient(errorFrame(refusal));
}
