/** What a client hears of errors and warnings, where the sidecar has said something to the server since, or in its place. */
import test from 'ava';
import mysql from 'mysql2';
import type { Connection, ResultSetHeader, RowDataPacket } from 'mysql2/promise';
import { SERVERS } from '../second-phase/world.ts';
import { startMesh, type Mesh } from './mesh.ts';

/** `bare` has no key, so that changes of it escalate. */
const SCHEMA = `
create table item (id int primary key, v int);
create table bare (id int, v int, key (id));
create table held (id int primary key, body mediumblob, code varbinary(4) unique, name varchar(20));
insert into held values (1, 'a', 'b', 'c');
insert into item values (1, 1), (2, 2);
insert into bare values (1, 1), (2, 2);
create table strict (id int primary key, v int not null);
create table stricter like strict;
create table strictest like strict;
insert into strict values (1, 1), (2, 2);
insert into strictest values (1, 1), (2, 2);`;

interface Shown {
  readonly level: string;
  readonly code: number;
  readonly message: string;
}

for (const [name, start] of SERVERS) {
  let mesh: Mesh;
  test.before(async () => {
    mesh = await startMesh({ start, schema: SCHEMA, database: { escalate: 'xa' } });
  });
  test.after.always(async () => mesh?.[Symbol.asyncDispose]());

  /** Each warning once: MariaDB has this one twice. */
  const warnings = async (client: Connection, sql = 'show warnings'): Promise<readonly string[]> => {
    const [rows] = await client.query<(RowDataPacket & Shown)[]>(sql);
    return [...new Set(rows.map((row) => JSON.stringify(row)))];
  };

  for (const table of ['item', 'bare']) {
    for (const [what, begin] of [
      ['alone', undefined],
      ['in a local transaction', 'begin'],
    ] as const) {
      for (const results of ['utf8mb4', 'latin1']) {
        test.serial(
          `${name}: a lock wait that has ended is all that is shown of a change of ${table}, ${what}, in ${results}`,
          async (t) => {
            await mesh.owner.query(
              `begin; select * from shop.${table} for update; select * from plain.${table} for update`,
            );
            const gid = await mesh.begin();
            const [through, plain] = [await mesh.client(), await mesh.plain()];
            await through.query(`set @atomesh_gid = '${gid}'`);
            const heard = await Promise.all(
              [through, plain].map(async (client) => {
                await client.query(`set innodb_lock_wait_timeout = 1, character_set_results = ${results}`);
                if (begin !== undefined) await client.query(begin);
                const error = await t.throwsAsync<Error & { errno?: number }>(
                  client.query(`update ${table} set v = 9 where id = 1`),
                );
                const shown = [error.errno, error.message, await warnings(client), await warnings(client)];
                const errors = [await warnings(client, 'show errors'), await warnings(client, 'show warnings limit 0')];
                const [[counts]] = await client.query<RowDataPacket[]>(
                  'select @@error_count > 0 as some, row_count() as n',
                );
                if (begin !== undefined) await client.query('rollback');
                return [...shown, ...errors, counts];
              }),
            );
            t.is(heard[0]?.[0], 1205);
            t.deepEqual(heard[0], heard[1]);
            await mesh.owner.query('rollback');
            await mesh.end(gid, 'rollback');
            through.destroy();
            plain.destroy();
          },
        );
      }
    }
  }

  test.serial(`${name}: bytes that a driver sends as a text are stored without a warning`, async (t) => {
    const gid = await mesh.begin();
    const [through, plain] = [await mesh.client(), await mesh.plain()];
    await through.query(`begin /*atomesh_gid='${gid}'*/`);
    await plain.query('begin');
    const bytes = (...values: number[]): unknown => mysql.TypedParameter.VAR_STRING(Buffer.from(values));
    const run = async (client: Connection, sql: string, values: unknown[]): Promise<unknown> => {
      const [{ affectedRows, warningStatus, info }] = await client.execute<ResultSetHeader>(sql, values as string[]);
      // Another sql_mode is set before it is run again.
      client.unprepare(sql);
      const shown = await warnings(client);
      const [[counted]] = await client.query<RowDataPacket[]>('select @@warning_count as n');
      return [affectedRows, warningStatus, info, shown, counted];
    };
    for (const mode of ['', 'STRICT_ALL_TABLES']) {
      for (const client of [through, plain]) await client.query(`set sql_mode = '${mode}'`);
      for (const [sql, ...values] of [
        ['update held set body = ? where id = 1', bytes(0xff, 0xfe, 0x28)],
        ['update held set body = ?, code = ? where id = 1', bytes(0xff, 0xfe), bytes(0xe4, 0, 1)],
        ['delete from held where code = ?', bytes(0xe4, 0, 1)],
        ['insert into held values (1, ?, ?, ?), (9, ?, null, ?)', bytes(0xc3), bytes(0xff), 'é', bytes(0xc3), 'é'],
        ['insert ignore into held values (1, ?, ?, ?)', bytes(0xc3), bytes(0xff), 'é'],
        ["insert into held values (?, 'x', ?, 'y') on duplicate key update body = ?", 9, bytes(0xfe), bytes(0xfe)],
        ['delete from held where id > ?', 8],
      ] as const) {
        t.deepEqual(await run(through, sql, values), await run(plain, sql, values), `${mode} ${sql}`);
      }
    }
    // Those that it has without a sidecar stay.
    for (const client of [through, plain]) await client.query("set sql_mode = ''");
    const sql = 'update held set name = ?, body = ? where id = 1';
    const heard = await run(through, sql, ['x'.repeat(50), bytes(0xff)]);
    t.like(heard, { 1: 1 });
    t.deepEqual(heard, await run(plain, sql, ['x'.repeat(50), bytes(0xff)]));
    await through.query('rollback');
    await plain.query('rollback');
    await mesh.end(gid, 'rollback');
    through.destroy();
    plain.destroy();
  });

  test.serial(`${name}: a column that has come to take NULL a moment ago is captured as it is now`, async (t) => {
    const gid = await mesh.begin();
    for (const [table, sql, changed] of [
      ['strict', 'update strict set v = 5 where id = 2', 1],
      ['stricter', 'insert into stricter values (3, null)', 1],
      ['strictest', 'insert into strictest values (2, 7), (4, null) on duplicate key update v = 7', 3],
    ] as const) {
      const client = await mesh.client();
      await client.query(`set @atomesh_gid = '${gid}'`);
      // What is known of the table now is known for a second.
      await client.query(`update ${table} set v = 9 where id = 77`);
      await mesh.owner.query(`use shop; alter table ${table} modify v int; update ${table} set v = null where id = 2`);
      const [{ affectedRows }] = await client.query<ResultSetHeader>(sql);
      t.is(affectedRows, changed, sql);
      client.destroy();
    }
    t.is(await mesh.end(gid, 'rollback'), 'failed');
    t.deepEqual(
      await mesh.lines(
        'select * from shop.strict union all select * from shop.stricter union all select * from shop.strictest',
      ),
      ['1 1', '2 null', '1 1', '2 null'],
    );
  });

  test.serial(`${name}: a row that is longer than its image may be is refused`, async (t) => {
    const gid = await mesh.begin();
    await mesh.owner.query(
      "use shop; insert into held values (7, repeat('x', 600000), null, 'as it was'); set @packet = @@global.max_allowed_packet; set global max_allowed_packet = 1048576",
    );
    const client = await mesh.client();
    await mesh.owner.query('set global max_allowed_packet = @packet');
    await client.query(`set @atomesh_gid = '${gid}'`);
    for (const begin of ['do 1', 'begin']) {
      await client.query(begin);
      await t.throwsAsync(client.query("update held set name = 'z' where id = 7"), {
        message: /a row of `shop`.`held` that is longer than max_allowed_packet allows/,
      });
    }
    client.destroy();
    t.is(await mesh.end(gid, 'rollback'), 'failed');
    t.deepEqual(await mesh.lines('select name from shop.held where id = 7'), ['as it was']);
  });
}
