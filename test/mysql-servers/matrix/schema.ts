/** The tables of the statements that docs/mysql-statements.md lists, and the rows that each of them finds. */

/** Tables and what belongs to them, for a database that is selected. */
export const SCHEMA = `
CREATE TABLE stock (id int PRIMARY KEY, code varchar(20) NOT NULL UNIQUE, qty int NOT NULL, price decimal(10,2));
CREATE TABLE numbered (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, code varchar(20) UNIQUE, v int);
CREATE TABLE pairs (a int, b varchar(10), v int, PRIMARY KEY (a, b));
CREATE TABLE parent (id int PRIMARY KEY, v int);
CREATE TABLE child (id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES parent (id));
CREATE TABLE self (id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES self (id));
CREATE TABLE cascaded (id int PRIMARY KEY, code int UNIQUE, v int);
CREATE TABLE cascading (id int PRIMARY KEY, p int, c int,
  FOREIGN KEY (p) REFERENCES cascaded (id) ON DELETE CASCADE, FOREIGN KEY (c) REFERENCES cascaded (code) ON UPDATE SET NULL);
CREATE TABLE log (n int);
CREATE TABLE watched (id int PRIMARY KEY, v int);
CREATE TRIGGER watched_update AFTER UPDATE ON watched FOR EACH ROW INSERT INTO log (n) VALUES (NEW.id);
CREATE TABLE counted (id int PRIMARY KEY, v int);
CREATE TRIGGER counted_delete BEFORE DELETE ON counted FOR EACH ROW INSERT INTO log (n) VALUES (OLD.id);
CREATE TABLE computed (id int PRIMARY KEY, v int, doubled int GENERATED ALWAYS AS (v * 2) STORED UNIQUE, seen int GENERATED ALWAYS AS (v + 1) VIRTUAL);
CREATE TABLE stamped (id int PRIMARY KEY, v int, at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3));
CREATE TABLE named (name varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY, v int);
CREATE TABLE typed (id bigint unsigned PRIMARY KEY, day date, moment datetime(6), span time(3), flags bit(12), doc json,
  tags set('a','b','c'), size enum('s','m','l'), amount decimal(65,30), bytes varbinary(20), ratio double, year year);
CREATE TABLE floating (id float PRIMARY KEY, v int);
CREATE TABLE dated (day date PRIMARY KEY, v int);
CREATE TABLE keyless (v int, w int);
CREATE TABLE uniquely (k int NOT NULL UNIQUE, v int);
CREATE TABLE maybe (k int UNIQUE, v int);
CREATE TABLE isam (id int PRIMARY KEY, v int) ENGINE = MyISAM;
CREATE TABLE parted (id int PRIMARY KEY, v int) PARTITION BY RANGE (id) (PARTITION low VALUES LESS THAN (3), PARTITION high VALUES LESS THAN MAXVALUE);
CREATE TABLE located (id int PRIMARY KEY, place point);
CREATE VIEW rich AS SELECT id, qty FROM stock WHERE qty > 0;
CREATE TABLE hidden (id int PRIMARY KEY, v int);
CREATE PROCEDURE raise(which int) UPDATE stock SET qty = qty + 1 WHERE id = which;
CREATE FUNCTION bump(which int) RETURNS int DETERMINISTIC MODIFIES SQL DATA
  BEGIN UPDATE parent SET v = v + 1 WHERE id = 3; RETURN which + 1; END;
CREATE FUNCTION twice(n int) RETURNS int DETERMINISTIC NO SQL RETURN n * 2;
CREATE VIEW bumping AS SELECT id, bump(qty) AS qty FROM stock WHERE id = 1;
`;

/** What MariaDB alone has. */
export const MARIADB_SCHEMA = `
CREATE TABLE versioned (id int PRIMARY KEY, v int) WITH SYSTEM VERSIONING;
CREATE TABLE identified (id uuid PRIMARY KEY, address inet6, v int);
CREATE SEQUENCE numbers;
`;

const ROWS: Readonly<Record<string, string>> = {
  stock: "(1, 'a', 10, 1.5), (2, 'b', 20, NULL), (3, 'c', 30, 3), (4, 'd', 0, 4), (5, 'e', -5, 0)",
  numbered: "(1, 'a', 1), (2, 'b', 2), (3, NULL, 3)",
  pairs: "(1, 'x', 1), (1, 'y', 2), (2, 'x', 3)",
  parent: '(1, 1), (2, 2), (3, 3)',
  child: '(1, 1), (2, 1), (3, NULL)',
  self: '(1, NULL), (2, 1), (3, 3)',
  cascaded: '(1, 10, 1), (2, 20, 2)',
  cascading: '(1, 1, 10), (2, 2, NULL)',
  watched: '(1, 1), (2, 2)',
  counted: '(1, 1), (2, 2)',
  'computed (id, v)': '(1, 1), (2, 2)',
  stamped: "(1, 1, '2020-01-01 00:00:00.125'), (2, 2, '2020-01-02 00:00:00')",
  named: "('Ann', 1), ('bob', 2)",
  typed: `(18446744073709551615, '2024-02-29', '2024-02-29 23:59:59.999999', '-838:59:58.999', b'101010101010', '{"b": [1, 2.50, "ü"], "a": null}', 'a,c', 'm',
    -12345678901234567890123456789012345.123456789012345678901234567890, x'00ff27', 0.1, 2024), (0, '0000-00-00', '2024-00-10 00:00:00', NULL, NULL, NULL, '', NULL, NULL, NULL, -0.0, NULL)`,
  floating: '(0.1, 1)',
  dated: "('0000-00-00', 1), ('2024-02-29', 2)",
  keyless: '(1, 1), (1, 1)',
  uniquely: '(1, 1), (2, 2)',
  maybe: '(1, 1), (NULL, 2)',
  isam: '(1, 1)',
  parted: '(1, 1), (5, 5)',
  located: "(1, ST_GeomFromText('POINT(1 2)'))",
  hidden: '(1, 1)',
};

const MARIADB_ROWS: Readonly<Record<string, string>> = {
  versioned: '(1, 1)',
  identified: "('123e4567-e89b-12d3-a456-426655440000', '::1', 1), ('123e4567-e89b-12d3-a456-426655440001', NULL, 2)",
};

const rowsOf = (isMariadb: boolean): Readonly<Record<string, string>> => ({
  ...ROWS,
  ...(isMariadb ? MARIADB_ROWS : {}),
  log: '(1)',
});

/** The tables of which the rows are compared. */
export function tablesOf(isMariadb: boolean): readonly string[] {
  return Object.keys(rowsOf(isMariadb)).map((into) => into.replace(/ .*/, ''));
}

/** Puts the rows of these tables of a database back as they were at first, and the numbers that the server gives out. */
export function resetSql(database: string, tables: readonly string[], isMariadb: boolean): string {
  // Deletions fire triggers, which write into the last of the tables.
  const rows = Object.entries(rowsOf(isMariadb)).filter(([into]) => tables.includes(into.replace(/ .*/, '')));
  const texts = rows.flatMap(([into, values]) => [
    `DELETE FROM ${into.replace(/ .*/, '')}`,
    `INSERT INTO ${into} VALUES ${values}`,
  ]);
  const numbers = tables.includes('numbered') ? ['ALTER TABLE numbered AUTO_INCREMENT = 100'] : [];
  return [`USE ${database}`, "SET sql_mode = '', foreign_key_checks = 0", ...texts, ...numbers].join('; ');
}
