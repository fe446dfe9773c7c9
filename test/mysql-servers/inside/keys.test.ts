import test from 'ava';
import type mysql from 'mysql2/promise';
import { SERVERS } from '../second-phase/world.ts';
import { startMesh, type Mesh } from './mesh.ts';

const ODD = "('0000-00-00'), ('2024-00-10'), ('2024-01-00'), ('2024-02-31'), ('2024-03-01')";
const SCHEMA = `
create table word (e varchar(20) primary key, n int) collate utf8mb4_general_ci;
insert into word values ('old', 1);
create table tiny (k tinyint primary key, n int);
insert into tiny values (127, 1), (8, 1);
create table raw (k binary(4) primary key, n int);
insert into raw values (x'02000000', 1);
set sql_mode = 'ALLOW_INVALID_DATES';
create table day (d date primary key, n int default 1);
insert into day (d) values ${ODD};
create table moment (a int default 3, d datetime(3), n int default 1, primary key (d, a));
insert into moment (d) values ${ODD}, ('2024-00-10 10:20:30.456');
create table stamp (d timestamp(3) default '0000-00-00 00:00:00' primary key, n int default 1);
insert into stamp (d) values ('0000-00-00 00:00:00'), ('2024-03-01 10:00:00.123');
set sql_mode = '';`;

const TABLES = ['word', 'tiny', 'raw', 'day', 'moment', 'stamp'];

for (const [name, start] of SERVERS) {
  for (const escalate of ['off', 'xa'] as const) {
    let mesh: Mesh;
    test.before(async () => {
      mesh = await startMesh({ start, schema: SCHEMA, database: { escalate } });
    });
    test.after.always(async () => mesh?.[Symbol.asyncDispose]());

    const dump = async (): Promise<readonly string[]> =>
      (
        await Promise.all(
          TABLES.map((table) =>
            mesh.lines(
              `select '${table}', hex(concat_ws('|', x.n, x.${KEYS[table] ?? 'd'})) from shop.${table} x order by 2`,
            ),
          ),
        )
      ).flat();

    /** How a statement ends inside a global transaction that is rolled back. */
    const tried = async (sql: string, mode: string): Promise<string> => {
      const before = await dump();
      const gid = await mesh.begin();
      const client = await mesh.client();
      await client.query(`set sql_mode = '${mode}'`);
      const outcome = await client.query(`${sql} /*atomesh_gid='${gid}'*/`).then(
        ([result]) => `${(result as mysql.ResultSetHeader).affectedRows} rows`,
        (error: unknown) => `${(error as { errno: number }).errno} ${(error as Error).message}`,
      );
      await mesh.end(gid, 'rollback');
      client.destroy();
      return String(await dump()) === String(before) ? outcome : `${outcome}, and is not undone`;
    };

    const STRICT = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE';

    test.serial(
      `${name}, escalate ${escalate}: dates that are in no calendar tell rows apart in every sql_mode`,
      async (t) => {
        for (const mode of ['', STRICT]) {
          for (const [table, count] of [
            ['day', 5],
            ['moment', 6],
            ['stamp', 2],
          ] as const) {
            t.is(await tried(`delete from ${table} where n < 9`, mode), `${count} rows`, `${table} ${mode}`);
            t.is(await tried(`update ${table} set n = n + 1 where n < 9`, mode), `${count} rows`, `${table} ${mode}`);
          }
        }
      },
    );

    /** What undo cannot capture is said so, or prepared; and trying again is never recommended. */
    const refusal = /^1235 .*(?:two rows with the same key|cannot be found by the key|changing the key)/;
    const cannot = async (sql: string, rows: number, mode = ''): Promise<string> => {
      const outcome = await tried(sql, mode);
      if (escalate === 'xa') return outcome === `${rows} rows` ? 'as it should' : outcome;
      return refusal.test(outcome) ? 'as it should' : outcome;
    };

    test.serial(
      `${name}, escalate ${escalate}: rows of one statement that meet one another are refused or prepared, not tried for ever`,
      async (t) => {
        for (const [sql, rows] of [
          ["insert into word (e, n) values ('a', 1), ('a', 2) on duplicate key update n = n + 1", 3],
          ["insert into word (e, n) values ('a', 1), ('A', 2) on duplicate key update n = n + 1", 3],
          ["insert into word (e, n) values ('old', 1), ('old', 2) on duplicate key update n = n + 1", 4],
          ["replace into word (e, n) values ('a', 1), ('A', 2)", 3],
          ['replace into tiny values (300, 5)', 2],
          ['replace into tiny values (8.4, 7)', 2],
          ["insert ignore into raw values (x'03', 5)", 1],
        ] as const) {
          t.is(await cannot(sql, rows), 'as it should', sql);
        }
      },
    );

    test.serial(
      `${name}, escalate ${escalate}: what meets nothing, or a row that is found, is captured as ever`,
      async (t) => {
        t.is(await tried("insert ignore into word values ('a', 1), ('a', 2)", ''), '1 rows');
        t.is(await tried("insert ignore into raw values (x'02', 5)", ''), '0 rows');
        t.is(await tried("insert into word values ('a', 1), ('old', 2) on duplicate key update n = 5", ''), '3 rows');
        t.is(await tried("replace into word values ('a', 1), ('old', 2)", ''), '3 rows');
        t.is(await tried("insert into day values (DATE'2025-05-05', 1) on duplicate key update n = 2", ''), '1 rows');
        t.is(await tried("replace into moment (d) values (TIMESTAMP'2025-05-05 10:00:00.123')", STRICT), '1 rows');
        t.is(await tried("insert into day values (date('2025-05-06'), 1)", STRICT), '1 rows');
      },
    );
  }
}

const KEYS: Readonly<Record<string, string>> = { word: 'e', tiny: 'k', raw: 'k' };
