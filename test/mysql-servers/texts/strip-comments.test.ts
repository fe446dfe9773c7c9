/** With stripComments the server never sees a comment that carries a gid or a trace in front of a text or at its end; all else is as without. */
import test from 'ava';
import fc from 'fast-check';
import type mysql from 'mysql2/promise';
import { bareOf } from '../../../proxy/mysql/session/naming/instead.ts';
import { startMesh, type Mesh } from '../inside/mesh.ts';
import { SERVERS } from '../second-phase/world.ts';

const SCHEMA = `
create table t (id int primary key, v varchar(80)); insert into t values (1, 'a'), (2, 'b');
create procedure p() begin update t set v = 'called' where id = 2; end;`;

/** Of a request that nobody serves. */
const TRACE = `/*traceparent='00-${'c'.repeat(32)}-b7ad6b7169203331-01',route='%2Forders'*/`;

/** What could confuse whoever reads a text, a byte for each character; the last is half a character of gbk. */
const WORDS: readonly string[] =
  `'|''|"|\`|\\|#|-|--|-- |;|*| |\n|+ 1|- 1|, 'a'|/*|*/|/*/|/*!|/*!40101 |/*M!|/*atomesh_gid='g'*/|/*traceparent=x*/|\u0081`.split(
    '|',
  );

/** What decides how a server reads a text. */
const SETTINGS: readonly string[] = [
  "sql_mode = '', names latin1",
  "sql_mode = 'ANSI_QUOTES', names latin1",
  "sql_mode = 'NO_BACKSLASH_ESCAPES', names latin1",
  "sql_mode = '', names gbk",
  "sql_mode = '', names sjis",
  "sql_mode = 'ANSI_QUOTES', names big5",
];

for (const [name, start] of SERVERS) {
  let mesh: Mesh;
  test.before(async () => {
    const database = { stripComments: true, escalate: 'xa' };
    mesh = await startMesh({ start, schema: SCHEMA, database });
    await mesh.owner.query("set global log_output = 'TABLE'; set global general_log = 1");
  });
  test.after.always(async () => mesh?.[Symbol.asyncDispose]());

  /** What the server has heard of a session, each with its command. */
  const heardOf = async (client: mysql.Connection): Promise<readonly string[]> =>
    mesh.lines(
      `select command_type, convert(argument using utf8mb4) from mysql.general_log where thread_id = ${client.threadId} order by event_time`,
    );

  const rows = (): Promise<readonly string[]> => mesh.lines('select v from shop.t order by id');

  test.serial(`${name}: the log of the server tells of comments`, async (t) => {
    const client = await mesh.plain();
    await client.query(`select 'plain' ${TRACE}`);
    t.true((await heardOf(client)).includes(`Query select 'plain' ${TRACE}`));
    client.destroy();
  });

  test.serial(`${name}: outside of global transactions a trace stays behind, and nothing else`, async (t) => {
    const client = await mesh.client({ multipleStatements: true });
    await client.query(`${TRACE} select 'query' ${TRACE};`);
    await client.query(`select 'two'; /* a note */ select '/*traceparent=x*/' ${TRACE}`);
    await client.query(`select 'a note' /* route='a' */`);
    await client.query(`select 'executable' /*!40101 as traceparent */`);
    t.deepEqual((await client.execute(`select ? ${TRACE}`, ['prepared']))[0], [{ '?': 'prepared' }] as never);
    const error = await t.throwsAsync(client.query(`${TRACE}\nselect nonsense, ''`));
    t.regex(error?.message ?? '', /nonsense/);
    const heard = await heardOf(client);
    // The blanks and semicolons around a text are not in the log.
    for (const line of [
      "Query select 'query'",
      "Query select 'a note' /* route='a' */",
      "Query select 'executable' /*!40101 as traceparent */",
      'Prepare select ?',
      "Execute select 'prepared'",
      "Query select nonsense, ''",
    ]) {
      t.true(heard.includes(line), `${line}: ${heard.join('\n')}`);
    }
    // Of several statements in a text MySQL tells each by itself.
    t.true(
      heard.some((line) => line.endsWith("select '/*traceparent=x*/'")),
      heard.join('\n'),
    );
    t.false(
      heard.some((line) => line.includes(TRACE)),
      heard.join('\n'),
    );
    client.destroy();
  });

  test.serial(`${name}: inside a gid nothing of its comments is heard, and all of it is undone`, async (t) => {
    const gid = await mesh.begin();
    const mark = `/*atomesh_gid='${gid}',route='%2Forders'*/`;
    const client = await mesh.client({ multipleStatements: true });
    // Prepared without a gid, and by a comment of its own for one.
    const named = await client.prepare(`update t set v = ? where id = 1 ${mark}`);
    await client.query(`${mark} update t set v = 'captured' where id = 1`);
    await named.execute(['prepared']);
    t.deepEqual(await rows(), ['prepared', 'b']);
    await client.query(`start transaction ${mark}`);
    await client.query(`select 'passes' ${TRACE}`);
    await client.query(`select v from t where id = 1 for update ${mark}`);
    await client.query(`update t set v = 'two' where id = 1 ${TRACE}; select 'next' ${mark}`);
    const inside = await client.prepare(`update t set v = ? where id = 1 ${TRACE}`);
    await inside.execute(['inside']);
    await client.query(`update t set v = 'nonsense' where nonsense = 1 ${mark}`).catch(() => undefined);
    await client.query(`commit ${mark}`);
    t.deepEqual(await rows(), ['inside', 'b']);
    // It is prepared, which ends the connection behind its answer.
    await client.query(`call p() ${mark}`);
    t.deepEqual(await rows(), ['inside', 'b']);
    const heard = await heardOf(client);
    for (const line of ["Query select 'passes'", 'Prepare update t set v = ? where id = 1', 'Query call p()']) {
      t.true(heard.includes(line), `${line}: ${heard.join('\n')}`);
    }
    t.deepEqual(
      heard.filter((line) => /traceparent|atomesh_gid|%2Forders/.test(line)),
      [],
    );
    t.is(await mesh.end(gid, 'rollback'), 'failed');
    t.deepEqual(await rows(), ['a', 'b']);
    client.destroy();
  });

  test.serial(`${name}: a statement that was prepared with a gid names it when it runs, and not before`, async (t) => {
    const gid = await mesh.begin();
    const client = await mesh.client();
    const statement = await client.prepare(`update t set v = 'x' where id = 1 /*atomesh_gid='${gid}'*/`);
    await client.query("update t set v = 'outside' where id = 2");
    await statement.execute([]);
    t.deepEqual(await rows(), ['x', 'outside']);
    await mesh.end(gid, 'rollback');
    t.deepEqual(await rows(), ['a', 'outside']);
    await mesh.owner.query("update t set v = 'b' where id = 2");
    client.destroy();
  });

  test.serial(`${name}: what is left means the same to the server, whatever the session is like`, async (t) => {
    const clients = await Promise.all(
      [false, true].map((multipleStatements) => mesh.plain({ multipleStatements, charset: 'latin1' })),
    );
    const seed = Number(process.env['SEED'] ?? 1 + (process.pid % 1_000_000));
    t.log(`seed ${seed}`);
    const words = fc.array(fc.constantFrom(...WORDS), { maxLength: 6 }).map((parts) => parts.join(''));
    const outcomes = { alike: 0, fine: 0 };
    await fc.assert(
      fc.asyncProperty(
        words,
        fc.constantFrom('', "/*atomesh_gid='g'*/", '/*traceparent=x*/ '),
        fc.constantFrom('', ' ', '\n', '\u0081'),
        fc.constantFrom(...SETTINGS),
        fc.constantFrom(...clients),
        async (middle, front, blank, setting, client) => {
          const text = `${front}select 1 ${middle}${blank}/*atomesh_gid='g',a=b*/`;
          const left = bareOf(Buffer.from(text, 'latin1'))?.toString('latin1');
          if (left === undefined) return;
          await client.query(`set ${setting}`);
          const [before, after] = [await outcomeOf(client, text), await outcomeOf(client, left)];
          if (before !== after) throw new Error(`${setting}, ${left}: ${after} in place of ${before}`);
          outcomes.alike += 1;
          if (before.startsWith('[')) outcomes.fine += 1;
        },
      ),
      { numRuns: 3_000, seed },
    );
    t.true(outcomes.alike > 1_000 && outcomes.fine > 300, JSON.stringify(outcomes));
    for (const client of clients) client.destroy();
  });
}

/** What a server answers: the rows, or the number of its error. */
async function outcomeOf(client: mysql.Connection, sql: string): Promise<string> {
  return client.query({ sql, rowsAsArray: true }).then(
    ([found]) => JSON.stringify(found),
    (error: unknown) => String((error as { errno: number }).errno),
  );
}
