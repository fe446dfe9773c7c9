/**
 * What an account may do to rows, read from what SHOW GRANTS answers. Pure. Sources: MySQL 8.0 reference manual, "GRANT Statement" and
 * "SHOW GRANTS Statement"; MariaDB documentation, "GRANT".
 */

/** What the second phase needs on a table: to put rows back, and to be shown its triggers, which MySQL hides without that right. */
export const ROW_RIGHTS = ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRIGGER'] as const;

/** With SELECT it shows the text of a view: what reads a view whose text is not seen is prepared or refused. */
const VIEW_RIGHT = 'SHOW VIEW';

/**
 * What it needs everywhere: on a table where an account has no right but to read, or none, neither server shows whether a foreign key of
 * it leads to another table; and of a database where it has none, they do not show that there is a view. It shows what tables there are and how
 * they are made, and lets nobody read or change a row.
 */
export const RIGHT_TO_SEE = 'REFERENCES';

/** Of one account. Roles are not looked into: what they give is taken for missing. */
export interface Rights {
  /** The row rights that are missing on a table, in the order of `ROW_RIGHTS`. */
  missingOn(database: string, table: string): readonly string[];
  /** Those that are missing on a database as a whole, or none where a table of it can be restored by rights of its own. */
  missingIn(database: string): readonly string[];
  /** True when no foreign key of the server is hidden. */
  readonly seesReferences: boolean;
}

interface Grant {
  /** Undefined stands for every database. */
  readonly database: string | undefined;
  /** Undefined stands for every table. */
  readonly table: string | undefined;
  readonly rights: ReadonlySet<string>;
  /** It takes away from what is granted on all databases (`partial_revokes` of MySQL). */
  readonly isRevoked: boolean;
}

const NAME = '`((?:[^`]|``)*)`';
const GRANT = new RegExp(
  `^(GRANT|REVOKE) (.+?) ON (?:TABLE )?(?:\\*|${NAME})\\.(?:\\*|${NAME}) (?:TO|FROM) (?:\`(?:[^\`]|\`\`)*\`|'[^']*')@`,
);
/** A right on some columns is none on the table. */
const OF_COLUMNS = /,? ?[A-Z ]+\((?:`(?:[^`]|``)*`|[^`)])*\)/g;

/** Reads the lines of SHOW GRANTS. What is not understood gives no right. `ignoresCase`: names of databases and tables are equal whatever their case is. */
export function readRights(lines: readonly string[], ignoresCase: boolean): Rights {
  const fold = (name: string): string => (ignoresCase ? name.toLowerCase() : name);
  const grants = lines.map((line) => readGrant(line, fold)).filter((grant) => grant !== undefined);
  const global = grants.filter(({ database, isRevoked }) => database === undefined && !isRevoked);
  const ofTables = grants.filter(({ table }) => table !== undefined);
  const ofDatabases = grants.filter(
    ({ database, table, isRevoked }) => database !== undefined && table === undefined && !isRevoked,
  );
  const revoked = grants.filter(({ isRevoked }) => isRevoked);

  const hasIn = (database: string, right: string): boolean => {
    if (global.some((grant) => has(grant, right)))
      return !revoked.some((grant) => has(grant, right) && matches(grant.database, database));
    // Of several names that fit, the server takes one: here all have to give the right.
    const fitting = ofDatabases.filter((grant) => matches(grant.database, database));
    return fitting.length > 0 && fitting.every((grant) => has(grant, right));
  };
  const hasOn = (database: string, table: string, right: string): boolean =>
    hasIn(database, right) ||
    ofTables.some((grant) => grant.database === database && grant.table === table && has(grant, right));
  const missing = (hasRight: (right: string) => boolean): readonly string[] =>
    ROW_RIGHTS.filter((right) => !hasRight(right));

  return {
    missingOn: (database, table) => missing((right) => hasOn(fold(database), fold(table), right)),
    missingIn(name) {
      const database = fold(name);
      const tables = ofTables.flatMap((grant) => (grant.database === database ? (grant.table ?? []) : []));
      const isSome = tables.some((table) => missing((right) => hasOn(database, table, right)).length === 0);
      return isSome ? [] : missing((right) => hasIn(database, right));
    },
    seesReferences:
      global.some((grant) => has(grant, RIGHT_TO_SEE)) && !revoked.some((grant) => has(grant, RIGHT_TO_SEE)),
  };
}

function readGrant(line: string, fold: (name: string) => string): Grant | undefined {
  const [, verb, rights = '', database, table] = GRANT.exec(line) ?? [];
  if (verb === undefined) return undefined;
  const unquoted = (name: string | undefined): string | undefined =>
    name === undefined ? undefined : fold(name.replaceAll('``', '`'));
  return {
    database: unquoted(database),
    table: unquoted(table),
    rights: new Set(rights.replace(OF_COLUMNS, '').split(/, ?/)),
    isRevoked: verb === 'REVOKE',
  };
}

function has({ rights }: Grant, right: string): boolean {
  return rights.has(right) || rights.has('ALL PRIVILEGES');
}

/** The name of a database in a grant is a pattern, in which `\` takes the meaning from `_` and `%`. */
function matches(pattern: string | undefined, database: string): boolean {
  if (pattern === undefined) return true;
  const expression = pattern.replaceAll(/\\[_%\\]|[\s\S]/g, (part) => {
    if (part === '_') return '[\\s\\S]';
    if (part === '%') return '[\\s\\S]*';
    return RegExp.escape(part.length === 2 ? part.slice(1) : part);
  });
  return new RegExp(`^${expression}$`, 'u').test(database);
}

/** GRANT statements that give `account`, in quotes, what it needs for the rows and views of these databases, and to see what all have. */
export function rowGrants(account: string, databases: readonly string[]): readonly string[] {
  return [
    ...databases.map(
      (name) => `GRANT ${[...ROW_RIGHTS, VIEW_RIGHT].join(', ')} ON ${databasePattern(name)}.* TO ${account}`,
    ),
    `GRANT ${RIGHT_TO_SEE} ON *.* TO ${account}`,
  ];
}

/** A database in a GRANT, and no other one whose name would fit as well. */
function databasePattern(name: string): string {
  return `\`${name.replaceAll(/[\\_%]/g, '\\$&').replaceAll('`', '``')}\``;
}
