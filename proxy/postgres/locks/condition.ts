/** The condition that nobody else holds the row lock of a row, and its place in the text of a client. */
import type { OwnParameter, Places } from '../../sql/statement.ts';
import type { RelationFacts, UniqueIndexFacts } from '../catalog.ts';
import { quoteName } from '../identifier.ts';
import type { ParsedStatement, Tree } from '../parse.ts';
import type { Range } from '../undo/anatomy.ts';
import { keyIndex, lockableIndexes, lockKey } from '../undo/lock-key.ts';
import type { Actions } from '../undo/target.ts';

/** What the condition takes beside the client's own parameters: whose locks are no others', and whose may be taken over. */
export const OWN_PARAMETERS: readonly OwnParameter[] = ['gid', 'committed-gids'];

/** SQL that goes into the client's text at a byte offset. Nothing of the client's is taken out. */
export interface Insertion {
  readonly at: number;
  readonly sql: string;
}

/** A table whose rows can be held. `name`: by which the statement refers to it. */
export interface HeldTable {
  /** What its row locks are filed under. */
  readonly relation: number;
  readonly facts: RelationFacts;
  readonly name: string;
}

/**
 * The table with row locks of its own that a RangeVar stands for; undefined for anything else. The rows of tables that inherit from it are
 * locked under those.
 */
export function heldTable(facts: RelationFacts | 'missing', table: Tree, name: string): HeldTable | undefined {
  if (facts === 'missing' || facts.persistence !== 'permanent' || facts.schema === 'pg_catalog') return undefined;
  if ((facts.relkind !== 'r' && facts.relkind !== 'p') || (facts.hasHeirs && table['inh'] === true)) return undefined;
  const index = keyIndex(facts);
  return index === undefined ? undefined : { relation: index.lockRelation, facts, name };
}

interface Asking {
  readonly skips: boolean;
  readonly joined?: readonly string[];
  readonly frees?: Actions;
}

/**
 * The condition for one table of a statement with so many parameters of the client's. `skips`: a row that is held is passed over, and no
 * conflict. `joined`: other tables of the statement, with which a row of this one has to be joined before it is asked about. `frees`: what
 * the statement does to the rows, whose keys may be claimed by those that gave up a reference to them.
 */
export function freeSql(
  { relation, facts, name }: HeldTable,
  clientParameters: number,
  { skips, joined = [], frees }: Asking,
): string {
  const index = keyIndex(facts);
  const key = index === undefined ? 'NULL' : lockKey(facts, index, quoteName(name)).sql;
  // The row itself says which table it is of, where that tells: the name may have come to mean another one since.
  const isOwn = facts.relkind === 'r' && relation === facts.oid;
  const oid = isOwn ? `${quoteName(name)}.tableoid` : `${relation}::pg_catalog.oid`;
  const rows = joined.map((other) => `${quoteName(other)}.*`).join(', ');
  // Never true. What refers to the other tables cannot be asked before the join.
  const skipping = joined.length === 0 ? String(skips) : `pg_catalog.num_nulls(${rows}) OPERATOR(pg_catalog.<) 0`;
  const own = `$${clientParameters + 1}::pg_catalog.text, $${clientParameters + 2}::pg_catalog.text[]`;
  const free = `atomesh.row_is_free(${oid}, ${key}, ${own}, ${skipping})`;
  const claimable = frees === undefined ? [] : freedIndexes(facts, frees);
  if (claimable.length === 0) return free;
  const keys = claimable.map((one) => lockKey(facts, one, quoteName(name)));
  const texts = keys.map(({ sql }) => `(${sql}) COLLATE pg_catalog."C"`).join(', ');
  const relations = keys.map((one) => one.relation).join();
  return `(${free} AND atomesh.keys_are_free('{${relations}}'::pg_catalog.oid[], ARRAY[${texts}], ${own}, ${skipping}))`;
}

/** The indexes to which foreign keys lead, and whose values the statement may free. */
function freedIndexes(facts: RelationFacts, { deletes, assigned }: Actions): readonly UniqueIndexFacts[] {
  return lockableIndexes(facts)
    .filter(({ lockRelation }) => facts.referred.some((one) => one.lockRelation === lockRelation))
    .filter(({ columns }) => deletes || columns.some((column) => assigned.has(column)));
}

/** Adds a condition to what stands behind WHERE, or a WHERE of its own at the offset `otherwise`. */
export function addCondition(where: Range | undefined, otherwise: number, condition: string): readonly Insertion[] {
  // Between line breaks: the client's text in front may end in a comment.
  if (where === undefined) return [{ at: otherwise, sql: `\nWHERE ${condition}\n` }];
  return [
    { at: where.start, sql: '(' },
    { at: where.end, sql: `) AND ${condition} ` },
  ];
}

/** The client's text with the insertions, which are in order, and where they are. */
export function inserted(
  { source, start, end }: ParsedStatement,
  insertions: readonly Insertion[],
): { readonly sql: string; readonly places: Places } {
  const places: Places['inserted'][number][] = [];
  let sql = '';
  let from = start;
  for (const { at, sql: ours } of insertions) {
    sql += source.slice(from, at);
    places.push({ at: charactersOf(sql), length: charactersOf(ours) });
    sql += ours;
    from = at;
  }
  return {
    sql: sql + source.slice(from, end),
    places: { ahead: charactersOf(source.slice(0, start)), inserted: places },
  };
}

/** The position, from 1 on, in the client's text; undefined for one inside an insertion. */
export function clientPosition(position: number, { ahead, inserted: places }: Places): number | undefined {
  const before = places.filter(({ at }) => at < position);
  const last = before.at(-1);
  if (last !== undefined && position <= last.at + last.length) return undefined;
  return ahead + position - before.reduce((sum, { length }) => sum + length, 0);
}

/** As a server counts them: a character outside the BMP is one. */
function charactersOf(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}
