/** The other tables of a change: those of FROM and USING, and the source of MERGE; their names, and the columns that a star gives. */
import type { RelationFacts } from '../../catalog.ts';
import type { Tree } from '../../parse.ts';
import { child, children, relationName, strings, text, unwrap, type QualifiedName } from '../../tree.ts';

/** One of them. `columns` is undefined where only the server can tell. */
export interface Source {
  readonly name: string;
  readonly columns: readonly string[] | undefined;
}

/** What the catalogue says of a relation; undefined for the name of a common table expression. */
export type FactsOf = (name: QualifiedName) => RelationFacts | undefined;

/** All sources in the order of a bare star; undefined when a join merges columns, or hides the names of its tables. */
export function sourcesOf(items: readonly Tree[], factsOf: FactsOf): readonly Source[] | undefined {
  const sources: Source[] = [];
  for (const item of items) {
    const found = sourcesOfItem(item, factsOf);
    if (found === undefined) return undefined;
    sources.push(...found);
  }
  return sources;
}

function sourcesOfItem(item: Tree, factsOf: FactsOf): readonly Source[] | undefined {
  const inner = unwrap(item);
  if (inner === undefined) return undefined;
  const { kind, node } = inner;
  if (kind === 'JoinExpr') {
    const isPlain =
      node['isNatural'] !== true && children(node, 'usingClause').length === 0 && child(node, 'alias') === undefined;
    const sides = [child(node, 'larg'), child(node, 'rarg')].filter((side) => side !== undefined);
    return isPlain ? sourcesOf(sides, factsOf) : undefined;
  }
  const alias = child(node, 'alias') ?? {};
  const given = text(alias, 'aliasname') ?? text(node, 'relname');
  // A subquery need not have a name since PostgreSQL 16.
  if (given === undefined) return undefined;
  if (kind !== 'RangeVar') return [{ name: given, columns: undefined }];
  const renamed = strings(children(alias, 'colnames'));
  const columns = factsOf(relationName(node))?.columns.map((column) => column.name);
  return [{ name: given, columns: columns?.map((name, index) => renamed[index] ?? name) }];
}

/** All names that these items give to their tables, joined ones among them. */
export function namesWithin(items: readonly Tree[]): readonly string[] {
  return items.flatMap((item) => {
    const { kind, node } = unwrap(item) ?? { kind: '', node: {} };
    const name =
      text(child(node, 'alias') ?? {}, 'aliasname') ?? (kind === 'RangeVar' ? text(node, 'relname') : undefined);
    const sides = [child(node, 'larg'), child(node, 'rarg')].filter((side) => side !== undefined);
    return [...(name === undefined ? [] : [name]), ...(kind === 'JoinExpr' ? namesWithin(sides) : [])];
  });
}
