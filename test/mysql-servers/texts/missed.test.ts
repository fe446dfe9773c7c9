/** Where a text is not seen as a whole, or does not separate where it seems to, it may have selected a database all the same. */
import test from 'ava';
import type mysql from 'mysql2/promise';
import { startMesh, type Mesh } from '../inside/mesh.ts';
import { SERVERS } from '../second-phase/world.ts';

const SCHEMA = "create table t (id int primary key, v varchar(20)); insert into t values (1, 'a')";
const UPDATE = "update t set v = concat('b', ?) where id = 1";
const PACKET_BYTES = 0xff_ffff;
/** What the limit leaves of a text passes as it comes. */
const LIMIT_BYTES = 20 * 1024 * 1024;

/** Texts in which a string looks like a comment. */
const IN_STRINGS: readonly string[] = [
  "select ';#'; use plain",
  "select '; -- '; use plain",
  "select ';/*'; use plain; select '*/'",
  'select \';/*\', "*/"; use plain',
];

/** A text whose USE stands across the end of its first packet, behind the code of the command. */
const ACROSS = (() => {
  const [before, after] = ["select length('", "'); us"];
  return `${before}${'x'.repeat(PACKET_BYTES - 1 - before.length - after.length)}${after}e plain`;
})();

const LARGE = `select length('${'x'.repeat(LIMIT_BYTES)}')`;

for (const [name, start] of SERVERS) {
  let mesh: Mesh;
  test.before(async () => {
    mesh = await startMesh({ start, schema: SCHEMA, limits: { statement: '20MiB' } });
    await mesh.owner.query('set global max_allowed_packet = 67108864');
  });
  test.after.always(async () => mesh?.[Symbol.asyncDispose]());

  /** What a statement comes to inside a gid that was prepared before something was said without one, and the rows of both databases. */
  const behind = async (between: (client: mysql.Connection) => Promise<unknown>): Promise<readonly string[]> => {
    const rows = (): Promise<readonly string[]> => mesh.lines('select (select v from shop.t), (select v from plain.t)');
    const client = await mesh.client({ multipleStatements: true });
    const statement = await client.prepare(UPDATE);
    await between(client);
    const gid = await mesh.begin();
    await client.query(`begin /*atomesh_gid='${gid}'*/`);
    const outcome = await statement.execute(['c']).then(
      () => 'done',
      (error: unknown) => (error as Error).message,
    );
    await client.query('commit');
    const changed = await rows();
    await mesh.end(gid, 'rollback');
    client.destroy();
    return [outcome, ...changed, ...(await rows())];
  };

  const selects = async (client: mysql.Connection, sql: string): Promise<void> => {
    await client.query(sql);
    const [rows] = await client.query<mysql.RowDataPacket[]>('select database() as d');
    if (rows[0]?.['d'] !== 'plain') throw new Error('the server has not selected it');
  };

  for (const sql of IN_STRINGS) {
    test.serial(`${name}: what was prepared before ${sql} changes nothing of another database`, async (t) => {
      const [outcome, ...rows] = await behind((client) => selects(client, sql));
      t.deepEqual(rows, ['a a', 'a a']);
      t.regex(outcome ?? '', /since whose preparation/);
    });
  }

  test.serial(`${name}: what is set behind a string that looks like a comment counts`, async (t) => {
    const [outcome, ...rows] = await behind((client) => client.query("select ';#'; set sql_mode = 'ANSI_QUOTES'"));
    t.deepEqual(rows, ['a a', 'a a']);
    t.regex(outcome ?? '', /may have set sql_mode/);
  });

  for (const [what, sql] of [
    ['across two packets', ACROSS],
    ['in a text above the limit', `${LARGE}; use plain`],
  ] as const) {
    test.serial(`${name}: a database that is selected ${what} counts`, async (t) => {
      const [outcome, ...rows] = await behind((client) => selects(client, sql));
      t.deepEqual(rows, ['a a', 'a a']);
      t.regex(outcome ?? '', /since whose preparation/);
    });
  }

  test.serial(`${name}: what a prepared text above the limit leaves behind counts`, async (t) => {
    if (name === 'MariaDB') {
      const large = `/* ${'x'.repeat(LIMIT_BYTES)} */ use plain`;
      const [outcome, ...rows] = await behind(async (client) => client.execute(large));
      t.deepEqual(rows, ['a a', 'a a']);
      t.regex(outcome ?? '', /since whose preparation/);
    }
    const [outcome, ...rows] = await behind((client) =>
      client.execute(`/* ${'x'.repeat(LIMIT_BYTES)} */ set names latin1`),
    );
    t.deepEqual(rows, ['a a', 'a a']);
    t.regex(outcome ?? '', /since whose preparation/);
  });

  test.serial(`${name}: what is prepared behind a large text runs`, async (t) => {
    const gid = await mesh.begin();
    const client = await mesh.client();
    await client.query(LARGE);
    const statement = await client.prepare(UPDATE);
    await client.query(`begin /*atomesh_gid='${gid}'*/`);
    await statement.execute(['c']);
    await client.query('commit');
    t.deepEqual(await mesh.lines('select v from shop.t'), ['bc']);
    await mesh.end(gid, 'rollback');
    t.deepEqual(await mesh.lines('select v from shop.t'), ['a']);
    client.destroy();
  });
}
