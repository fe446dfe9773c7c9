/** Finds in a text of SQL what the server looks up along the search path: whoever sets the path decides what is found. */
import { parse, type Tree } from '../../../proxy/postgres/parse.ts';
import { child, children, strings, text, unwrap } from '../../../proxy/postgres/tree.ts';

/** What there is of it, in words; empty when everything says where it comes from. Parameters and columns have no schema. */
export function unqualifiedIn(sql: string): readonly string[] {
  const parsed = parse(sql);
  if (parsed.kind !== 'parsed') throw new Error(`not a text of SQL: ${sql}`);
  const found: string[] = [];
  for (const { node } of parsed.statements) visit(node, '', namesIn(node), found);
  return found;
}

/** Names of common table expressions, wherever they stand. */
function namesIn(value: unknown): readonly string[] {
  if (typeof value !== 'object' || value === null) return [];
  const name = text(value as Tree, 'ctename');
  return [...(name === undefined ? [] : [name]), ...Object.values(value).flatMap(namesIn)];
}

function visit(value: unknown, field: string, expressions: readonly string[], found: string[]): void {
  if (typeof value !== 'object' || value === null) return;
  if (Array.isArray(value)) {
    for (const item of value) visit(item, field, expressions, found);
    return;
  }
  const inner = unwrap(value as Tree);
  const isWrapped = inner !== undefined && /^[A-Z]/.test(inner.kind);
  const node = isWrapped ? inner.node : (value as Tree);
  const trouble = troubleOf(isWrapped ? inner.kind : (BARE[field] ?? ''), node, expressions);
  if (trouble !== undefined) found.push(trouble);
  // FOR UPDATE OF has names of the query's own.
  for (const [name, each] of Object.entries(node)) if (name !== 'lockedRels') visit(each, name, expressions, found);
}

/** Fields whose nodes stand there without their kind. */
const BARE: Readonly<Record<string, string>> = { relation: 'RangeVar', typeName: 'TypeName' };

function troubleOf(kind: string, node: Tree, expressions: readonly string[]): string | undefined {
  const lone = (list: string): string | undefined => {
    const names = strings(children(node, list));
    return names.length === 1 ? names[0] : undefined;
  };
  const name = text(node, 'relname') ?? '';
  switch (kind) {
    case 'A_Expr': {
      const operator = lone('name');
      return operator === undefined ? undefined : `the operator ${operator} (${text(node, 'kind')})`;
    }
    case 'SubLink':
      // Without an operator it is IN.
      return child(node, 'testexpr') !== undefined && children(node, 'operName').length < 2
        ? 'a comparison with a subquery'
        : undefined;
    case 'CaseExpr':
      return child(node, 'arg') === undefined ? undefined : 'CASE of a value';
    case 'FuncCall':
      return lone('funcname') === undefined ? undefined : `the function ${lone('funcname')}`;
    case 'TypeName':
      return lone('names') === undefined ? undefined : `the type ${lone('names')}`;
    case 'CollateClause':
      return lone('collname') === undefined ? undefined : `the collation ${lone('collname')}`;
    case 'JoinExpr':
      return node['isNatural'] === true || children(node, 'usingClause').length > 0 ? 'a join by name' : undefined;
    case 'SortBy':
      return lone('useOp') === undefined ? undefined : `the operator ${lone('useOp')}`;
    case 'RangeVar':
      return text(node, 'schemaname') === undefined && !expressions.includes(name) ? `the table ${name}` : undefined;
    default:
      return undefined;
  }
}
