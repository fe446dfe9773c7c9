/**
 * Cursors, and portals, that were opened before the local transaction was told to what it belongs. Nobody has looked at their queries, and a
 * query runs when it is fetched from: FETCH is what the query would be. One WITH HOLD runs to its end at COMMIT.
 */
import type { PlannedStatement } from '../../../sql/planner.ts';
import type { Refusal, StatementPlan } from '../../../sql/statement.ts';
import { parse } from '../../parse.ts';
import { text as textOf } from '../../tree.ts';
import { ask, isChanging, plansOf, type Conversation } from '../conversation.ts';

/**
 * Those that this local transaction has opened, except ours: name, the text that they were opened by, WITH HOLD or not. The rows of older
 * ones are there already.
 */
export const OPENED_SQL = `SELECT name, statement, is_holdable::pg_catalog.text FROM pg_catalog.pg_cursors
 WHERE creation_time OPERATOR(pg_catalog.>=) pg_catalog.now() AND name OPERATOR(pg_catalog.<>) 'atomesh_portal'`;

interface Opened {
  readonly name: string;
  readonly statement: string;
  readonly isHeld: boolean;
}

/** The plans of a text, with what its statements do to such cursors; undefined when they could not be asked for and the client has its error. */
export async function withCursors(
  c: Conversation,
  planned: readonly PlannedStatement[],
  isInPipeline: boolean,
): Promise<readonly PlannedStatement[] | undefined> {
  // Not by the block: from 17 on a pipeline without one may have opened cursors up to its Sync. A failed one is not changing.
  if (!c.state.cursorsUnknown || !isChanging(c)) return planned;
  if (!planned.some(({ plan }) => concerns(plan))) return planned;
  const rows = await ask(c, { name: 'cursors', sql: OPENED_SQL, parameters: [], isInPipeline, isAnew: true });
  if (rows === undefined) return undefined;
  const opened = rows.map(([name, statement, isHeld]) => ({
    name: name ?? '',
    statement: statement ?? '',
    isHeld: isHeld === 'true',
  }));
  if (opened.length === 0) c.state = { ...c.state, cursorsUnknown: false };
  const answered: PlannedStatement[] = [];
  for (const statement of planned) {
    const { plan } = statement;
    const running = concerns(plan) ? opened.filter((each) => runs(plan, each)) : [];
    let found: StatementPlan = plan;
    for (const each of running) {
      const inner = await planOfQuery(c, each, isInPipeline);
      if (inner === undefined) return undefined;
      if (inner.kind !== 'pass')
        found = plan.kind === 'pass' ? inner : { kind: 'refuse', refusal: heldCursor(each.name) };
    }
    answered.push(found === plan ? statement : { ...statement, plan: found });
  }
  return answered;
}

function concerns(plan: StatementPlan): boolean {
  if (plan.kind === 'pass') return plan.fetches !== undefined;
  return plan.kind === 'control' && (plan.verb === 'commit' || plan.verb === 'commit-and-chain');
}

function runs(plan: StatementPlan, { name, isHeld }: Opened): boolean {
  return plan.kind === 'pass' ? plan.fetches === name : isHeld;
}

/** What fetching from it is: as its query, but that the client's own text runs. */
async function planOfQuery(c: Conversation, opened: Opened, isInPipeline: boolean): Promise<StatementPlan | undefined> {
  const plans = await plansOf(c, queryOf(opened), isInPipeline);
  if (plans === undefined) return undefined;
  const [only] = plans;
  const plan = plans.length === 1 ? only?.plan : undefined;
  switch (plan?.kind) {
    case 'pass':
      return plan;
    case 'capture':
      if (plan.capture.recorded !== undefined)
        return { kind: 'change', isPlain: true, recorded: plan.capture.recorded, runsCode: true };
      return plan.capture.read === undefined
        ? { kind: 'refuse', refusal: changingCursor(opened.name) }
        : { kind: 'pass' };
    case 'change':
      return { kind: 'change', isPlain: plan.isPlain, runsCode: true };
    case 'refuse':
      return plan;
    default:
      return { kind: 'refuse', refusal: changingCursor(opened.name) };
  }
}

/** Its own text: several statements may have come in one, and DECLARE is one of them then. */
function queryOf({ name, statement }: Opened): string {
  const parsed = parse(statement);
  const declared =
    parsed.kind === 'parsed'
      ? parsed.statements.findLast(
          ({ kind, node }) => kind === 'DeclareCursorStmt' && textOf(node, 'portalname') === name,
        )
      : undefined;
  return declared === undefined ? statement : declared.source.slice(declared.start, declared.end);
}

function changingCursor(name: string): Refusal {
  return {
    code: '0A000',
    message: `"${name}", a cursor or portal that changes rows, was opened before the session belonged to its global transaction`,
    hint: 'Name the global transaction first: right after BEGIN, or in a comment on BEGIN.',
  };
}

function heldCursor(name: string): Refusal {
  return {
    code: '0A000',
    message: `the cursor "${name}" WITH HOLD, which was declared before the session belonged to its global transaction, may change rows at COMMIT`,
    hint: 'Close it ahead of COMMIT, or name the global transaction first: right after BEGIN, or in a comment on BEGIN.',
  };
}
