/** What a statement of MySQL or MariaDB is, and where its clauses stand. */
import type { Span } from './span.ts';

/** The name of a table as it was written. Without `database` it is one of the session's. */
export interface TableName {
  readonly database: string | undefined;
  readonly table: string;
}

/** A table that a statement names in its list of tables, and what its columns are qualified with there. */
export interface TableReference extends TableName {
  readonly alias: string | undefined;
}

/** `column = value`. */
export interface Assignment {
  /** What the column was qualified with. */
  readonly table: string | undefined;
  readonly column: string;
  readonly value: Span;
}

/** An UPDATE or a DELETE. */
export interface ChangeStatement {
  readonly kind: 'update' | 'delete';
  /** The list of tables, as it could stand behind FROM. */
  readonly from: Span;
  readonly tables: readonly TableReference[];
  /** There are several tables, or derived ones: ORDER BY and LIMIT are not allowed. */
  readonly isJoined: boolean;
  /** Of UPDATE. */
  readonly assignments: readonly Assignment[];
  /** Of DELETE: what is deleted from, as named in front of FROM or USING; empty where it is the one table. */
  readonly targets: readonly TableName[];
  /** Without its first word. */
  readonly where: Span | undefined;
  /** From ORDER on, with LIMIT. */
  readonly order: Span | undefined;
  /** Where `WHERE …` would begin if there were none: behind this token. */
  readonly behind: number;
  /** IGNORE: errors become warnings. */
  readonly isIgnoring: boolean;
  /** From RETURNING on, which MariaDB's DELETE may have. */
  readonly returning: Span | undefined;
}

/** An INSERT or a REPLACE. */
export interface InsertStatement {
  readonly kind: 'insert' | 'replace';
  readonly table: TableName;
  /** The place of the first word. */
  readonly verb: number;
  /** Words between the first one and INTO or the table: LOW_PRIORITY, IGNORE, … */
  readonly modifiers: Span;
  readonly isIgnoring: boolean;
  /** As written; undefined without a list. */
  readonly columns: readonly string[] | undefined;
  /** One list of values for each row; undefined for INSERT … SELECT. */
  readonly rows: readonly (readonly Span[])[] | undefined;
  /** From ON DUPLICATE KEY UPDATE on. */
  readonly onDuplicate: { readonly span: Span; readonly assignments: readonly Assignment[] } | undefined;
  /** From RETURNING on, which MariaDB's INSERT may have. */
  readonly returning: Span | undefined;
  /** Behind the last token of the whole statement. */
  readonly to: number;
}

export type Statement =
  | ChangeStatement
  | InsertStatement
  /** Known by its first word alone, in lower case; empty where that is no word. */
  | { readonly kind: 'other'; readonly verb: string }
  /** A change whose clauses could not be told with certainty. `what` continues "a statement that …". */
  | { readonly kind: 'unclear'; readonly verb: string; readonly what: string };
