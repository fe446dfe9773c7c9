/** Plans a statement by what is known of its tables, which is asked for where it is not known. */
import { CodedError } from '../../../../src/contract/errors.ts';
import type { ParsedStatement } from '../../parse.ts';
import { plan as planOf, type StatementPlan } from '../../plan.ts';
import type { Refused } from '../../undo/refusal.ts';
import type { Context } from '../context.ts';

/** How often facts of tables are asked for one statement. */
const LEARNINGS_MAX = 4;

/** The plan. What cannot be looked up is refused. */
export async function planStatement(
  { settings, tables, parts, work }: Context,
  parsed: ParsedStatement,
): Promise<StatementPlan> {
  // Rows that an operation changes are put back by nobody.
  const facts = work.kind === 'operation' ? parts.allFacts : parts.facts;
  const context = {
    database: settings.database,
    facts: (database: string, table: string) => facts.known(database, table),
    checks: settings.checks,
    isTemporary: (database: string, table: string) => tables.has(database, table),
    parameters: [],
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
