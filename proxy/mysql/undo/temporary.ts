/** Whether a name is that of a temporary table, which hides a table of the same name from its own session and from no other. */
import { tableName } from '../identifier.ts';
import { ours, type Step } from './capture.ts';

/**
 * Asks the session what a name means to it. Facts are read over other connections, which are shown the table that is hidden: a change of
 * the temporary one would be captured by its columns, and taken back in it. Neither `information_schema` nor any function tells the
 * session of its own temporary tables (MariaDB does from 11.2 on), and a statement works on both kinds alike; only SHOW CREATE TABLE
 * says which it is, in less time than it takes to read a row. To be asked over the client's connection for each table of a plan, once in a local transaction: inside a global one
 * no temporary table can be made but by a statement that runs as it came, behind which it has to be asked anew.
 */
export function whichTable(table: { readonly database: string; readonly table: string }): Step {
  return { sql: ours(`SHOW CREATE TABLE ${tableName(table)}`), parameters: [] };
}

/** True when the answer is about a temporary table: source sql/sql_show.cc, store_create_info (MySQL and MariaDB). */
export function isTemporary(rows: readonly (readonly (string | null)[])[]): boolean {
  // With character_set_results = utf16 there are zeros between the letters.
  const beginnings = rows.map(([, definition]) => (definition ?? '').slice(0, 100).replaceAll('\0', ''));
  return beginnings.some((beginning) => beginning.startsWith('CREATE TEMPORARY TABLE '));
}
