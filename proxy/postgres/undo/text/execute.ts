/** EXECUTE: the statement that the client prepared decides what becomes of it. */
import type { StatementPlan } from '../../../sql/statement.ts';
import type { ParsedStatement } from '../../parse.ts';
import { children, references } from '../../tree.ts';
import { classify, type Class } from '../classify.ts';
import { argumentsOf, preparedStatement, type PreparedFacts } from './prepared.ts';
import { always, refuse, refuseAs } from '../refusal.ts';
import { isChange } from '../target.ts';

/** What an EXECUTE runs. */
export interface Executed {
  readonly name: string;
  readonly statement: ParsedStatement;
  readonly found: Class;
  /** The oids of its parameters' types. */
  readonly types: readonly number[];
}

const HINT = 'Prepare it by a text of its own, or run the statement itself.';

/** The statement of that name and its class; `execute` is the one that names it. */
export function executedStatement(execute: ParsedStatement, name: string, facts: PreparedFacts): Executed {
  const { types } = facts;
  const statement = preparedStatement(name, facts);
  // Whatever a driver has prepared can be executed, settings and control of transactions too.
  if (statement === undefined || (statement.kind !== 'SelectStmt' && !isChange(statement.kind))) {
    const plan = refuse(`EXECUTE of "${name}", whose text does not tell what it does, is not supported`, HINT);
    return { name, statement: execute, found: { kind: 'plan', plan }, types };
  }
  const found = classify(statement);
  if (found.kind !== 'change' && found.kind !== 'read') return { name, statement, found, types };
  // It has a parameter for each type, whether its text uses it or not.
  return {
    name,
    statement,
    found: { kind: found.kind, references: { ...found.references, parameters: types.length } },
    types,
  };
}

/**
 * The plan for a statement that a driver has prepared or bound: by the time that it runs, the name of an EXECUTE may stand for
 * another statement.
 */
export function planBound(plan: StatementPlan): StatementPlan {
  if (plan.kind === 'change' && plan.waits?.execute !== undefined) {
    const { waits: _, ...asItComes } = plan;
    return asItComes;
  }
  const isByName = plan.kind === 'pass' ? plan.isByName : plan.kind === 'capture' && plan.capture.execute !== undefined;
  if (isByName !== true) return plan;
  return refuse(
    'EXECUTE through the extended protocol is not supported',
    'Prepare the statement through your driver, or send EXECUTE as a simple query.',
  );
}

/** The plan for an EXECUTE by that of what it runs. */
export function planExecute(execute: ParsedStatement, { name, types }: Executed, plan: StatementPlan): StatementPlan {
  if (plan.kind === 'pass') return { kind: 'pass', isByName: true };
  if (plan.kind === 'set-gid' || plan.kind === 'control')
    return always(
      refuse(`EXECUTE of "${name}", which sets atomesh.gid, is not supported`, 'Run the statement itself.'),
    );
  if (plan.kind !== 'capture') return plan;
  if (references(execute.node).parameters > 0)
    return refuse('EXECUTE with parameters of a driver is not supported', 'Write its arguments as constants.');
  const { length } = children(execute.node, 'params');
  if (length !== types.length) {
    return refuseAs(
      '42601',
      `wrong number of parameters for prepared statement "${name}"`,
      `Expected ${types.length} parameters but got ${length}.`,
    );
  }
  return {
    kind: 'capture',
    capture: { ...plan.capture, execute: { arguments: argumentsOf(execute), types } },
  };
}
