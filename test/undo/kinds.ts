/** What becomes of each kind of statement inside a global transaction, on each version of PostgreSQL: the table of docs/statements.md. */
import { JOINED_REALM } from './joined-statements.ts';

/** `captured`: with images; `passes`: changes nothing that undo would have to restore; `escalates`, `refused`: see docs/statements.md. */
export type Fate = 'captured' | 'passes' | 'escalates' | 'refused';

export const MAJORS = [14, 15, 16, 17, 18] as const;
export type Major = (typeof MAJORS)[number];

/** A kind of statement with an example of it. `before`: its fate on versions below `since`, where it is another there. */
export interface Kind {
  readonly name: string;
  readonly sql: string;
  readonly fate: Fate;
  readonly before?: { readonly since: Major; readonly fate: Fate };
}

/** Kinds under one heading. */
export interface KindGroup {
  readonly heading: string;
  readonly kinds: readonly Kind[];
}

/** Tables beside those of the joined statements. Servers of any version take it. */
export const KINDS_SCHEMA = `${JOINED_REALM.schema}
CREATE TABLE cascaded (id int PRIMARY KEY, code text UNIQUE, v int);
CREATE TABLE cascading (id int PRIMARY KEY, p int REFERENCES cascaded ON DELETE CASCADE, c text REFERENCES cascaded (code) ON UPDATE SET NULL);
CREATE TABLE watched (id int PRIMARY KEY, v int);
CREATE TRIGGER watch AFTER INSERT OR UPDATE OR DELETE ON watched FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE TABLE checked (id int PRIMARY KEY, v int);
CREATE CONSTRAINT TRIGGER checked AFTER UPDATE ON checked DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE TABLE ruled (id int PRIMARY KEY);
CREATE RULE r AS ON DELETE TO ruled DO ALSO NOTHING;
CREATE TABLE guarded (id int PRIMARY KEY);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE TABLE keyless (v int UNIQUE);
CREATE UNLOGGED TABLE volatile (id int PRIMARY KEY);
CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v int);
CREATE TABLE late (id int PRIMARY KEY, place int UNIQUE DEFERRABLE INITIALLY DEFERRED, parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE mails (id int PRIMARY KEY, email text, v int);
CREATE UNIQUE INDEX mails_lower ON mails (lower(email));
CREATE TABLE booked (id int PRIMARY KEY, span int4range, EXCLUDE USING gist (span WITH &&));
CREATE TABLE always (id int PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY);
CREATE TABLE spanned (id interval PRIMARY KEY);
CREATE TABLE spanning (id int PRIMARY KEY, s interval REFERENCES spanned);
CREATE TABLE own (id int, k int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE own1 PARTITION OF own FOR VALUES FROM (0) TO (10);
CREATE UNIQUE INDEX own1_k ON own1 (k);
CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS 'UPDATE stock SET qty = 0; SELECT 1';
CREATE FUNCTION reads() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
CREATE FUNCTION known(int) RETURNS bool LANGUAGE plpgsql STABLE AS 'BEGIN RETURN EXISTS (SELECT FROM parent WHERE id = $1); END';
CREATE FUNCTION known_here(int) RETURNS bool LANGUAGE plpgsql STABLE SET search_path = public AS 'BEGIN RETURN EXISTS (SELECT FROM parent WHERE id = $1); END';
CREATE TABLE seeking (id int PRIMARY KEY, p int CHECK (known(p)));
CREATE TABLE finding (id int PRIMARY KEY, p int CHECK (known_here(p)));
CREATE TABLE strict (id int PRIMARY KEY, p int REFERENCES parent ON DELETE RESTRICT DEFERRABLE, v int);
CREATE TABLE legacy (id int PRIMARY KEY, v int, w int);
ALTER TABLE legacy ADD CHECK (v > 0) NOT VALID;
CREATE TABLE fleeting (id int PRIMARY KEY, d date CHECK (d <= current_date));
CREATE DOMAIN worn AS int; CREATE TABLE wears (id int PRIMARY KEY, v worn); ALTER DOMAIN worn ADD CHECK (VALUE > 0) NOT VALID;
CREATE VIEW trap AS SELECT writes() AS w;
CREATE FUNCTION adds(int, int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN $1 + $2 + writes(); END';
CREATE FUNCTION sane(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN writes() > 0; END';
CREATE FUNCTION later(int, int DEFAULT writes()) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1';
CREATE OPERATOR @+ (LEFTARG = int, RIGHTARG = int, FUNCTION = adds);
CREATE AGGREGATE heap (int) (SFUNC = adds, STYPE = int, INITCOND = '0');
CREATE DOMAIN sound AS int CHECK (sane(VALUE));
CREATE TABLE sounds (id int PRIMARY KEY, v sound);
CREATE FUNCTION worth(stock) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN writes(); END';
CREATE TABLE secret (id int PRIMARY KEY);
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON secret USING (sane(id));
CREATE PROCEDURE change() LANGUAGE sql AS 'UPDATE stock SET qty = 0';
CREATE FOREIGN DATA WRAPPER elsewhere;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER elsewhere;
CREATE FOREIGN TABLE far (id int) SERVER elsewhere;
`;

/** Run in the session that plans. */
export const KINDS_SESSION = `CREATE TEMP TABLE scratch (id int PRIMARY KEY);
CREATE TEMP TABLE noisy (id int DEFAULT writes());
PREPARE counts AS SELECT count(*) FROM stock;
PREPARE sells (int, int) AS UPDATE stock SET qty = qty - $1 WHERE id = $2`;
/** Prepared in a text of its own: what it means, nobody can tell any more. */
export const KINDS_ODD = "PREPARE odd AS UPDATE stock SET code = '\\'";

const kind = (name: string, sql: string, fate: Fate, before?: Kind['before']): Kind => ({
  name,
  sql,
  fate,
  ...(before === undefined ? {} : { before }),
});
const since18 = { since: 18, fate: 'escalates' } as const;

export const KINDS: readonly KindGroup[] = [
  {
    heading: 'Changes of one table',
    kinds: [
      kind('`INSERT … VALUES`, one row or many', "INSERT INTO stock (code) VALUES ('a'), ('b')", 'captured'),
      kind('`INSERT … SELECT`', 'INSERT INTO stock (code) SELECT old FROM delta', 'captured'),
      kind('`UPDATE`', 'UPDATE stock SET qty = qty + 1 WHERE id = 1', 'captured'),
      kind(
        '`UPDATE` of a primary key or a unique value',
        "UPDATE stock SET id = 9, code = 'z' WHERE id = 1",
        'captured',
      ),
      kind(
        '`UPDATE` or `DELETE` with `now()`, `random()` and the like',
        'DELETE FROM stock WHERE random() > 0.5',
        'captured',
      ),
      kind('`DELETE`', 'DELETE FROM stock', 'captured'),
      kind('`RETURNING` with expressions', 'DELETE FROM stock RETURNING id * 2, upper(code) AS c', 'captured'),
      kind(
        '`RETURNING` of an expression whose name only the server knows',
        'UPDATE stock SET qty = 1 RETURNING (SELECT * FROM (SELECT 1) x)',
        'escalates',
      ),
      kind('`DELETE … WHERE CURRENT OF`', 'DELETE FROM stock WHERE CURRENT OF c', 'captured'),
      kind('`UPDATE … WHERE CURRENT OF`', 'UPDATE stock SET qty = 1 WHERE CURRENT OF c', 'captured', since18),
    ],
  },
  {
    heading: 'ON CONFLICT',
    kinds: [
      kind(
        '`DO NOTHING`, with any target or none',
        "INSERT INTO stock (code) VALUES ('a') ON CONFLICT DO NOTHING",
        'captured',
      ),
      kind(
        '`DO UPDATE`, the values of its target parameters or constants',
        'INSERT INTO stock (id, code) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET code = excluded.code',
        'captured',
      ),
      kind(
        '`DO UPDATE` by the name of a constraint',
        "INSERT INTO stock (code) VALUES ('a') ON CONFLICT ON CONSTRAINT stock_code_key DO UPDATE SET qty = 0",
        'captured',
      ),
      kind(
        '`DO UPDATE` of the rows of a `SELECT`',
        'INSERT INTO stock (id, code) SELECT id, old FROM delta ON CONFLICT (id) DO UPDATE SET code = excluded.code',
        'captured',
      ),
      kind(
        '`DO UPDATE` of a `SELECT` of bare parameters or constants, or of computed `VALUES`',
        'INSERT INTO stock (id, code) SELECT $1, old FROM delta ON CONFLICT (id) DO UPDATE SET code = excluded.code',
        'captured',
        since18,
      ),
      kind(
        '`DO UPDATE` by a partial index',
        "INSERT INTO partial VALUES (1, 'a', true) ON CONFLICT (email) WHERE active DO UPDATE SET active = false",
        'captured',
      ),
      kind(
        '`DO UPDATE` that changes the primary key',
        "INSERT INTO stock (id, code) VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET id = 7",
        'captured',
        since18,
      ),
      kind(
        '`DO UPDATE` of a partitioned table',
        "INSERT INTO part VALUES (1, 'eu', 1) ON CONFLICT (id, region) DO UPDATE SET v = 0",
        'captured',
        since18,
      ),
    ],
  },
  {
    heading: 'Changes with other tables',
    kinds: [
      kind(
        '`UPDATE … FROM`',
        'UPDATE stock SET qty = d.amount FROM delta d WHERE d.id = stock.id RETURNING *',
        'captured',
      ),
      kind('`DELETE … USING`', 'DELETE FROM stock USING delta d WHERE d.id = stock.id RETURNING *', 'captured'),
      kind(
        'the same with `RETURNING *` over a subquery or a merged join',
        'UPDATE stock SET qty = 1 FROM (SELECT 1 AS k) x WHERE x.k = id RETURNING *',
        'escalates',
      ),
      kind(
        '`MERGE`',
        'MERGE INTO stock USING delta ON delta.id = stock.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (code) VALUES (old)',
        'captured',
        since18,
      ),
      kind(
        'a change in `WITH`, under a query',
        'WITH d AS (DELETE FROM stock RETURNING *) SELECT * FROM d',
        'captured',
      ),
      kind(
        'several changes in `WITH`, of one table or of several',
        'WITH d AS (DELETE FROM stock RETURNING code), u AS (UPDATE keyed SET v = 0) INSERT INTO audit (what) SELECT code FROM d',
        'captured',
      ),
      kind(
        'the same, tables that refer to each other, all inserted or all deleted',
        'WITH p AS (INSERT INTO parent VALUES (9) RETURNING id) INSERT INTO child SELECT 9, id, 0 FROM p',
        'captured',
      ),
      kind(
        'the same, one inserted and the other deleted or its reference changed',
        'WITH p AS (INSERT INTO parent VALUES (9) RETURNING id) UPDATE child SET parent = p.id FROM p',
        'escalates',
      ),
      kind(
        'the same, two changes of one table that both update a unique value',
        "WITH a AS (UPDATE stock SET code = 'x' WHERE id = 1) UPDATE stock SET code = 'c1' WHERE id = 2",
        'escalates',
      ),
      kind(
        'a change with a `WITH` of its own inside `WITH`',
        'WITH d AS (WITH w AS (SELECT 1 AS k) DELETE FROM stock USING w WHERE id = k RETURNING id) SELECT * FROM d',
        'escalates',
      ),
    ],
  },
  {
    heading: 'Tables',
    kinds: [
      kind('with generated columns, stored or virtual', 'UPDATE stock SET qty = 4 RETURNING doubled', 'captured'),
      kind('with identity columns', 'INSERT INTO always (id) VALUES (1)', 'captured'),
      kind('`SET` of a column `GENERATED ALWAYS AS IDENTITY`', 'UPDATE always SET n = DEFAULT', 'escalates'),
      kind(
        'without a primary key, with a unique index over columns that are `NOT NULL`',
        'UPDATE keyed SET v = 1',
        'captured',
      ),
      kind('without either', 'UPDATE keyless SET v = 1', 'escalates'),
      kind('with a deferrable primary key', 'UPDATE deferred SET v = 1', 'escalates'),
      kind(
        'with a key of a type whose equal values look different, or such a collation',
        "INSERT INTO spanned VALUES ('1 day')",
        'escalates',
      ),
      kind('that refer to such a key: deleted from, or the reference updated', 'DELETE FROM spanning', 'escalates'),
      kind('with other constraints that are deferred', 'UPDATE late SET place = 5 - place, parent = 1', 'captured'),
      kind(
        'with a unique index over expressions: inserted into, other columns updated',
        'UPDATE mails SET v = 1',
        'captured',
      ),
      kind('the same: deleted from, or those columns updated', "UPDATE mails SET email = 'x'", 'escalates'),
      kind('with an exclusion constraint: deleted from, or its columns updated', 'DELETE FROM booked', 'escalates'),
      kind(
        'partitioned: rows are found, moved and locked through the whole table',
        "UPDATE part SET region = 'us' WHERE id = 1",
        'captured',
      ),
      kind('a partition of its own', 'DELETE FROM part_small', 'captured'),
      kind(
        'partitioned, a partition with unique indexes, triggers, checks or rules of its own',
        'DELETE FROM own',
        'escalates',
      ),
      kind('inherited from: `INSERT`, and with `ONLY`', 'UPDATE ONLY base SET v = 1', 'captured'),
      kind('inherited from, without `ONLY`', 'UPDATE base SET v = 1', 'escalates'),
      kind('that inherit', "UPDATE heir SET extra = 'x'", 'captured'),
      kind('with triggers on other kinds of change', 'INSERT INTO stamped VALUES (1, 1)', 'captured'),
      kind('with a `BEFORE` trigger on the change, or on what would undo it', 'UPDATE stamped SET v = 1', 'escalates'),
      kind('with an `AFTER` or a constraint trigger on it', 'DELETE FROM watched', 'escalates'),
      kind('the same, deferred', 'UPDATE checked SET v = 1', 'escalates'),
      kind('with rules', 'DELETE FROM ruled', 'escalates'),
      kind('with row-level security', 'INSERT INTO guarded VALUES (1)', 'escalates'),
      kind(
        'that a cascading foreign key refers to: `INSERT`, other columns updated',
        'UPDATE cascaded SET v = 1',
        'captured',
      ),
      kind('the same: `DELETE`, or the referenced columns updated', 'DELETE FROM cascaded', 'escalates'),
      kind(
        'with a foreign key that is `DEFERRABLE` and `RESTRICT`: other columns updated',
        'UPDATE strict SET v = 1',
        'captured',
      ),
      kind('the same: `INSERT`, or its columns updated', 'INSERT INTO strict VALUES (1)', 'escalates'),
      kind(
        'with a check that calls a function which reads tables, with a `search_path` of its own',
        'DELETE FROM finding',
        'captured',
      ),
      kind('the same, without one: `DELETE`, `UPDATE`', 'DELETE FROM seeking', 'escalates'),
      kind(
        'with a constraint that is `NOT VALID`: `INSERT`, other columns updated',
        'UPDATE legacy SET w = 1',
        'captured',
      ),
      kind('the same: `DELETE`, or its columns updated', 'UPDATE legacy SET v = 1', 'escalates'),
      kind('with a domain whose check is `NOT VALID`: `DELETE`, `UPDATE`', 'UPDATE wears SET id = 1', 'escalates'),
      kind('with a check by the clock or the session: the same', 'DELETE FROM fleeting', 'escalates'),
      kind('unlogged', 'INSERT INTO volatile VALUES (1)', 'escalates'),
      kind(
        'temporary: no other session sees them, and no rollback concerns them',
        'INSERT INTO scratch VALUES (1)',
        'passes',
      ),
      kind(
        'the same, with triggers, rules, or functions behind defaults and checks',
        'INSERT INTO noisy DEFAULT VALUES',
        'escalates',
      ),
      kind(
        'a temporary one and another in one statement',
        'WITH d AS (DELETE FROM stock RETURNING id) INSERT INTO scratch SELECT id FROM d',
        'escalates',
      ),
      kind('foreign', 'INSERT INTO far VALUES (1)', 'refused'),
      kind('of the system or of Atomesh', 'DELETE FROM atomesh.row_lock', 'refused'),
      kind('views', 'UPDATE rich SET qty = 5', 'escalates'),
    ],
  },
  {
    heading: 'Hidden changes',
    kinds: [
      kind('functions that are `STABLE` or `IMMUTABLE`', 'SELECT reads()', 'passes'),
      kind('volatile functions of your own, called directly or by a view', 'SELECT * FROM trap', 'escalates'),
      kind('the same behind an operator of your own', 'SELECT 1 @+ 2', 'escalates'),
      kind('the same as a part of an aggregate', 'SELECT heap(qty) FROM stock', 'escalates'),
      kind('the same as the default of an argument', 'SELECT later(1)', 'escalates'),
      kind('the same behind a cast, or the check of a domain', 'SELECT 1::sound', 'escalates'),
      kind('the same behind the type of a column that is written', 'INSERT INTO sounds VALUES (1, 1)', 'escalates'),
      kind('the same in a policy, when a table is read', 'SELECT * FROM secret', 'escalates'),
      kind('the same in the place of a column', 'SELECT s.worth FROM stock s', 'escalates'),
      kind(
        'operators, casts and aggregates without such functions',
        'SELECT 1 + 2, sum(s.qty)::text FROM stock s',
        'passes',
      ),
      kind('large objects', 'SELECT lo_create(0)', 'escalates'),
      kind(
        'functions whose effect outlives the transaction',
        "SELECT pg_logical_emit_message(false, 'a', 'b')",
        'refused',
      ),
      kind('`EXPLAIN`', 'EXPLAIN DELETE FROM stock', 'passes'),
      kind('`EXPLAIN ANALYZE` of a change', 'EXPLAIN ANALYZE DELETE FROM stock', 'escalates'),
      kind('`PREPARE`, `DEALLOCATE`', 'PREPARE p AS DELETE FROM stock', 'passes'),
      kind('`EXECUTE` of a query, as a simple query', 'EXECUTE counts', 'passes'),
      kind('`EXECUTE` of a change, as a simple query', "EXECUTE sells ('2' || $$$$, 1)", 'captured'),
      kind('`EXECUTE` of what was prepared by a text with backslashes', 'EXECUTE odd', 'escalates'),
      kind('`DECLARE`, `FETCH`, `MOVE`, `CLOSE`', 'DECLARE c CURSOR FOR SELECT * FROM stock', 'passes'),
      kind('`DO`', 'DO $$ BEGIN DELETE FROM stock; END $$', 'escalates'),
      kind('`CALL`', 'CALL change()', 'escalates'),
      kind('`COPY … TO STDOUT`', 'COPY stock TO STDOUT', 'passes'),
      kind('`COPY … FROM STDIN`', 'COPY stock FROM STDIN', 'escalates'),
      kind('`COPY` to or from a file or a program', "COPY stock TO PROGRAM 'cat'", 'refused'),
    ],
  },
  {
    heading: 'Everything else',
    kinds: [
      kind('queries, also `FOR UPDATE` and `FOR SHARE`', 'SELECT * FROM stock FOR UPDATE', 'passes'),
      kind('sequences', "SELECT nextval('stock_id_seq')", 'passes'),
      kind('`TRUNCATE`', 'TRUNCATE stock', 'escalates'),
      kind('DDL', 'ALTER TABLE stock ADD x int', 'escalates'),
      kind('`CREATE TEMP TABLE`', 'CREATE TEMP TABLE more (id int)', 'passes'),
      kind('`SELECT INTO`, `CREATE TABLE AS`', 'SELECT * INTO copy FROM stock', 'escalates'),
      kind(
        '`VACUUM`, `CREATE DATABASE`, `ALTER SYSTEM` and others that take no part in transactions',
        'VACUUM stock',
        'refused',
      ),
      kind('`LOCK TABLE`, `LISTEN`, `NOTIFY`, advisory locks', 'SELECT pg_advisory_xact_lock(1)', 'passes'),
      kind('`PREPARE TRANSACTION`, `COMMIT PREPARED`', "PREPARE TRANSACTION 'x'", 'refused'),
      kind(
        '`SET` of `session_replication_role`, `standard_conforming_strings`, `client_encoding`',
        'SET session_replication_role = replica',
        'refused',
      ),
      kind('other settings', 'SET search_path = public', 'passes'),
    ],
  },
];

/** The fate of a kind on a version. */
export function fateOn({ fate, before }: Kind, major: Major): Fate {
  return before !== undefined && major < before.since ? before.fate : fate;
}

/** The tables of docs/statements.md. */
export function kindsTable(): string {
  return KINDS.map(({ heading, kinds }) => {
    const rows = kinds.map((item) => `| ${[item.name, ...MAJORS.map((major) => fateOn(item, major))].join(' | ')} |`);
    return `### ${heading}\n\n| statement | ${MAJORS.join(' | ')} |\n| --- | ${MAJORS.map(() => '---').join(' | ')} |\n${rows.join('\n')}\n`;
  }).join('\n');
}

/** Tables without the blanks that the formatter of the repository pads them with. */
export function squeezed(text: string): string {
  return text.replaceAll(/ +/g, ' ').replaceAll(/-{3,}/g, '---').trim();
}
