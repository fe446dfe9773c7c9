/** Statements that are no changes by themselves: each with its fate. */
import { kind, type KindGroup } from './kind.ts';

const text = { isTextOnly: true };

export const OTHERS: readonly KindGroup[] = [
  {
    heading: 'Queries',
    kinds: [
      kind(
        '`SELECT`, `WITH`, `SHOW`, `EXPLAIN`, `USE`, `DO`',
        'WITH c AS (SELECT id FROM stock) SELECT count(*) FROM c',
        'passes',
      ),
      kind('`VALUES`', 'VALUES (1, 2), (3, 4)', ['passes', '—'], text),
      kind(
        '`SELECT … FOR UPDATE`, `FOR SHARE`, `LOCK IN SHARE MODE`',
        'SELECT id, qty FROM stock WHERE id < 3 FOR UPDATE',
        'passes',
      ),
      kind(
        'the same with `NOWAIT` or `SKIP LOCKED`',
        'SELECT id FROM stock WHERE qty > 0 FOR UPDATE SKIP LOCKED',
        'passes',
      ),
      kind('the same with joins', 'SELECT s.id, p.v FROM stock s JOIN parent p USING (id) FOR UPDATE', 'passes'),
      kind(
        'the same with `DISTINCT`, `GROUP BY`, `UNION` or a derived table',
        'SELECT DISTINCT qty FROM stock FOR UPDATE',
        'escalates',
      ),
      kind('the same of a view', 'SELECT id FROM rich FOR UPDATE', 'escalates'),
      kind('`SELECT … INTO @variable`', 'SELECT max(id) INTO @most FROM stock', 'passes', text),
      kind('`SELECT … INTO OUTFILE`', "SELECT 1 INTO OUTFILE '/nowhere/x'", 'refused', text),
      kind(
        'functions of the server',
        'SELECT upper(code), last_insert_id(), json_object(id, qty) IS NULL FROM stock',
        'passes',
      ),
      kind('stored functions, and functions that the sidecar does not know', 'SELECT twice(2)', 'escalates'),
      kind('a change that calls one', 'UPDATE stock SET qty = bump(qty)', 'escalates'),
      kind('views', 'SELECT id FROM rich', 'passes'),
      kind('views that call stored functions', 'SELECT qty FROM bumping', 'escalates'),
      kind('a change that reads one', 'UPDATE named SET v = (SELECT max(qty) FROM bumping)', 'escalates'),
      kind('`NEXTVAL` of a sequence', 'SELECT nextval(numbers) > 0', ['passes', '—'], text),
      kind('`HANDLER`', 'HANDLER stock OPEN', 'passes', text),
      kind('`ANALYZE` of a change', 'ANALYZE UPDATE stock SET qty = 1', ['escalates', '—'], text),
    ],
  },
  {
    heading: 'Sessions and local transactions',
    kinds: [
      kind('`SAVEPOINT`, `ROLLBACK TO`, `RELEASE`', 'ROLLBACK TO one', 'passes', {
        ...text,
        ahead: ['SAVEPOINT one'],
      }),
      kind(
        '`SET` of variables of the session',
        "SET @a = 1, sql_mode = 'ANSI_QUOTES', @@session.time_zone = '+01:00'",
        'passes',
        text,
      ),
      kind('`SET autocommit` while a local transaction is open', 'SET autocommit = 0', 'refused', text),
      kind(
        '`SET GLOBAL`, `SET PERSIST`, `SET PASSWORD`, `SET ROLE`',
        'SET GLOBAL max_connections = 201',
        'refused',
        text,
      ),
      kind(
        '`SET STATEMENT … FOR`',
        'SET STATEMENT max_statement_time = 10 FOR UPDATE stock SET qty = 1',
        ['escalates', '—'],
        text,
      ),
      kind('`PREPARE`, `DEALLOCATE`', "PREPARE one FROM 'UPDATE stock SET qty = 1'", 'passes', text),
      kind('`EXECUTE` of what was prepared by SQL', 'EXECUTE one', 'escalates', {
        ...text,
        first: ["PREPARE one FROM 'UPDATE stock SET qty = 1'"],
      }),
      kind('`EXECUTE IMMEDIATE`', "EXECUTE IMMEDIATE 'UPDATE stock SET qty = 1'", ['escalates', '—'], text),
      kind('`CALL`', 'CALL raise(1)', 'escalates', text),
      kind('`BEGIN NOT ATOMIC … END`', 'BEGIN NOT ATOMIC UPDATE stock SET qty = 1; END', ['refused', '—'], text),
      kind('comments that the server runs', '/*!50000 UPDATE */ stock SET qty = 1', 'refused', text),
      kind('`LOCK TABLES`, `UNLOCK TABLES`, `FLUSH`', 'LOCK TABLES stock WRITE', 'refused', text),
      kind('`CREATE`, `ALTER`, `DROP`, `TRUNCATE`, `RENAME`, rights', 'CREATE TABLE more (id int)', 'refused', text),
      kind('`CREATE TEMPORARY TABLE`, `DROP TEMPORARY TABLE`', 'CREATE TEMPORARY TABLE more (id int)', 'refused', text),
      kind('`XA`', "XA START 'x'", 'refused', text),
      kind('`KILL`, `SHUTDOWN`, `INSTALL`, replication', 'KILL 1', 'refused', text),
    ],
  },
];
