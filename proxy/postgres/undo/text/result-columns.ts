/** Names that the server gives to the columns of a RETURNING list. Source: FigureColname in src/backend/parser/parse_target.c. */
import type { Tree } from '../../parse.ts';
import { child, children, strings, text, unwrap } from '../../tree.ts';
import type { Source } from './sources.ts';

/** What the names depend on beside the list itself. */
export interface NameContext {
  /** Columns of the target table, in order. */
  readonly columns: readonly string[];
  /** The tables that a bare star stands for, in its order; undefined when only the server can tell. */
  readonly tables: readonly Source[] | undefined;
  /** Further names of the target's rows: OLD and NEW and the client's names for them. */
  readonly rowNames: readonly string[];
  readonly serverMajor: number;
}

const UNNAMED = '?column?';

/** One name per column of the list, stars expanded; undefined when a name cannot be told without asking the server. */
export function resultColumnNames(list: readonly Tree[], context: NameContext): readonly string[] | undefined {
  const names: string[] = [];
  for (const item of list) {
    const target = child(item, 'ResTarget');
    if (target === undefined) return undefined;
    const given = text(target, 'name');
    const value = child(target, 'val');
    if (given !== undefined) {
      names.push(given);
      continue;
    }
    const star = starOf(value);
    if (star !== undefined) {
      const columns = starColumns(star.at(-1), context);
      if (columns === undefined) return undefined;
      names.push(...columns);
      continue;
    }
    const figured = figure(value, context.serverMajor);
    if (figured === undefined) return undefined;
    names.push(figured.name ?? UNNAMED);
  }
  return names;
}

function starColumns(
  relation: string | undefined,
  { columns, tables, rowNames }: NameContext,
): readonly string[] | undefined {
  const named = tables?.filter(({ name }) => relation === undefined || name === relation) ?? [];
  // A table of the statement called so is meant before the row.
  if (named.length === 0) return relation !== undefined && rowNames.includes(relation) ? columns : undefined;
  return named.every((table) => table.columns !== undefined)
    ? named.flatMap((table) => table.columns ?? [])
    : undefined;
}

/** The qualifiers before the star (none for a bare one); undefined when the node is no star. */
export function starOf(node: Tree | undefined): readonly string[] | undefined {
  const inner = unwrap(node);
  if (inner?.kind === 'A_Indirection' && children(inner.node, 'indirection').some((part) => 'A_Star' in part))
    return ['?'];
  if (inner?.kind !== 'ColumnRef') return undefined;
  const fields = children(inner.node, 'fields');
  return fields.some((field) => 'A_Star' in field) ? strings(fields) : undefined;
}

/** `strength` as in the server: 0 nothing known, 1 second-best (a type's name), 2 good. */
interface Figured {
  readonly name: string | undefined;
  readonly strength: 0 | 1 | 2;
}

const NOTHING: Figured = { name: undefined, strength: 0 };
const good = (name: string): Figured => ({ name, strength: 2 });

const FIXED: Readonly<Record<string, string>> = {
  A_ArrayExpr: 'array',
  RowExpr: 'row',
  CoalesceExpr: 'coalesce',
  GroupingFunc: 'grouping',
  MergeSupportFunc: 'merge_action',
  XmlSerialize: 'xmlserialize',
  JsonParseExpr: 'json',
  JsonScalarExpr: 'json_scalar',
  JsonSerializeExpr: 'json_serialize',
  JsonObjectConstructor: 'json_object',
  JsonArrayConstructor: 'json_array',
  JsonArrayQueryConstructor: 'json_array',
  JsonObjectAgg: 'json_objectagg',
  JsonArrayAgg: 'json_arrayagg',
};

const UNNAMED_KINDS: ReadonlySet<string> = new Set([
  'A_Const',
  'ParamRef',
  'BoolExpr',
  'NullTest',
  'BooleanTest',
  'JsonIsPredicate',
  'SetToDefault',
]);

function figure(node: Tree | undefined, serverMajor: number): Figured | undefined {
  const inner = unwrap(node);
  if (inner === undefined) return NOTHING;
  const fixed = FIXED[inner.kind];
  if (fixed !== undefined) return good(fixed);
  // Before 15 the grammar made TRUE and FALSE a cast to bool.
  if (inner.kind === 'A_Const' && serverMajor < 15 && 'boolval' in inner.node) return { name: 'bool', strength: 1 };
  if (UNNAMED_KINDS.has(inner.kind)) return NOTHING;
  switch (inner.kind) {
    case 'ColumnRef':
      return lastName(strings(children(inner.node, 'fields')));
    case 'FuncCall':
      return lastName(strings(children(inner.node, 'funcname')));
    case 'A_Indirection': {
      const last = strings(children(inner.node, 'indirection')).at(-1);
      return last === undefined ? figure(child(inner.node, 'arg'), serverMajor) : good(last);
    }
    case 'A_Expr':
      return text(inner.node, 'kind') === 'AEXPR_NULLIF' ? good('nullif') : NOTHING;
    case 'CollateClause':
      return figure(child(inner.node, 'arg'), serverMajor);
    case 'TypeCast':
      return weakly(figure(child(inner.node, 'arg'), serverMajor), typeName(inner.node));
    case 'CaseExpr':
      return weakly(figure(child(inner.node, 'defresult'), serverMajor), 'case');
    case 'MinMaxExpr':
      return good(text(inner.node, 'op') === 'IS_LEAST' ? 'least' : 'greatest');
    case 'SQLValueFunction':
      return valueFunction(text(inner.node, 'op') ?? '');
    case 'XmlExpr':
      return xmlName(text(inner.node, 'op') ?? '');
    case 'JsonFuncExpr':
      return good((text(inner.node, 'op') ?? '').replace(/_OP$/, '').toLowerCase());
    case 'SubLink':
      return subLink(inner.node, serverMajor);
    default:
      return undefined;
  }
}

function lastName(names: readonly string[]): Figured {
  const last = names.at(-1);
  return last === undefined ? NOTHING : good(last);
}

/** The name that was found when it is a good one, else the second-best. */
function weakly(found: Figured | undefined, otherwise: string | undefined): Figured | undefined {
  if (found === undefined || found.strength > 1 || otherwise === undefined) return found;
  return { name: otherwise, strength: 1 };
}

function typeName(cast: Tree): string | undefined {
  const type = child(cast, 'typeName');
  return type === undefined ? undefined : strings(children(type, 'names')).at(-1);
}

function valueFunction(operation: string): Figured {
  return good(
    operation
      .replace(/^SVFOP_/, '')
      .replace(/_N$/, '')
      .toLowerCase(),
  );
}

function xmlName(operation: string): Figured {
  return operation === 'IS_DOCUMENT' ? NOTHING : good(operation.replace(/^IS_/, '').toLowerCase());
}

function subLink(node: Tree, serverMajor: number): Figured | undefined {
  const kind = text(node, 'subLinkType');
  if (kind === 'EXISTS_SUBLINK') return good('exists');
  if (kind === 'ARRAY_SUBLINK') return good('array');
  if (kind !== 'EXPR_SUBLINK') return NOTHING;
  // The subquery is analysed before the name is figured out, so its column has a name already.
  let select = child(child(node, 'subselect') ?? {}, 'SelectStmt');
  for (let left = select && child(select, 'larg'); left !== undefined; left = child(left, 'larg')) select = left;
  if (select === undefined) return undefined;
  if (children(select, 'valuesLists').length > 0) return good('column1');
  const first = child(children(select, 'targetList')[0] ?? {}, 'ResTarget');
  if (first === undefined || starOf(child(first, 'val')) !== undefined) return undefined;
  const given = text(first, 'name');
  if (given !== undefined) return good(given);
  const figured = figure(child(first, 'val'), serverMajor);
  return figured === undefined ? undefined : good(figured.name ?? UNNAMED);
}
