/** What a row of docs/mysql-statements.md says of a statement. */

/**
 * `captured`: with row images; `passes`: changes nothing that a rollback would have to restore; `escalates`: without images, so its local transaction
 * is prepared, or it is refused where nothing is; `refused`: by every kind of branch; `—`: the server that was run has no such statement.
 */
export type Fate = 'captured' | 'passes' | 'escalates' | 'refused' | '—';

/** A kind of statement, and an example that changes something if anything of its kind does. */
export interface Kind {
  readonly name: string;
  readonly sql: string;
  readonly mariadb: Fate;
  readonly mysql: Fate;
  /** What its session says first, without a gid. */
  readonly first: readonly string[];
  /** What goes ahead of it in its local transaction. */
  readonly ahead: readonly string[];
  /** It is sent in every way, or as text in a local transaction only. */
  readonly isTextOnly: boolean;
}

/** Kinds under one heading. */
export interface KindGroup {
  readonly heading: string;
  readonly kinds: readonly Kind[];
}

/** A kind whose fate is the same on both servers, or that of MariaDB and that of MySQL. */
export function kind(
  name: string,
  sql: string,
  fate: Fate | readonly [mariadb: Fate, mysql: Fate],
  rest: Partial<Pick<Kind, 'first' | 'ahead' | 'isTextOnly'>> = {},
): Kind {
  const [mariadb, mysql] = typeof fate === 'string' ? [fate, fate] : fate;
  return { name, sql, mariadb, mysql, first: [], ahead: [], isTextOnly: false, ...rest };
}

/** The tables of docs/mysql-statements.md. */
export function pageTables(groups: readonly KindGroup[]): string {
  return groups
    .map(({ heading, kinds }) => {
      const rows = kinds.map(({ name, mariadb, mysql }) => `| ${name} | ${mariadb} | ${mysql} |`);
      return `### ${heading}\n\n| statement | MariaDB | MySQL |\n| --- | --- | --- |\n${rows.join('\n')}\n`;
    })
    .join('\n');
}
