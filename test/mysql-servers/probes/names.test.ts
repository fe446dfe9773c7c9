/** What a name means: that of a function, and that of a table. */
import test from 'ava';
import type mysql from 'mysql2/promise';
import { parse } from '../../../proxy/mysql/parse.ts';
import { callsUnknown } from '../../../proxy/mysql/text/functions.ts';
import { until } from '../../../examples/support/until.ts';
import { SERVERS } from '../second-phase/world.ts';
import { startMesh, type Mesh } from '../inside/mesh.ts';

const SCHEMA = `
create table item (id int primary key, v int);
insert into item values (1, 0), (2, 0);
create table called (id int primary key, n int);
insert into called values (1, 0);`;

/** Functions of one server that are none of the other's, or of another version, and those that a blank makes a plain name. */
const SUSPECTS =
  `lateral member minus of against array cube rollup any_value bin_to_uuid can_access_table format_bytes geomcollection
  grouping gtid_subset icu_version srid is_uuid json_array_intersect json_key_value json_schema_valid json_storage_free json_table kdf mbrcoveredby
  ps_thread_id regexp_like st_collect st_geohash st_isvalid st_latitude st_simplify st_transform statement_digest to_date to_number trunc
  uuid_to_bin uuid_v4 intersect returning within add_months chr column_add crc32c decode decode_oracle des_encrypt encode encrypt json_compact
  json_detailed json_exists json_loose json_normalize json_overlaps json_query json_value lastval lengthb master_gtid_wait mbrequal median
  natural_sort_key nextval nvl nvl2 old_password percentile_cont rownum sformat st_boundary st_isring st_relate sys_guid to_char
  random_bytes abs bit_and cast concat count curdate date_add extract first_value group_concat if json_arrayagg lag left max mid min now
  nth_value position rank replace session_user std stddev subdate substr substring sum sysdate system_user trim variance`.split(
    /\s+/,
  );

for (const [name, start] of SERVERS) {
  let mesh: Mesh;
  const value = async (table: string): Promise<string | undefined> =>
    (await mesh.lines(`select v from ${table}.item where id = 1`))[0];

  test.before(async () => {
    mesh = await startMesh({ start, schema: SCHEMA, database: { escalate: 'xa' } });
    await mesh.owner.query('set global log_bin_trust_function_creators = 1');
  });
  test.after.always(async () => mesh?.[Symbol.asyncDispose]());

  test.serial(
    `${name}: what is taken for a function of the server's own never calls one that is stored under its name`,
    async (t) => {
      const own = await mesh.plain({ flags: ['-IGNORE_SPACE'] });
      for (const suspect of SUSPECTS)
        await own.query(
          `create function \`${suspect}\`(a int) returns int modifies sql data begin update called set n = n + 1; return a; end`,
        );
      const [[version]] = await own.query<mysql.RowDataPacket[]>('select @@version as v');
      const [, major, minor, patch] = /^(\d+)\.(\d+)\.(\d+)/.exec(String(version?.['v'])) ?? [];
      const server = {
        isMariadb: name === 'MariaDB',
        version: (Number(major) * 100 + Number(minor)) * 100 + Number(patch),
        ignoresSpace: false,
      };
      const wrong: string[] = [];
      let known = 0;
      for (const call of SUSPECTS.flatMap((suspect) => [`${suspect}(1)`, `${suspect} (1)`])) {
        const parsed = parse(`select ${call}`, {
          charset: 'utf8',
          noBackslashEscapes: false,
          ansiQuotes: false,
          server,
        });
        const [one] = parsed.kind === 'parsed' ? parsed.statements : [];
        if (one === undefined || callsUnknown(one.source, one.span) !== undefined) continue;
        known += 1;
        await own.query(`select ${call}`).catch(() => undefined);
        const [[row]] = await own.query<mysql.RowDataPacket[]>('select n from called');
        if (row?.['n'] !== 0) wrong.push(call);
        await own.query('update called set n = 0');
      }
      t.deepEqual(wrong, []);
      t.true(known > 40, `${known} calls are the server's own`);
    },
  );

  test.serial(
    `${name}: a stored function that is called like a function of another server is taken back with its global transaction`,
    async (t) => {
      const stored = name === 'MariaDB' ? 'uuid_to_bin' : 'nextval';
      await mesh.owner.query(
        `create function ${stored}(a int) returns int modifies sql data begin update called set n = n + 1; return a; end`,
      );
      const gid = await mesh.begin();
      const client = await mesh.client({ flags: ['-IGNORE_SPACE'] });
      await client.query(`select ${stored}(1) /*atomesh_gid='${gid}'*/`);
      await mesh.end(gid, 'rollback');
      t.deepEqual(await mesh.lines('select n from shop.called'), ['0']);
    },
  );

  test.serial(`${name}: a prepared statement changes the table of the database in which it was prepared`, async (t) => {
    for (const choose of ['use plain', ' /* tenant */ USE plain']) {
      const client = await mesh.client();
      const statement = await client.prepare('update item set v = ? where id = 1');
      await client.query(choose);
      const gid = await mesh.begin();
      await client.query(`begin /*atomesh_gid='${gid}'*/`);
      await statement.execute([42]);
      await client.query('commit');
      t.is(await value('plain'), '0');
      await mesh.end(gid, 'commit');
      t.deepEqual([await value('shop'), await value('plain')], ['42', '0']);
      await mesh.owner.query('update shop.item set v = 0');
    }
  });

  test.serial(`${name}: a database that is selected in a text holds for the rest of it`, async (t) => {
    const client = await mesh.client({ multipleStatements: true });
    const gid = await mesh.begin();
    await client.query(`use plain; update item set v = 9 where id = 1 /*atomesh_gid='${gid}'*/`);
    t.deepEqual([await value('shop'), await value('plain')], ['0', '9']);
    await mesh.end(gid, 'rollback');
    t.deepEqual([await value('shop'), await value('plain')], ['0', '0']);
  });

  test.serial(`${name}: a text that changes how the rest of it is read ends there`, async (t) => {
    const client = await mesh.client({ multipleStatements: true });
    const gid = await mesh.begin();
    const text = `set sql_mode = 'NO_BACKSLASH_ESCAPES'; update item set v = 1 where id = 1 /*atomesh_gid='${gid}'*/`;
    await t.throwsAsync(client.query(text), { message: /several statements in one text/ });
    await mesh.end(gid, 'rollback');
    t.is(await value('shop'), '0');
  });

  test.serial(`${name}: a session that chains its transactions is in none behind a captured statement`, async (t) => {
    for (const type of ['chain', 'release']) {
      const client = await mesh.client();
      await client.query(`set completion_type = '${type}'`);
      const gid = await mesh.begin();
      await client.query(`update item set v = 3 where id = 2 /*atomesh_gid='${gid}'*/`);
      await client.query('update item set v = 5 where id = 1');
      t.is(await value('shop'), '5', 'others see what is said without a gid');
      await mesh.owner.query('update shop.item set v = 0 where id = 1');
      await mesh.end(gid, 'rollback');
    }
    await until('nothing is open', async () => {
      const [open] = await mesh.lines('select count(*) from information_schema.innodb_trx');
      return open === '0' ? open : undefined;
    });
    t.deepEqual(await mesh.lines('select v from shop.item order by id'), ['0', '0']);
  });
}

test('MariaDB: the values of an INSERT without a list are not for columns that are invisible', async (t) => {
  const [, start] = SERVERS.find(([name]) => name === 'MariaDB') ?? [];
  if (start === undefined) return t.fail();
  await using mesh = await startMesh({
    start,
    schema: `
      create table shy (h int invisible default 0, id int primary key, v int);
      insert into shy (id, v) values (7, 70);
      create table numbered (n int auto_increment invisible primary key, a int, b int);
      insert into numbered (a, b) values (1, 1), (2, 2), (3, 3);`,
  });
  const client = await mesh.client();
  const gid = await mesh.begin();
  await client.query(`insert into shy values (5, 7) /*atomesh_gid='${gid}'*/`);
  await client.query(`insert into numbered values (2, 9) /*atomesh_gid='${gid}'*/`);
  await mesh.end(gid, 'rollback');
  t.deepEqual(await mesh.lines('select id, v from shop.shy'), ['7 70']);
  t.deepEqual(await mesh.lines('select n, a from shop.numbered'), ['1 1', '2 2', '3 3']);
});
