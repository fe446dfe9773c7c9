/** The tables of a seed on a real server: three times, for what runs through us, for what runs without us, and to go back to. */
import type { RowDataPacket } from 'mysql2/promise';
import { errnoOf } from './client.ts';
import type { World } from '../second-phase/world.ts';
import type { Databases } from './play.ts';
import { inDatabases, writable, type Table } from './tables.ts';

/** Through us; the first is the database that sessions have. */
export const OWN: Databases = ['shop', 'odd db'];
/** Without us. */
export const TWIN: Databases = ['shop_twin', 'odd db_twin'];
/** As it was at first. */
const KEPT: Databases = ['shop_kept', 'odd db_kept'];

/** The exact content of tables: lines by table. */
export type Dump = ReadonlyMap<string, readonly string[]>;

/** What rows are written and read under, so that all of it can be. */
const PLAIN = `SET NAMES utf8mb4; SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', time_zone = '+00:00', foreign_key_checks = 0, timestamp = 1600000000`;

/** Numbers that the server gives begin here. */
const FIRST_NUMBER = 9_007_199_254_740_100n;

/** Makes the tables anew, with their first rows, in all databases. */
export async function makeTables(world: World, tables: readonly Table[]): Promise<void> {
  const { admin } = world;
  await admin.query(PLAIN);
  for (const name of [...OWN, ...TWIN, ...KEPT].map((each) => `\`${each}\``)) {
    await admin.query(`DROP DATABASE IF EXISTS ${name}; CREATE DATABASE ${name} DEFAULT CHARACTER SET utf8mb4`);
  }
  await admin.query(`USE \`${OWN[0]}\``);
  const create = (databases: Databases): string =>
    tables
      .map(({ name, definition, afterwards }) =>
        inDatabases(
          `CREATE TABLE ${name} (${definition}) DEFAULT CHARACTER SET utf8mb4; ${afterwards ?? 'DO 0'}`,
          databases,
        ),
      )
      .join(';');
  await admin.query(create(OWN));
  await admin.query(create(TWIN));
  for (const table of tables) {
    const name = (databases: Databases): string => inDatabases(table.name, databases);
    const list = columnsOf(table);
    for (const row of table.seed) {
      // Some values no server takes, whatever is ignored.
      await admin.query(`INSERT IGNORE INTO ${name(OWN)} (${list}) VALUES (${row.join(', ')})`).catch(errnoOf);
    }
    await admin.query(`CREATE TABLE ${name(KEPT)} LIKE ${name(OWN)};
      INSERT INTO ${name(KEPT)} (${list}) SELECT ${list} FROM ${name(OWN)}; INSERT INTO ${name(TWIN)} (${list}) SELECT ${list} FROM ${name(OWN)}`);
  }
}

/** Puts every row back that is not as it was at first, and the numbers that rows are given, where these are compared. */
export async function reset(world: World, tables: readonly Table[], numbers: boolean): Promise<void> {
  const { admin } = world;
  await admin.query(PLAIN);
  const [kept, own, twin] = await checksums(world, tables, [KEPT, OWN, TWIN]);
  const statements: string[] = [];
  for (const [index, table] of tables.entries()) {
    const list = columnsOf(table);
    for (const [databases, sums] of [
      [OWN, own],
      [TWIN, twin],
    ] as const) {
      const name = inDatabases(table.name, databases);
      if (sums?.[index] !== kept?.[index]) {
        statements.push(
          `DELETE FROM ${name}`,
          `INSERT INTO ${name} (${list}) SELECT ${list} FROM ${inDatabases(table.name, KEPT)}`,
        );
      }
      if (table.isNumbered && numbers) {
        const first = table.definition.startsWith('id bigint') ? FIRST_NUMBER : 100n;
        statements.push(`ALTER TABLE ${name} AUTO_INCREMENT = ${first}`);
      }
    }
  }
  if (statements.length > 0) await admin.query(statements.join(';'));
}

function columnsOf(table: Table): string {
  return writable(table)
    .map(({ name }) => name)
    .join(', ');
}

async function checksums(
  { admin }: World,
  tables: readonly Table[],
  sides: readonly Databases[],
): Promise<readonly (readonly string[])[]> {
  const names = sides.flatMap((databases) => tables.map(({ name }) => inDatabases(name, databases)));
  const [rows] = await admin.query<RowDataPacket[]>(`CHECKSUM TABLE ${names.join(', ')} EXTENDED`);
  const sums = rows.map((row) => String(row['Checksum']));
  return sides.map((_, side) => sums.slice(side * tables.length, (side + 1) * tables.length));
}

/** Every row of every table: each value as the bytes of its text, and the server's own checksum over what is stored. */
export async function dump(world: World, tables: readonly Table[], databases: Databases): Promise<Dump> {
  await world.admin.query(PLAIN);
  const selects = tables.map(({ name, columns }) => {
    const values = columns.map((column) => `IFNULL(HEX(CAST(${column.name} AS BINARY)), 'NULL')`);
    return `SELECT CONCAT_WS(' ', ${values.join(', ')}) FROM ${inDatabases(name, databases)} ORDER BY 1`;
  });
  const [results] = await world.admin.query({ sql: selects.join(';'), rowsAsArray: true });
  const [sums = []] = await checksums(world, tables, [databases]);
  return new Map(
    tables.map(({ name }, index) => [
      name,
      [...((results as unknown as string[][][])[index]?.flat() ?? []), `checksum ${sums[index]}`],
    ]),
  );
}

const LINE_MAX = 300;

/** What differs, table by table; undefined when nothing does. */
export function difference(wanted: Dump, got: Dump): string | undefined {
  const lines = [...wanted].flatMap(([name, rows]) => {
    const others = got.get(name) ?? [];
    if (rows.join('\n') === others.join('\n')) return [];
    const only = (these: readonly string[], those: readonly string[]): string =>
      JSON.stringify(these.filter((row) => !those.includes(row)).map((row) => row.slice(0, LINE_MAX)));
    return [`${name}\n  wanted ${only(rows, others)}\n  got    ${only(others, rows)}`];
  });
  return lines.length === 0 ? undefined : lines.join('\n');
}
