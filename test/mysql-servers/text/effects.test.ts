/** What a client asks about its last statement, on real servers: plainly, and with statements of the sidecar in between. */
import test from 'ava';
import { startMariadb, type MariadbServer } from '../../../examples/support/mariadb-server.ts';
import { parse } from '../../../proxy/mysql/parse.ts';
import { schemaStatements } from '../../../proxy/mysql/schema.ts';
import { askedOf, type Remembered } from '../../../proxy/mysql/text/effects.ts';
import { loadGrammar } from '../../../proxy/mysql/text/tree.ts';
import { hasMysql, startMysql } from '../mysql-server.ts';
import { startAsking, type Asking, type Result } from './asking.ts';

const servers = new Map<string, MariadbServer>();
const NAMES = hasMysql ? ['MariaDB', 'MySQL'] : ['MariaDB'];

test.before(async () => {
  await loadGrammar();
  servers.set('MariaDB', await startMariadb());
  if (hasMysql) servers.set('MySQL', await startMysql());
  for (const server of servers.values())
    await server.run(DATABASES.map((database) => `create database ${database}`).join('; '));
});
test.after.always(async () => {
  for (const server of servers.values()) await server[Symbol.asyncDispose]();
});

/** One for each test of a server. */
const DATABASES = ['answers', 'warnings', 'changes'] as const;
const LEXICAL = { noBackslashEscapes: false, ansiQuotes: false, charset: 'utf8' } as const;

/** Statements as a session of the sidecar runs them on the client's connection. */
const OURS = {
  reading: 'select id, a from t where id < 3 for update',
  record: `insert into atomesh.undo_record (gid, resource, position, server, body, seal)
    values ('g', 'r', (UUID_SHORT() & 0x00FFFFFFFFFFFFFF), @@server_id, '{}', repeat('s', 32))`,
  'row lock': "insert into atomesh.row_lock (relation, lock_key, gid, resource) values ('r', uuid(), 'g', 'r')",
  savepoint: 'savepoint atomesh',
  'SHOW WARNINGS': 'show warnings',
} as const;
const OURS_BEHIND: readonly string[] = [OURS.reading, OURS.record, OURS['row lock'], OURS.savepoint];

/** Statements of the client: a change with warnings, with none, of no row, an error, a reading. */
const CLIENT: Readonly<Record<string, string>> = {
  insert: "insert into t (a) values ('1x'), (5)",
  'several rows with a key given': 'insert into t (id, a) values (null, 1), (null, 2)',
  update: "update t set a = concat(a, 'y')",
  'update of no row': 'update t set a = 3 where id < 0',
  delete: 'delete from t where id = 1',
  'insert ignore': 'insert ignore into t (id) values (1), (2)',
  error: 'insert into t (id) values (1)',
  reading: 'select id from t',
};

const QUESTIONS: readonly string[] = [
  'SELECT ROW_COUNT()',
  'select  row_count( ) , 1',
  'SELECT row_count() AS n',
  'SELECT DISTINCT ROW_COUNT() n',
  'SELECT ROW_COUNT() + 1, `id` FROM t WHERE id = 2',
  'SELECT ROW_COUNT() `n`, last_insert_id()',
  'SELECT `id` FROM `t` WHERE ROW_COUNT() = 2 AND `id` = LAST_INSERT_ID()',
  'SELECT id FROM t WHERE ROW_COUNT() > -5 ORDER BY id LIMIT 1',
  'SELECT 1 UNION ALL SELECT ROW_COUNT()',
  'SELECT @@warning_count, @@error_count',
  'SELECT @@session.warning_count, @@LOCAL.error_count e',
  'SHOW COUNT(*) WARNINGS',
  'SHOW COUNT(*) ERRORS',
  'SELECT LAST_INSERT_ID(), @@identity, @@insert_id, @@last_insert_id',
];

async function fresh(name: string, database: (typeof DATABASES)[number]): Promise<Asking> {
  const server = servers.get(name);
  const asking = await startAsking(server?.port ?? 0, 'atomesh', database);
  await asking.query("set names utf8mb4; set sql_mode = ''; create table t (id int primary key auto_increment, a int)");
  for (const sql of schemaStatements()) await asking.query(sql);
  return asking;
}

/** The same rows and the same session for each question. */
async function ready(asking: Asking): Promise<void> {
  await asking.query('truncate table t; insert into t (a) values (7), (8), (9)');
}

async function one(asking: Asking, text: string): Promise<Result> {
  const [result] = await asking.query(text);
  if (result === undefined) throw new Error('no result');
  return result;
}

/** What a session keeps, taken as it would be. */
function remembered(result: Result, warnings: Result): Remembered {
  return {
    affectedRows: result.kind === 'ok' ? result.affectedRows : -1n,
    warningCount: result.kind === 'error' ? 1 : result.warnings,
    levels: warnings.kind === 'rows' ? warnings.rows.map(([level]) => level ?? '') : [],
  };
}

function rewritten(question: string, kept: Remembered): ReturnType<typeof askedOf> {
  const parsed = parse(question, LEXICAL);
  const [statement] = parsed.kind === 'parsed' ? parsed.statements : [];
  if (statement === undefined) throw new Error(`not read: ${question}`);
  return askedOf(statement.source, statement.span, kept);
}

/** Values, names and types of columns, and the bits of not NULL and unsigned, as far as a driver looks at them. */
function seen(result: Result): unknown {
  if (result.kind !== 'rows') return result;
  const columns = result.columns.map(({ name, type, flags, charset }) => [name.toString(), type, flags & 32, charset]);
  return { columns, rows: result.rows };
}

for (const name of NAMES) {
  test(`${name} answers what a client asks about its last statement as if no statement of ours had run`, async (t) => {
    const asking = await fresh(name, 'answers');
    for (const [what, statement] of Object.entries(CLIENT)) {
      for (const question of QUESTIONS) {
        await ready(asking);
        await one(asking, statement);
        const plainly = seen(await one(asking, question));
        await ready(asking);
        const result = await one(asking, statement);
        const kept = remembered(result, await one(asking, OURS['SHOW WARNINGS']));
        for (const sql of OURS_BEHIND) t.not((await one(asking, sql)).kind, 'error', sql);
        const answer = rewritten(question, kept);
        t.true(answer.kind === 'text' || answer.kind === 'as-is', `${question}: ${answer.kind}`);
        const text = answer.kind === 'text' ? answer.text : question;
        t.deepEqual(seen(await one(asking, text)), plainly, `${what}; ${question}: ${text}`);
      }
    }
    asking.close();
  });

  test(`the rows of SHOW WARNINGS and SHOW ERRORS are those that ${name} gave behind the statement`, async (t) => {
    const asking = await fresh(name, 'warnings');
    for (const statement of Object.values(CLIENT)) {
      for (const question of ['SHOW WARNINGS', 'show errors', 'SHOW WARNINGS LIMIT 1', 'SHOW WARNINGS LIMIT 1, 5']) {
        await ready(asking);
        await one(asking, statement);
        const plainly = await one(asking, question);
        await ready(asking);
        const result = await one(asking, statement);
        const warnings = await one(asking, OURS['SHOW WARNINGS']);
        const answer = rewritten(question, remembered(result, warnings));
        if (answer.kind !== 'warnings' || warnings.kind !== 'rows' || plainly.kind !== 'rows') {
          t.fail(`${question}: ${answer.kind}`);
          continue;
        }
        t.deepEqual(
          answer.rows.map((row) => warnings.rows[row]),
          plainly.rows,
          `${statement}; ${question}`,
        );
      }
    }
    asking.close();
  });

  test(`which statements of ours change what a client of ${name} can ask`, async (t) => {
    const asking = await fresh(name, 'changes');
    const all = ['row_count()', 'found_rows()', '@@warning_count', 'last_insert_id()', '@@identity', '@@insert_id'];
    const changed = new Map<string, readonly string[]>();
    for (const [what, ours] of Object.entries(OURS)) {
      const differing: string[] = [];
      for (const asked of all) {
        const answers: unknown[] = [];
        for (const between of [[], [ours]]) {
          await ready(asking);
          await one(asking, 'select sql_calc_found_rows id from t limit 1');
          await one(asking, "insert into t (a) values ('1x'), (5)");
          for (const sql of between) t.not((await one(asking, sql)).kind, 'error', sql);
          const answer = await one(asking, `select ${asked}`);
          answers.push(answer.kind === 'rows' ? answer.rows[0]?.[0] : answer);
        }
        if (answers[0] !== answers[1]) differing.push(asked);
      }
      changed.set(what, differing);
    }
    t.deepEqual(Object.fromEntries(changed), {
      reading: ['row_count()', 'found_rows()', '@@warning_count'],
      record: ['row_count()', '@@warning_count'],
      'row lock': ['row_count()', '@@warning_count'],
      // Where no table is used, MariaDB leaves the warnings as they are.
      savepoint: name === 'MariaDB' ? ['row_count()'] : ['row_count()', '@@warning_count'],
      'SHOW WARNINGS': ['row_count()'],
    });
    asking.close();
  });
}
