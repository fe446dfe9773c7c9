/** Writes names into SQL that we build for MySQL and MariaDB. */

/** The name in backquotes, so that neither keywords nor quotes in it nor sql_mode matter. */
export function quoteName(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}

/** Database and table, both quoted. */
export function tableName({ database, table }: { readonly database: string; readonly table: string }): string {
  return `${quoteName(database)}.${quoteName(table)}`;
}
