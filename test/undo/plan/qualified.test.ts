import test from 'ava';
import { loadModule, parsePlPgSQLSync } from 'libpg-query';
import { startPostgres } from '../../../examples/support/postgres-server.ts';
import { FACTS_SQL, NAMES_SQL } from '../../../proxy/postgres/catalog-sql.ts';
import { loadParser, parse } from '../../../proxy/postgres/parse.ts';
import { initialiseDatabase, schemaSql } from '../../../proxy/postgres/schema.ts';
import { OPENED_SQL } from '../../../proxy/postgres/session/ahead/cursors.ts';
import {
  BOUND_WAITS,
  CHECK_CAPTURE,
  ENTER_BRANCH,
  ENTER_CAPTURE,
  ENTER_OPERATION,
  FIXED,
} from '../../../proxy/postgres/session/injected.ts';
import { PREPARED_SQL } from '../../../proxy/postgres/session/statements.ts';
import { child, children, ofKind, strings, text } from '../../../proxy/postgres/tree.ts';
import { FACTS_OF_END } from '../../../proxy/postgres/xa/end.ts';
import { openCapturedSession } from '../captured-session.ts';
import { unqualifiedIn } from './unqualified.ts';

test.before(async () => {
  await loadParser();
  await loadModule();
});

test('what a search path can lend is found in a text', (t) => {
  for (const [sql, found] of [
    ['select 1 = 2', ['the operator = (AEXPR_OP)']],
    ['select 1 operator(pg_catalog.=) 2', []],
    ['select 1 = any ($1)', ['the operator = (AEXPR_OP_ANY)']],
    ['select 1 in (1, 2)', ['the operator = (AEXPR_IN)']],
    ['select 1 in (select 2)', ['a comparison with a subquery']],
    ['select 1 operator(pg_catalog.=) any (select 2)', []],
    ['select 1 is distinct from 2', ['the operator = (AEXPR_DISTINCT)']],
    ['select nullif(1, 2)', ['the operator = (AEXPR_NULLIF)']],
    ["select $1 like 'a'", ['the operator ~~ (AEXPR_LIKE)']],
    ['select 1 between 2 and 3', ['the operator BETWEEN (AEXPR_BETWEEN)']],
    ['select case 1 when 2 then 3 end', ['CASE of a value']],
    ['select case when true then 3 end', []],
    ['select now(), pg_catalog.now()', ['the function now']],
    ['select 1::text, 1::pg_catalog.text', ['the type text']],
    ['select $1 collate "C"', ['the collation C']],
    ['with w as (select 1) select from w, s.t join u on true', ['the table u']],
    ['select from s.t join s.u using (id)', ['a join by name']],
  ] as const)
    t.deepEqual(unqualifiedIn(sql), found, sql);
});

test('CVE-2025-12819: nothing that the sidecar says in the session of a client is looked up along its search path', (t) => {
  for (const sql of [
    FACTS_SQL,
    NAMES_SQL,
    PREPARED_SQL,
    BOUND_WAITS,
    CHECK_CAPTURE,
    OPENED_SQL,
    ENTER_BRANCH,
    ENTER_CAPTURE,
    ENTER_OPERATION,
    FACTS_OF_END,
    ...Object.values(FIXED),
  ])
    t.deepEqual(unqualifiedIn(sql), [], sql);
});

test('CVE-2025-12819: nor what the functions say that a client calls', (t) => {
  const parsed = parse(schemaSql());
  if (parsed.kind !== 'parsed') return t.fail(parsed.kind);
  const unpinned = parsed.statements.filter(
    ({ kind, node }) =>
      kind === 'CreateFunctionStmt' &&
      ofKind(children(node, 'options'), 'DefElem').every((option) => text(option, 'defname') !== 'set'),
  );
  const names = unpinned.map(({ node }) => strings(children(node, 'funcname'))[1]);
  for (const name of ['enter_branch', 'enter_capture', 'check_capture', 'enter_operation', 'has_shape', 'table_shape'])
    t.true(names.includes(name), `${name} is one that is too often called to set a path of its own`);
  for (const { source, start, end } of unpinned) {
    const expressions = expressionsIn(parsePlPgSQLSync(source.slice(start, end)));
    t.true(expressions.length > 0);
    for (const sql of expressions) t.deepEqual(unqualifiedIn(sql), [], sql);
  }
});

/** The texts of a function in PL/pgSQL, as statements. Source: PostgreSQL, src/include/parser/parser.h (RawParseMode). */
function expressionsIn(value: unknown): readonly string[] {
  if (typeof value !== 'object' || value === null) return [];
  const expression = child(value as Readonly<Record<string, unknown>>, 'PLpgSQL_expr');
  const query = expression === undefined ? undefined : text(expression, 'query');
  if (query === undefined) return Object.values(value).flatMap(expressionsIn);
  const isAssignment = expression?.['parseMode'] === 3;
  return [expression?.['parseMode'] === 0 ? query : `SELECT ${isAssignment ? query.replace(/^.*?:=/s, '') : query}`];
}

/** Whatever is not the sidecar's in these is qualified. */
const STATEMENTS = [
  'INSERT INTO public.account (id, code, amount) VALUES ($1, $2, 1) RETURNING id',
  'INSERT INTO public.account (id, code, amount) SELECT id, code, amount FROM public.account',
  'INSERT INTO public.account (id, code) VALUES ($1, $2), ($3, $4) ON CONFLICT (id) DO UPDATE SET amount = 1',
  'INSERT INTO public.account (id, code) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET amount = 1',
  'INSERT INTO public.pair (a, b, c) VALUES ($1, $2, $3), ($4, $5, $6) ON CONFLICT (a, b) DO UPDATE SET c = 1',
  'INSERT INTO public.pair (a, b, c) SELECT a, b, c FROM public.pair ON CONFLICT (a, b) DO UPDATE SET c = 1',
  'INSERT INTO public.account (id, code) SELECT id, code FROM public.account ON CONFLICT (code) DO UPDATE SET amount = 1',
  'UPDATE public.account SET amount = 1 WHERE true',
  'UPDATE public.account SET id = $1, code = $2 RETURNING *',
  'UPDATE public.account SET amount = 1 FROM public.pair WHERE true',
  'UPDATE public.part SET a = 1',
  'DELETE FROM public.account RETURNING amount',
  'DELETE FROM public.pair USING public.account',
  'DELETE FROM public.every',
  'SELECT id FROM public.account FOR UPDATE',
  'INSERT INTO public.child (id, parent) VALUES ($1, $2)',
  'UPDATE public.child SET parent = $1',
  'WITH d AS (DELETE FROM public.account RETURNING id), u AS (UPDATE public.pair SET c = 0) INSERT INTO public.every (i) SELECT id FROM d',
  'MERGE INTO public.pair USING public.account ON true WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (a, b) VALUES (1, 2)',
];

const SCHEMA = `
CREATE TABLE account (id int PRIMARY KEY, code text UNIQUE, amount numeric);
CREATE TABLE pair (a int, b text, c int, PRIMARY KEY (a, b));
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES account);
CREATE TABLE part (a int PRIMARY KEY, b timestamptz) PARTITION BY RANGE (a);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE TABLE every (i int, n numeric, f float8, d timestamptz, x bytea, s interval, PRIMARY KEY (i, n, f, d, x));
`;

for (const major of [14, 18] as const) {
  test(`CVE-2025-12819: nor what a capturing statement adds to that of the client on PostgreSQL ${major}`, async (t) => {
    await using server = await startPostgres({ major });
    await initialiseDatabase({ connectionString: server.url('postgres') });
    await server.run('postgres', SCHEMA);
    await using session = await openCapturedSession(server.url('postgres'));
    let captured = 0;
    for (const sql of STATEMENTS) {
      const plan = await session.plan(sql);
      if (plan.kind !== 'capture') continue;
      captured += 1;
      for (const text of [plan.capture.sql, plan.capture.sqlWhenEntered]) t.deepEqual(unqualifiedIn(text), [], text);
    }
    t.is(captured, major < 18 ? STATEMENTS.length - 1 : STATEMENTS.length);
  });
}
