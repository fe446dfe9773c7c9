/** The tables of a change, which are the same for all changes of its shape as long as what was known of them stands. */
import type { TableFacts } from '../catalog.ts';
import type { ChangeStatement } from '../text/statement.ts';
import type { CapturedTable } from '../undo/capture.ts';
import { USUAL_CHECKS, type SessionChecks } from '../undo/checks.ts';

/** What they follow from, beside the statement. */
interface Sources {
  readonly database: string | undefined;
  readonly checks?: SessionChecks;
  readonly facts: (database: string, table: string) => TableFacts | 'none' | undefined;
}

interface Kept {
  readonly database: string | undefined;
  readonly checks: SessionChecks;
  readonly asked: readonly { readonly database: string; readonly table: string; readonly facts: unknown }[];
  readonly tables: readonly CapturedTable[];
}

const kept = new WeakMap<ChangeStatement, Kept>();

/** Those that `read` finds, or has found before of the same. Nothing else that it answers is kept. */
export function keptTables<Other extends { readonly kind: string }>(
  statement: ChangeStatement,
  { database, checks = USUAL_CHECKS, facts }: Sources,
  read: (facts: Sources['facts']) => readonly CapturedTable[] | Other,
): readonly CapturedTable[] | Other {
  const known = kept.get(statement);
  const isSame = known !== undefined && known.database === database && isAlike(known.checks, checks);
  if (isSame && known.asked.every((each) => facts(each.database, each.table) === each.facts)) return known.tables;
  const asked: Kept['asked'][number][] = [];
  const tables = read((where, table) => {
    const found = facts(where, table);
    asked.push({ database: where, table, facts: found });
    return found;
  });
  if (!('kind' in tables)) kept.set(statement, { database, checks, asked, tables });
  return tables;
}

function isAlike(one: SessionChecks, other: SessionChecks): boolean {
  return one.unfit === other.unfit && one.foreignKeys === other.foreignKeys && one.uniques === other.uniques;
}
