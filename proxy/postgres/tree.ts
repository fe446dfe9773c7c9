/** Reads the parse tree: its fields by type, and what a statement refers to. */
import type { Tree } from './parse.ts';

/** A name as written: with a schema, or to be found along the search path. */
export interface QualifiedName {
  readonly schema: string | undefined;
  readonly name: string;
}

/** A name that may call functions. `isAttribute`: it stands behind a dot, like a column. */
export interface CalledName extends QualifiedName {
  readonly isAttribute?: true;
}

/** What a statement refers to, at any depth. */
export interface References {
  /** Relations that are read or written; names of common table expressions are left out where they are in scope. */
  readonly relations: readonly QualifiedName[];
  /** Functions, and what may call some without a call: operators, types that values are cast to, and what looks like a column. */
  readonly functions: readonly CalledName[];
  /** Kinds of the statements below the top that change rows or make a table: `InsertStmt`, `SELECT INTO`, … */
  readonly nestedWrites: readonly string[];
  /** The highest `$n`. */
  readonly parameters: number;
  /** Calls of set_config, whose first argument decides what they do. */
  readonly settings: readonly Tree[];
  /** Names of common table expressions, wherever they stand. */
  readonly tableExpressions: readonly string[];
}

/** The field as a node, or undefined. */
export function child(node: Tree, field: string): Tree | undefined {
  const value = node[field];
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Tree) : undefined;
}

/** The field as a list of nodes; empty when absent. */
export function children(node: Tree, field: string): readonly Tree[] {
  const value = node[field];
  return Array.isArray(value) ? (value as readonly Tree[]) : [];
}

/** The field as a text; undefined when absent. */
export function text(node: Tree, field: string): string | undefined {
  const value = node[field];
  return typeof value === 'string' ? value : undefined;
}

/** The field as a number; undefined when absent (the tree leaves zero out). */
export function integer(node: Tree, field: string): number | undefined {
  const value = node[field];
  return typeof value === 'number' ? value : undefined;
}

/** The kind and content of a wrapped node (`{ FuncCall: { … } }`). */
export function unwrap(node: Tree | undefined): { readonly kind: string; readonly node: Tree } | undefined {
  if (node === undefined) return undefined;
  const entries = Object.entries(node);
  const [entry] = entries;
  if (entries.length !== 1 || entry === undefined) return undefined;
  const inner = child(node, entry[0]);
  return inner === undefined ? undefined : { kind: entry[0], node: inner };
}

/** The contents of those nodes of a list that are of the kind. */
export function ofKind(nodes: readonly Tree[], kind: string): readonly Tree[] {
  return nodes.map((node) => child(node, kind)).filter((node) => node !== undefined);
}

/** The texts of a list of String nodes; other nodes are left out. */
export function strings(nodes: readonly Tree[]): readonly string[] {
  return ofKind(nodes, 'String').map((node) => text(node, 'sval') ?? '');
}

/** The text of a string constant, else undefined. */
export function stringConstant(node: Tree | undefined): string | undefined {
  const inner = unwrap(node);
  if (inner?.kind !== 'A_Const') return undefined;
  const value = child(inner.node, 'sval');
  return value === undefined ? undefined : (text(value, 'sval') ?? '');
}

/** The last part of a possibly qualified name, and the schema before it. */
export function qualifiedName(parts: readonly string[]): QualifiedName {
  return { schema: parts.length > 1 ? parts.at(-2) : undefined, name: parts.at(-1) ?? '' };
}

/** The name of a RangeVar. */
export function relationName(range: Tree): QualifiedName {
  return { schema: text(range, 'schemaname'), name: text(range, 'relname') ?? '' };
}

const WRITES: ReadonlySet<string> = new Set(['InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt']);

/** Everything that the statement refers to. `root` is the content of the top node. */
export function references(root: Tree): References {
  const collector = new Collector();
  collector.visitStatement(root, new Set());
  return collector;
}

class Collector implements References {
  readonly relations: QualifiedName[] = [];
  readonly functions: CalledName[] = [];
  readonly nestedWrites: string[] = [];
  readonly settings: Tree[] = [];
  readonly tableExpressions: string[] = [];
  parameters = 0;
  readonly #called = new Set<string>();

  /** A node that may carry a WITH clause: its names are in scope for it and all below it. */
  visitStatement(node: Tree, scope: ReadonlySet<string>): void {
    const clause = child(node, 'withClause');
    let names = scope;
    if (clause !== undefined) {
      const tables = ofKind(children(clause, 'ctes'), 'CommonTableExpr');
      const all = tables.map((table) => text(table, 'ctename') ?? '');
      this.tableExpressions.push(...all);
      if (clause['recursive'] === true) names = new Set([...scope, ...all]);
      for (const [index, table] of tables.entries()) {
        this.#visitFields(table, names);
        names = new Set([...names, all[index] ?? '']);
      }
    }
    this.#visitFields(node, names, 'withClause');
  }

  #visitFields(node: Tree, scope: ReadonlySet<string>, except?: string): void {
    for (const [field, value] of Object.entries(node)) {
      if (field === except || typeof value !== 'object' || value === null) continue;
      for (const item of Array.isArray(value) ? value : [value]) {
        if (typeof item === 'object' && item !== null) this.#visit(field, item as Tree, scope);
      }
    }
  }

  #visit(field: string, value: Tree, scope: ReadonlySet<string>): void {
    // Fields with a fixed type carry the bare node; the others wrap it as { Kind: node }.
    const inner = unwrap(value);
    const wrapped = inner !== undefined && /^[A-Z]/.test(inner.kind) ? inner : undefined;
    const node = wrapped?.node ?? value;
    const kind = wrapped?.kind ?? (field === 'relation' && 'relname' in value ? 'RangeVar' : '');
    this.#note(kind, node, scope);
    for (const name of calledBy(kind === '' && field === 'typeName' ? 'TypeName' : kind, node)) this.#call(name);
    this.visitStatement(node, scope);
  }

  /** Once each: a long list of rows has the same few names in every row. */
  #call(name: CalledName): void {
    const key = JSON.stringify([name.schema, name.name, name.isAttribute]);
    if (this.#called.has(key)) return;
    this.#called.add(key);
    this.functions.push(name);
  }

  #note(kind: string, node: Tree, scope: ReadonlySet<string>): void {
    if (WRITES.has(kind)) this.nestedWrites.push(kind);
    if (kind === 'RangeVar') {
      const name = relationName(node);
      if (name.schema !== undefined || !scope.has(name.name)) this.relations.push(name);
    }
    if (kind === 'FuncCall' && strings(children(node, 'funcname')).at(-1) === 'set_config') this.settings.push(node);
    if (kind === 'ParamRef') this.parameters = Math.max(this.parameters, integer(node, 'number') ?? 0);
    if (child(node, 'intoClause') !== undefined) this.nestedWrites.push('SELECT INTO');
  }
}

const EQUALS: CalledName = { schema: undefined, name: '=' };
const BETWEEN: readonly CalledName[] = ['<=', '>=', '<', '>'].map((name) => ({ schema: undefined, name }));

/** The names by which a node calls functions. Source: PostgreSQL, src/backend/parser/gram.y and parse_expr.c. */
function calledBy(kind: string, node: Tree): readonly CalledName[] {
  const named = (field: string): readonly CalledName[] => {
    const parts = strings(children(node, field));
    return parts.length === 0 ? [] : [qualifiedName(parts)];
  };
  switch (kind) {
    case 'FuncCall':
      return named('funcname');
    case 'A_Expr':
      return (text(node, 'kind') ?? '').includes('BETWEEN') ? BETWEEN : named('name');
    case 'SubLink':
      // IN has no name, and its operator is that of equality; EXISTS has no operand either.
      return child(node, 'testexpr') === undefined
        ? []
        : named('operName').concat(children(node, 'operName').length > 0 ? [] : EQUALS);
    case 'SortBy':
      return named('useOp');
    case 'CaseExpr':
      return child(node, 'arg') === undefined ? [] : [EQUALS];
    case 'JoinExpr':
      return node['isNatural'] === true || children(node, 'usingClause').length > 0 ? [EQUALS] : [];
    case 'TypeName':
      return named('names');
    case 'ColumnRef':
      return attribute(children(node, 'fields'), 1);
    case 'A_Indirection':
      return attribute(children(node, 'indirection'), 0);
    default:
      return [];
  }
}

/** What may be a function of the row in front of the dot. `from`: the first part with something in front of it. */
function attribute(fields: readonly Tree[], from: number): readonly CalledName[] {
  return strings(fields.slice(from)).map((name) => ({ schema: undefined, name, isAttribute: true }));
}
