/** Prepared statements that answer rows where the sidecar runs a text in their place: the rows are those that the server would send. */
import test from 'ava';
import type mysql from 'mysql2/promise';
import { CAPABILITY } from '../../../proxy/mysql/wire/capabilities.ts';
import { decodePrepareOk } from '../../../proxy/mysql/wire/rows.ts';
import { SERVERS } from '../second-phase/world.ts';
import { rawClient, type RawClient } from '../raw-client.ts';
import { startMesh, type Mesh } from './mesh.ts';

type Step = readonly [sql: string, values?: (string | number | null)[]];
/** MySQL cannot prepare it. */
const SHOW_WARNINGS: Step = ['show warnings', []];

/** Columns of every type whose rows have a form of their own in binary, with their least, their greatest and odd values. */
const TYPES: readonly (readonly [type: string, values: readonly string[]])[] = [
  ['tinyint', ['-128', '127']],
  ['tinyint unsigned', ['0', '255']],
  ['smallint', ['-32768', '32767']],
  ['mediumint', ['-8388608', '8388607']],
  ['mediumint unsigned', ['0', '16777215']],
  ['int(10) unsigned zerofill', ['7', '4294967295']],
  ['bigint', ['-9223372036854775808', '9223372036854775807']],
  ['bigint unsigned', ['0', '18446744073709551615']],
  [
    'double',
    [
      '0.1 + 0.2e0',
      '1.7976931348623157e308',
      '-5e-324',
      '1e0/3',
      '123456789012345680000',
      '-2.2250738585072014e-308',
      '9007199254740993e0',
      '4.35e22',
      '-0e0',
    ],
  ],
  ['decimal(65,30)', ['-0.000000000000000000000000000001', '99999999999999999999999999999999999.5']],
  ['date', ["'0000-00-00'", "'9999-12-31'", "'2024-02-29'"]],
  ['datetime(6)', ["'2024-02-29 23:59:59.000001'", "'2024-02-29 00:00:00'", "'0000-00-00'"]],
  ['timestamp(3) null', ["'2024-02-29 12:00:00.120'"]],
  ['time(6)', ["'-838:59:59'", "'838:59:58.999999'", "'00:00:00'", "'-00:00:00.000001'"]],
  ['year', ['1901', '2155', '0']],
  ['bit(11)', ["b'10100000001'"]],
  ['varchar(40) character set utf8mb4', ["''", "'ä€𝄞'"]],
  ['varbinary(40)', ["x'00ff27'"]],
  ['blob', ["repeat('x', 300)"]],
  ["enum('a','b')", ["'b'"]],
  ["set('a','b','c')", ["'a,c'"]],
  ['json', [`'{"a": [1, null]}'`]],
  ['point', ['st_geomfromtext("POINT(1 2)")']],
];
/** With it a server does not repeat the definitions of columns that it has sent when it prepared. */
const CACHED = CAPABILITY.deprecateEof | CAPABILITY.mariadbCacheMetadata | CAPABILITY.mariadbExtendedMetadata;
const ROWS = Math.max(...TYPES.map(([, values]) => values.length)) + 1;
const COLUMNS = TYPES.map(([type], index) => `c${index} ${type}${type.includes('null') ? '' : ' null'}`);
/** The last row has NULL everywhere. */
const VALUES = Array.from({ length: ROWS }, (_, row) => {
  const values = TYPES.map(([, each]) => (row === ROWS - 1 ? 'null' : (each[row] ?? each[0])));
  return `(${row}, ${values.join(', ')})`;
});
const SCHEMA = `
set sql_mode = 'ALLOW_INVALID_DATES';
create table kind (id int primary key, ${COLUMNS.join(', ')}, twice int as (id * 2));
insert into kind (id, ${TYPES.map((_, index) => `c${index}`).join(', ')}) values ${VALUES.join(', ')};
create table item (id int auto_increment primary key, name varchar(20), price float);
insert into item (name, price) values ('one', 1.5);
create table plain_item (id int auto_increment primary key, name varchar(20), d datetime(3));
insert into plain_item (name) values ('one'), ('two'), ('three');`;

for (const [name, start] of SERVERS) {
  let mesh: Mesh;
  test.before(async () => {
    mesh = await startMesh({ start, schema: SCHEMA });
  });
  test.after.always(async () => mesh?.[Symbol.asyncDispose]());

  /** Runs the same through the sidecar in a gid and on the twin, and compares what clients read. */
  const alike = test.macro(async (t, steps: readonly Step[]) => {
    const gid = await mesh.begin();
    const options = { supportBigNumbers: true, bigNumberStrings: true, dateStrings: true, rowsAsArray: true };
    const [through, plain] = [await mesh.client(options), await mesh.plain(options)];
    await plain.query('begin');
    await through.query(`begin /*atomesh_gid='${gid}'*/`);
    for (const [sql, values] of steps) {
      const run = async (connection: mysql.Connection): Promise<unknown> => {
        const [rows, fields] = await (values === undefined ? connection.query(sql) : connection.execute(sql, values));
        if (!Array.isArray(rows)) return (rows as mysql.ResultSetHeader).affectedRows;
        return [rows, fields.map(({ name: own, type }) => [own, type])];
      };
      t.deepEqual(await run(through), await run(plain), sql);
    }
    await through.query('commit');
    await plain.query('rollback');
    t.is(await mesh.end(gid, 'rollback'), 'failed');
    t.is(await mesh.leftovers(), '0 records, 0 locks');
    through.destroy();
    plain.destroy();
  });

  test.serial(`${name}: a prepared statement asks about the one before it`, alike, [
    ["update plain_item set name = 'x' where id < 3"],
    ['select row_count()', []],
    ["update plain_item set name = 'y' where id < 3"],
    ['select row_count() as n, ? as v, now() > 0 as t, null as z', ['ä']],
    ["insert into plain_item (name, d) values ('z', '2024-02-29 01:02:03.5')"],
    ['select last_insert_id() > 3 as l', []],
    ["insert ignore into plain_item (id, name) values (1, 'again')"],
    ...(name === 'MariaDB' ? [SHOW_WARNINGS] : []),
    ["update plain_item set name = 'w' where id = 2"],
    ['select row_count() as n, id, name, d from plain_item where id in (?, ?) order by id', [2, 3]],
    ["update plain_item set name = 'v' where id = 2"],
    ['select row_count() as n, id, name from plain_item where id = 2 for update', []],
    ["update plain_item set name = 'u' where id = 2"],
    ['select row_count() as n, id, name from plain_item where id = ? for update', [2]],
  ]);

  test.serial(`${name}: rows that were turned into binary form are those of the server, to the byte`, async (t) => {
    const gid = await mesh.begin();
    const open = (port: number, database: string, more = 0n): Promise<RawClient> =>
      rawClient(port, mesh.server.user, more, database);
    const run = async (client: RawClient, sql: string): Promise<readonly Buffer[]> => {
      const [answer = Buffer.alloc(0)] = await client.ask({ kind: 'stmt-prepare', text: Buffer.from(sql) });
      const prepared = decodePrepareOk(answer);
      if (prepared.kind !== 'prepare-ok') throw new Error(answer.toString('latin1'));
      const execute = { kind: 'stmt-execute', flags: 0, iterations: 1, parameters: [], sendsTypes: true } as const;
      await client.ask({ ...execute, statement: prepared.statement });
      return client.packets;
    };
    const text = async (client: RawClient, sql: string): Promise<void> => {
      const attributes = (client.capabilities & CAPABILITY.queryAttributes) === 0n ? undefined : [];
      await client.ask({ kind: 'query', attributes, text: Buffer.from(sql) });
    };
    for (const more of [0n, CAPABILITY.deprecateEof, CACHED]) {
      const [through, plain] = [await open(mesh.port, 'shop', more), await open(mesh.server.port, 'shop', more)];
      await text(through, `begin /*atomesh_gid='${gid}'*/`);
      await text(plain, 'begin');
      await text(through, 'update plain_item set name = 1 where id = 1');
      const [own, others] = [
        await run(through, 'select row_count() as n, k.* from kind k order by id'),
        await run(plain, 'select cast(00000000000000000001 as signed) as n, k.* from kind k order by id'),
      ];
      t.is(own.length - TYPES.length - ROWS, (more & CAPABILITY.deprecateEof) === 0n ? 6 : 5);
      const rows = (packets: readonly Buffer[]): readonly string[] =>
        packets.slice(-1 - ROWS, -1).map((packet) => packet.toString('hex'));
      t.deepEqual(rows(own), rows(others));
      const isCached = others.length < own.length;
      t.is(isCached, more === CACHED && name === 'MariaDB');
      if (!isCached)
        t.deepEqual(
          own.slice(2, TYPES.length + 3).map((packet) => packet.toString('latin1')),
          others.slice(2, TYPES.length + 3).map((packet) => packet.toString('latin1')),
        );
      await text(through, 'rollback');
      through.close();
      plain.close();
    }
    await mesh.end(gid, 'rollback');
  });

  test.serial(`${name}: a FLOAT, which the server prints with six digits, is not turned`, async (t) => {
    const gid = await mesh.begin();
    const client = await mesh.client();
    await client.query(`begin /*atomesh_gid='${gid}'*/`);
    await client.query("update plain_item set name = 'x' where id = 1");
    await t.throwsAsync(client.execute('select row_count() as n, price from item'), { message: /FLOAT/ });
    const [rows] = await client.execute<mysql.RowDataPacket[]>('select price from item');
    t.deepEqual(rows, [{ price: 1.5 }] as mysql.RowDataPacket[]);
    await client.query('rollback');
    await mesh.end(gid, 'rollback');
    client.destroy();
  });

  if (name !== 'MariaDB') continue;

  test.serial(`${name}: a prepared change with RETURNING is captured, and its rows are the answer`, alike, [
    ["insert into plain_item (id, name, d) values (?, ?, '2024-02-29 01:02:03.5') returning id, name, d", [50, 'ä']],
    ['insert into plain_item (name) values (?), (?) returning name, id > 0 as i', ['a', null]],
    ['delete from plain_item where id in (1, ?) returning *', [2]],
    ['delete from kind where id >= ? returning *', [0]],
    ['select row_count()', []],
    ['delete from plain_item where id = 77 returning id', []],
  ]);

  test.serial(`${name}: a prepared change with RETURNING stands alone as well, and is undone`, async (t) => {
    const before = await mesh.lines('select * from shop.kind order by id');
    const gid = await mesh.begin();
    const client = await mesh.client({ rowsAsArray: true });
    await client.query(`set @atomesh_gid = '${gid}'`);
    const [rows] = await client.execute<mysql.RowDataPacket[]>('delete from kind where id < ? returning id, c0', [2]);
    t.deepEqual(rows as unknown, [
      [0, -128],
      [1, 127],
    ]);
    t.is((await mesh.lines('select id from shop.kind')).length, ROWS - 2);
    t.is(await mesh.end(gid, 'rollback'), 'failed');
    t.deepEqual(await mesh.lines('select * from shop.kind order by id'), before);
    client.destroy();
  });

  test.serial(
    `${name}: a prepared change with RETURNING of a table with a FLOAT is refused before it runs`,
    async (t) => {
      const gid = await mesh.begin();
      const client = await mesh.client();
      await client.query(`begin /*atomesh_gid='${gid}'*/`);
      for (const sql of [
        'delete from item where id = ? returning id',
        'delete from plain_item where id = ? returning (select price from item limit 1)',
      ])
        await t.throwsAsync(client.execute(sql, [1]), { message: /FLOAT/ });
      await client.query('commit');
      t.deepEqual(await mesh.lines('select id from shop.item'), ['1']);
      await mesh.end(gid, 'rollback');
      client.destroy();
    },
  );
}
