/** Settings of a session under which a change cannot be captured, for the server leaves out what images count on. */
import type { TableFacts } from '../catalog.ts';
import { tableName } from '../identifier.ts';
import { keyIndex } from './lock-key.ts';
import { refuse, type Refused } from './refusal.ts';
import type { Actions } from './target.ts';

export interface SessionChecks {
  /**
   * A setting under which statements of ours read other rows than the client's, or change rows that the client's own would not; undefined
   * where all are as they come. `sql_auto_is_null`: `IS NULL` finds the last number once; `sql_select_limit`: fewer rows would be read than
   * are changed; `sql_safe_updates`: keys in our condition would satisfy it.
   */
  readonly unfit: string | undefined;
  /** `foreign_key_checks`. Without it nobody locks, or even looks for, the rows that others refer to. */
  readonly foreignKeys: boolean;
  /** `unique_checks`. Without it InnoDB may take a value twice. */
  readonly uniques: boolean;
}

/** A session as it comes. */
export const USUAL_CHECKS: SessionChecks = { unfit: undefined, foreignKeys: true, uniques: true };

/** Why no change can be captured in the session; undefined where it can. `command`: as refusals name it. */
export function refuseUnfit({ unfit }: SessionChecks, command: string): Refused | undefined {
  if (unfit === undefined) return undefined;
  return refuse(`${command} while ${unfit} is set`, `SET SESSION ${unfit} = DEFAULT.`);
}

/** Why a change of this table cannot be captured in the session; undefined where it can. */
export function refuseUnchecked(
  checks: SessionChecks,
  facts: TableFacts,
  { command, inserts, assigned }: Actions,
): Refused | undefined {
  const name = tableName(facts);
  if (!checks.foreignKeys && facts.parents.length + facts.children.length > 0) {
    return refuse(
      `${command} of ${name}, which has foreign keys, while foreign_key_checks is off,`,
      'SET SESSION foreign_key_checks = 1.',
    );
  }
  const takesValues = inserts || assigned !== undefined;
  if (!checks.uniques && takesValues && facts.uniques.some((index) => index !== keyIndex(facts))) {
    return refuse(
      `${command} of ${name}, which has unique indexes, while unique_checks is off,`,
      'SET SESSION unique_checks = 1.',
    );
  }
  return undefined;
}
