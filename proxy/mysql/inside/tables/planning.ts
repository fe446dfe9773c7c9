/** Plans a statement by what is known of its tables, which is asked for where it is not known. */
import { CodedError } from '../../../../src/contract/errors.ts';
import type { ParsedStatement } from '../../parse.ts';
import { plan as planOf, type StatementPlan } from '../../plan.ts';
import type { Capture } from '../../undo/capture.ts';
import type { Refused } from '../../undo/refusal.ts';
import type { Context } from '../context.ts';
import type { FactsSource } from '../parts.ts';
import { expectViews, readBy, refuseViews } from './views.ts';

/** How often facts of tables are asked for one statement. */
const LEARNINGS_MAX = 4;

/**
 * The plan. What cannot be looked up is refused. `isMoved`: it was prepared, and another database may have been selected since.
 */
export async function planStatement(c: Context, parsed: ParsedStatement, isMoved: boolean): Promise<StatementPlan> {
  // Asked for at the same time as what is known of tables.
  const views = refuseViews(c, readBy(c, parsed, isMoved));
  // Rows that an operation changes are put back by nobody.
  const planned = await planBy(c, parsed, { facts: c.work.kind === 'operation' ? c.parts.allFacts : c.parts.facts });
  if (planned.kind === 'control') expectViews(c);
  return planned.kind === 'control' || planned.kind === 'refuse' ? planned : ((await views) ?? planned);
}

/**
 * The plan for a change that is prepared, and asks whose rows it meets (locks/asking.ts); undefined where that cannot be asked. What could not
 * be taken back even so is refused.
 */
export async function planAsking(c: Context, parsed: ParsedStatement): Promise<Capture | Refused | undefined> {
  // What is prepared is put back by the server, whatever the second phase may do.
  const planned = await planBy(c, parsed, { facts: c.parts.allFacts, asks: true });
  // What a view calls should not be called once more by a reading ahead of the change.
  if (planned.kind === 'capture' && (await refuseViews(c, readBy(c, parsed, false))) !== undefined) return undefined;
  return planned.kind === 'capture' || (planned.kind === 'refuse' && !planned.escalates) ? planned : undefined;
}

async function planBy(
  { settings, tables }: Context,
  parsed: ParsedStatement,
  { facts, asks = false }: { readonly facts: FactsSource; readonly asks?: boolean },
): Promise<StatementPlan> {
  const context = {
    database: settings.database,
    facts: (database: string, table: string) => facts.known(database, table),
    checks: settings.checks,
    isTemporary: (database: string, table: string) => tables.has(database, table),
    parameters: [],
    asks,
  };
  for (let asked = 0; asked < LEARNINGS_MAX; asked += 1) {
    const planned = planOf(parsed, context);
    if (planned.kind !== 'facts-needed') return planned;
    try {
      await facts.learn(planned.tables);
    } catch (error) {
      return unknown(error);
    }
  }
  return unknown('they are forgotten as fast as they are read');
}

/** Rows that the second phase may not put back are the server's to put back, where it can prepare. */
function unknown(error: unknown): Refused {
  const isCoded = error instanceof CodedError;
  const reason = isCoded ? error.message : String(error);
  if (isCoded && error.code === 'BAD_REQUEST') {
    const message = `a change inside a global transaction could not be undone: ${reason}`;
    return { kind: 'refuse', refusal: { code: '0A000', message, hint: error.hint ?? CHECK }, escalates: true };
  }
  const message = `the tables of this statement cannot be looked up: ${reason}`;
  const hint = `${(isCoded ? error.hint : undefined) ?? CHECK} Nothing was changed; trying again is safe.`;
  return { kind: 'refuse', refusal: { code: '58000', message, hint }, escalates: false };
}

const CHECK = 'Check credentials of this database in the sidecar configuration.';
