/** Changes of tables of every kind: each with its fate. */
import { kind, type KindGroup } from './kind.ts';

const ZERO = ["SET sql_mode = ''"];

export const TABLE_KINDS: readonly KindGroup[] = [
  {
    heading: 'Tables',
    kinds: [
      kind('with a key of several columns', "UPDATE pairs SET v = v + 1 WHERE b = 'x'", 'captured'),
      kind(
        'without a primary key, with a unique index over columns that are `NOT NULL`',
        'UPDATE uniquely SET v = 5',
        'captured',
      ),
      kind('without either: changed', 'UPDATE keyless SET w = 2 WHERE v = 1', 'escalates'),
      kind('with a unique index that takes `NULL` alone', 'DELETE FROM maybe', 'escalates'),
      kind('partitioned', 'UPDATE parted SET v = v + 1', 'captured'),
      kind('partitioned, one of its partitions', 'DELETE FROM parted PARTITION (low)', 'captured'),
      kind('with generated columns, stored or virtual', 'UPDATE computed SET v = v + 10', 'captured'),
      kind('the same: inserted into', 'INSERT INTO computed (id, v) VALUES (5, 5)', 'captured'),
      kind('with `ON UPDATE CURRENT_TIMESTAMP`', 'UPDATE stamped SET v = 9 WHERE id = 1', 'captured'),
      kind('referred to by foreign keys that restrict: inserted, updated', 'UPDATE parent SET v = 7', 'captured'),
      kind('the same: deleted', 'DELETE FROM parent WHERE id = 3', 'captured'),
      kind('that refer: inserted, updated, deleted', 'UPDATE child SET p = 2', 'captured'),
      kind('that refer to themselves', 'DELETE FROM self WHERE id = 2', 'captured'),
      kind(
        'that `CASCADE` or `SET NULL` refers to: inserted, other columns updated',
        'UPDATE cascaded SET v = 5',
        'captured',
      ),
      kind('the same: deleted', 'DELETE FROM cascaded WHERE id = 1', 'escalates'),
      kind('the same: the referenced columns updated', 'UPDATE cascaded SET code = 11 WHERE id = 1', 'escalates'),
      kind('with triggers on the change, or on what would take it back', 'UPDATE watched SET v = 5', 'escalates'),
      kind('inserted into, with a trigger on deletion', 'INSERT INTO counted VALUES (9, 9)', 'escalates'),
      kind('with triggers on other changes', 'DELETE FROM watched WHERE id = 1', 'captured'),
      kind('`REPLACE` into a table with a trigger on `UPDATE`', 'REPLACE INTO watched VALUES (1, 7)', 'escalates'),
      kind('views', 'UPDATE rich SET qty = 1', 'escalates'),
      kind('temporary tables of the session', 'INSERT INTO scratch VALUES (1)', 'passes', {
        first: ['CREATE TEMPORARY TABLE scratch (id int PRIMARY KEY)'],
      }),
      kind('temporary tables that hide another', 'UPDATE hidden SET v = 5', 'passes', {
        first: ['CREATE TEMPORARY TABLE hidden (id int PRIMARY KEY, v int)', 'INSERT INTO hidden VALUES (1, 1)'],
      }),
      kind('of another engine than InnoDB (MyISAM, Aria, MEMORY)', 'UPDATE isam SET v = 2', 'refused'),
      kind(
        '`mysql`, `atomesh` and other databases of the server',
        "UPDATE mysql.user SET plugin = 'x' WHERE user = 'nobody'",
        'refused',
      ),
      kind('with `SYSTEM VERSIONING`', 'UPDATE versioned SET v = 2', ['escalates', '—']),
    ],
  },
  {
    heading: 'Types and keys',
    kinds: [
      kind(
        'every type of column: `UNSIGNED BIGINT`, `DECIMAL(65,30)`, `BIT`, `SET`, `ENUM`, `JSON`, binary, dates and times',
        'UPDATE typed SET ratio = 0.25, year = 1999 WHERE id > 0',
        'captured',
        { first: ZERO },
      ),
      kind('the same: deleted', 'DELETE FROM typed', 'captured', { first: ZERO }),
      kind('zero dates', "UPDATE typed SET ratio = 7 WHERE day = '0000-00-00'", 'captured', { first: ZERO }),
      kind('zero dates as a key', 'UPDATE dated SET v = 5 WHERE v = 1', 'captured', { first: ZERO }),
      kind('texts as a key, found by another spelling', "UPDATE named SET v = 5 WHERE name = 'ANN'", 'captured'),
      kind('the same: its spelling changed', "UPDATE named SET name = 'ANN' WHERE name = 'ann'", 'captured'),
      kind(
        'the same: inserted by another spelling than is stored',
        "INSERT INTO named VALUES ('ANN', 7) ON DUPLICATE KEY UPDATE v = 7",
        'captured',
      ),
      kind('`UUID` and `INET6`', "UPDATE identified SET address = '::2', v = 9", ['captured', '—']),
      kind('`FLOAT` or `DOUBLE` as the only key', 'UPDATE floating SET v = 5', 'escalates'),
      kind('geometries', "UPDATE located SET place = ST_GeomFromText('POINT(3 4)')", 'captured'),
    ],
  },
];
