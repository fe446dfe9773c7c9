/** Tells by its text that a change concerns one row at most: what is written for each row then needs no gathering. */
import type { Tree } from '../../parse.ts';
import { child, children, strings, unwrap } from '../../tree.ts';

/**
 * True for INSERT of one row of values that are given, and for UPDATE and DELETE of one table whose WHERE compares every column of `key`
 * with a value. Where an operator of the user's own called `=` finds several rows all the same, each gets a record of its own.
 */
export function changesOneRow(node: Tree, key: readonly string[]): boolean {
  const source = child(child(node, 'selectStmt') ?? {}, 'SelectStmt');
  if (source !== undefined) return isOneRow(children(source, 'valuesLists'));
  if (children(node, 'fromClause').length + children(node, 'usingClause').length > 0) return false;
  const where = child(node, 'whereClause');
  if (where === undefined) return false;
  const compared = new Set(comparedColumns(where));
  return key.length > 0 && key.every((column) => compared.has(column));
}

/** A function in it could give many: `VALUES (generate_series(1, 9))`. */
function isOneRow([first, ...others]: readonly Tree[]): boolean {
  const items = children(child(first ?? {}, 'List') ?? {}, 'items');
  return others.length === 0 && items.length > 0 && items.every((item) => isValue(item) || 'SetToDefault' in item);
}

/** Columns that must equal a value: those of `column = value`, alone or joined by AND. */
function comparedColumns(condition: Tree): readonly string[] {
  const joined = child(condition, 'BoolExpr');
  if (joined !== undefined)
    return joined['boolop'] === 'AND_EXPR' ? children(joined, 'args').flatMap(comparedColumns) : [];
  const comparison = child(condition, 'A_Expr');
  if (comparison === undefined || comparison['kind'] !== 'AEXPR_OP') return [];
  if (strings(children(comparison, 'name')).at(-1) !== '=') return [];
  const sides = [child(comparison, 'lexpr'), child(comparison, 'rexpr')];
  return sides.some(isValue) ? sides.flatMap(columnOf) : [];
}

function columnOf(side: Tree | undefined): readonly string[] {
  const reference = child(side ?? {}, 'ColumnRef');
  const name = reference && strings(children(reference, 'fields')).at(-1);
  return name === undefined ? [] : [name];
}

/** A parameter or a constant, with or without a cast. */
function isValue(side: Tree | undefined): boolean {
  const inner = unwrap(side);
  if (inner?.kind === 'TypeCast') return isValue(child(inner.node, 'arg'));
  return inner?.kind === 'ParamRef' || inner?.kind === 'A_Const';
}
