/** Changes of rows: each kind with its fate. */
import { kind, type KindGroup } from './kind.ts';

export const CHANGES: readonly KindGroup[] = [
  {
    heading: 'UPDATE and DELETE',
    kinds: [
      kind('`UPDATE`', 'UPDATE stock SET qty = qty + 1, price = NULL WHERE id < 3', 'captured'),
      kind('`UPDATE … ORDER BY … LIMIT`', 'UPDATE stock SET qty = 0 ORDER BY qty DESC LIMIT 2', 'captured'),
      kind('`UPDATE IGNORE`', "UPDATE IGNORE stock SET code = 'a', qty = 7 WHERE id IN (1, 2)", 'captured'),
      kind('`UPDATE` of a unique value', "UPDATE stock SET code = concat('n', id)", 'captured'),
      kind(
        '`UPDATE` that assigns the key, and leaves or exchanges it',
        'UPDATE stock SET id = id, qty = 1',
        'captured',
      ),
      kind('`UPDATE` that changes the key', 'UPDATE stock SET id = id + 100', 'escalates'),
      kind(
        '`UPDATE` with a subquery',
        'UPDATE stock SET qty = (SELECT max(v) FROM parent) WHERE id IN (SELECT p FROM child)',
        'captured',
      ),
      kind(
        '`UPDATE` with `now()`, `rand()` and the like',
        'UPDATE stock SET qty = unix_timestamp() + floor(rand(7) * 100) WHERE id = 1',
        'captured',
        { isTextOnly: true },
      ),
      kind(
        '`UPDATE` of several tables',
        'UPDATE stock s JOIN parent p ON p.id = s.id SET s.qty = 9, p.v = 9',
        'captured',
      ),
      kind(
        '`UPDATE` of one table by another or by a derived one',
        'UPDATE stock s, (SELECT id, v FROM parent) d SET s.qty = d.v + 50 WHERE s.id = d.id',
        'captured',
      ),
      kind('`UPDATE` whose condition sets a variable', 'UPDATE stock SET qty = 3 WHERE (@n := id) = 1', 'escalates'),
      kind('`DELETE`', 'DELETE FROM stock WHERE qty > 0', 'captured'),
      kind('`DELETE … ORDER BY … LIMIT`', 'DELETE FROM stock ORDER BY qty LIMIT 2', 'captured'),
      kind('`DELETE` from several tables', 'DELETE s, u FROM stock s JOIN uniquely u ON u.k = s.id', 'captured'),
      kind(
        '`DELETE … USING`',
        'DELETE FROM s USING stock s LEFT JOIN uniquely u ON u.k = s.id WHERE u.k IS NULL',
        'captured',
      ),
      kind('`DELETE … RETURNING`', 'DELETE FROM stock WHERE id < 3 RETURNING id, qty * 2 AS q', ['captured', '—'], {
        isTextOnly: true,
      }),
      kind(
        '`WITH` in front of `UPDATE` or `DELETE`',
        'WITH c AS (SELECT 1 AS id) DELETE FROM stock WHERE id IN (SELECT id FROM c)',
        ['—', 'escalates'],
      ),
    ],
  },
  {
    heading: 'INSERT and REPLACE',
    kinds: [
      kind(
        '`INSERT … VALUES`, one row or many',
        "INSERT INTO stock VALUES (8, 'x', 1, 2), (9, 'y', 2, DEFAULT)",
        'captured',
      ),
      kind('`INSERT … SET`', "INSERT INTO stock SET id = 8, code = 'x', qty = 1 + 1", 'captured'),
      kind(
        '`INSERT` of rows that the server numbers',
        "INSERT INTO numbered (code, v) VALUES ('x', 1), ('y', 2)",
        'captured',
      ),
      kind(
        '`INSERT` of some rows with a number of their own and some without',
        'INSERT INTO numbered (id, v) VALUES (50, 1), (NULL, 2)',
        'escalates',
      ),
      kind(
        '`INSERT` of a key that only the server can say',
        'INSERT INTO pairs VALUES (7, left(sha2(version(), 256), 8), 1)',
        'escalates',
        { isTextOnly: true },
      ),
      kind(
        '`INSERT … SELECT` into a table whose keys are given',
        "INSERT INTO stock SELECT id + 50, concat('n', id), v, NULL FROM parent",
        'escalates',
      ),
      kind(
        '`INSERT … SELECT` into one that the server numbers, with `innodb_autoinc_lock_mode` below 2',
        "INSERT INTO numbered (code, v) SELECT concat('n', id), v FROM parent",
        ['captured', '—'],
      ),
      kind(
        'the same with 2, the default of MySQL 8',
        "INSERT INTO numbered (code, v) SELECT concat('n', id), v FROM parent",
        ['—', 'escalates'],
      ),
      kind(
        '`INSERT … RETURNING`',
        "INSERT INTO numbered (code, v) VALUES ('x', 1) RETURNING id, v + 1 AS w",
        ['captured', '—'],
        { isTextOnly: true },
      ),
      kind(
        '`INSERT IGNORE`',
        "INSERT IGNORE INTO stock VALUES (1, 'x', 1, 1), (8, 'a', 1, 1), (9, 'z', 1, 1)",
        'captured',
      ),
      kind(
        '`… ON DUPLICATE KEY UPDATE`, the row is new',
        "INSERT INTO stock VALUES (8, 'x', 1, 1) ON DUPLICATE KEY UPDATE qty = qty + VALUES(qty)",
        'captured',
      ),
      kind(
        'the same, it exists under some unique key',
        "INSERT INTO stock VALUES (8, 'a', 1, 1) ON DUPLICATE KEY UPDATE qty = qty + VALUES(qty)",
        'captured',
      ),
      kind(
        'the same, of several rows, which exist or not',
        "INSERT INTO pairs VALUES (1, 'x', 5), (9, 'x', 6) ON DUPLICATE KEY UPDATE v = v + VALUES(v)",
        'captured',
      ),
      kind(
        'the same, of rows that the server numbers',
        "INSERT INTO numbered (code, v) VALUES ('a', 5) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), v = VALUES(v)",
        'captured',
      ),
      kind(
        'the same, that changes the key',
        "INSERT INTO stock VALUES (1, 'x', 1, 1) ON DUPLICATE KEY UPDATE id = 77",
        'escalates',
      ),
      kind('`REPLACE`, the row is new', "REPLACE INTO stock VALUES (8, 'x', 1, 1)", 'captured'),
      kind('`REPLACE` of one row or of several', "REPLACE INTO stock VALUES (1, 'b', 1, 1)", 'captured'),
      kind('upserts with `SELECT`', "REPLACE INTO stock SELECT id, concat('n', id), v, NULL FROM parent", 'escalates'),
      kind(
        'upserts whose unique values the server would have to say',
        'INSERT IGNORE INTO pairs VALUES (7, left(sha2(version(), 256), 8), 1)',
        'escalates',
        { isTextOnly: true },
      ),
      kind(
        'upserts into a table with a unique generated column',
        'REPLACE INTO computed (id, v) VALUES (1, 5)',
        'escalates',
      ),
      kind('upserts with `RETURNING`', "REPLACE INTO stock VALUES (1, 'x', 1, 1) RETURNING id", ['escalates', '—']),
      kind('`LOAD DATA`', "LOAD DATA INFILE '/dev/null' INTO TABLE stock", 'escalates', { isTextOnly: true }),
      kind('`LOAD DATA LOCAL`', "LOAD DATA LOCAL INFILE '/dev/null' INTO TABLE stock", 'refused', { isTextOnly: true }),
    ],
  },
];
