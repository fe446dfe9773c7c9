/** A schema of what images of single statements cannot show, and changes of it. */

/** Cascades, triggers of every kind, partitions, inheritance, deferred constraints, generated columns, procedures. */
export const SCHEMA = `
CREATE TABLE parent (id int PRIMARY KEY, v int, code text UNIQUE);
CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE, note text);
CREATE TABLE loose (id int PRIMARY KEY, p int REFERENCES parent ON DELETE SET NULL ON UPDATE SET NULL);
CREATE TABLE strict (id int PRIMARY KEY, p int NOT NULL REFERENCES child);
CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE audit (id bigserial PRIMARY KEY, what text);
CREATE TABLE total (id int PRIMARY KEY, n int NOT NULL);
CREATE TABLE part (id int, region text, v int, at timestamptz DEFAULT '2024-01-01Z', PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE part_eu PARTITION OF part FOR VALUES IN ('eu');
CREATE TABLE part_us (v int, region text NOT NULL, gone int, id int NOT NULL, at timestamptz);
ALTER TABLE part_us DROP COLUMN gone;
ALTER TABLE part ATTACH PARTITION part_us FOR VALUES IN ('us');
CREATE TABLE animal (id int PRIMARY KEY, name text);
CREATE TABLE dog (breed text, PRIMARY KEY (id)) INHERITS (animal);
CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a numeric, twice numeric GENERATED ALWAYS AS (a * 2) STORED, f float8, b bytea, d date, i interval);
CREATE TABLE seat (id int PRIMARY KEY, place int UNIQUE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE flip (id int PRIMARY KEY, v int, code text UNIQUE);
CREATE TABLE latest (id int PRIMARY KEY, v text);
CREATE TABLE "odd ""name" ("the key" int PRIMARY KEY, "väl'ue" text, gone int);
ALTER TABLE "odd ""name" DROP COLUMN gone;
CREATE TABLE keyless (v int);
CREATE VIEW shown AS SELECT id, v FROM parent;
CREATE VIEW joined AS SELECT c.id, c.note, p.v FROM child c JOIN parent p ON p.id = c.p;

CREATE FUNCTION log_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO audit (what) VALUES (TG_OP || ' ' || TG_TABLE_NAME); RETURN NULL; END $$;
CREATE TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON parent FOR EACH ROW EXECUTE FUNCTION log_change();
CREATE FUNCTION count_child() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO total VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET n = total.n + 1; RETURN coalesce(NEW, OLD); END $$;
CREATE TRIGGER counted BEFORE INSERT OR DELETE ON child FOR EACH ROW EXECUTE FUNCTION count_child();
CREATE FUNCTION clamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := least(NEW.v, 100); RETURN NEW; END $$;
CREATE TRIGGER clamped BEFORE INSERT OR UPDATE ON flip FOR EACH ROW EXECUTE FUNCTION clamp();
-- Changes the row that fired it, and others of its table.
CREATE FUNCTION flip_on() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.v = 50 THEN UPDATE flip SET v = 999 WHERE id = NEW.id; END IF;
  IF NEW.v = 60 THEN UPDATE flip SET v = OLD.v WHERE id = NEW.id; END IF;
  IF NEW.v = 70 THEN UPDATE flip SET code = OLD.code WHERE id = NEW.id + 1; END IF;
  RETURN NULL; END $$;
CREATE TRIGGER flipped AFTER UPDATE ON flip FOR EACH ROW EXECUTE FUNCTION flip_on();
-- Deletes what its own statement is about to insert again.
CREATE FUNCTION replace_latest() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM latest WHERE id = NEW.id; RETURN NEW; END $$;
CREATE TRIGGER replaced BEFORE INSERT ON latest FOR EACH ROW EXECUTE FUNCTION replace_latest();
CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE total SET n = n + 10 WHERE id = 9; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON latest DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late();
CREATE FUNCTION write_joined() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  UPDATE child SET note = NEW.note WHERE id = NEW.id; UPDATE parent SET v = NEW.v FROM child c WHERE c.id = NEW.id AND parent.id = c.p; RETURN NEW; END $$;
CREATE TRIGGER written INSTEAD OF UPDATE ON joined FOR EACH ROW EXECUTE FUNCTION write_joined();

CREATE FUNCTION take(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN UPDATE total SET n = total.n - take.n WHERE id = 9; RETURN n; END $$;
CREATE FUNCTION try_twice() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
  BEGIN DELETE FROM child WHERE id < 5; RAISE EXCEPTION 'no'; EXCEPTION WHEN raise_exception THEN UPDATE child SET note = 'kept'; END; RETURN 1; END $$;
CREATE PROCEDURE transfer(a int, b int) LANGUAGE plpgsql AS $$ BEGIN
  UPDATE parent SET v = v - 1 WHERE id = a; UPDATE parent SET v = v + 1 WHERE id = b; INSERT INTO audit (what) VALUES ('moved'); END $$;
CREATE FUNCTION fill() RETURNS int LANGUAGE sql AS 'INSERT INTO keyless VALUES (1) RETURNING v';
CREATE RULE noted AS ON DELETE TO strict DO ALSO INSERT INTO audit (what) VALUES ('strict');
`;

/** Rows, and sequences as they stand. */
export const DATA = `
INSERT INTO parent SELECT i, i * 10, 'c' || i FROM generate_series(1, 6) i;
INSERT INTO child SELECT i, (i + 1) / 2, 'n' || i FROM generate_series(1, 8) i;
INSERT INTO loose SELECT i, i FROM generate_series(1, 4) i;
INSERT INTO strict VALUES (1, 7);
INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 1), (4, 3), (5, 5);
INSERT INTO total VALUES (9, 100);
INSERT INTO part (id, region, v) SELECT i, CASE WHEN i % 2 = 0 THEN 'eu' ELSE 'us' END, i FROM generate_series(1, 6) i;
INSERT INTO animal SELECT i, 'a' || i FROM generate_series(1, 3) i;
INSERT INTO dog SELECT i, 'd' || i, 'b' || i FROM generate_series(11, 13) i;
INSERT INTO made (a, f, b, d, i) SELECT i * 1.10, i / 3.0, decode(lpad(to_hex(i), 4, '0'), 'hex'), date '2024-01-01' + i, make_interval(days => i) FROM generate_series(1, 4) i;
INSERT INTO seat SELECT i, i FROM generate_series(1, 5) i;
INSERT INTO flip SELECT i, i, 'f' || i FROM generate_series(1, 5) i;
INSERT INTO latest SELECT i, 'l' || i FROM generate_series(1, 4) i;
INSERT INTO "odd ""name" VALUES (1, 'it''s "x"'), (2, NULL);
`;

/** What one local transaction does. */
export const CASES: readonly (readonly [title: string, ...statements: string[]])[] = [
  ['a row is deleted with those that refer to it', 'DELETE FROM parent WHERE id = 1'],
  ['a key is changed with those that refer to it', 'UPDATE parent SET id = 70 WHERE id = 2'],
  ['references are set to null', 'DELETE FROM child WHERE p = 3', 'DELETE FROM parent WHERE id = 3'],
  ['a tree is cut', 'DELETE FROM tree WHERE id = 1'],
  ['a row that refers to itself is deleted', 'DELETE FROM tree WHERE id = 5'],
  ['a tree is built in the wrong order', 'INSERT INTO tree VALUES (20, 21)', 'INSERT INTO tree VALUES (21, 20)'],
  ['triggers write elsewhere', 'UPDATE parent SET v = v + 1 WHERE id < 4', "INSERT INTO child VALUES (50, 1, 'new')"],
  ['a trigger changes what is written', 'UPDATE flip SET v = 5000 WHERE id = 1'],
  ['a trigger changes the row that fired it', 'UPDATE flip SET v = 50 WHERE id IN (1, 2)'],
  ['a trigger takes the change back', 'UPDATE flip SET v = 60 WHERE id = 3'],
  ['a trigger hands a unique value on', "UPDATE flip SET v = 70, code = 'other' WHERE id = 1"],
  ['a trigger deletes what is inserted again', "INSERT INTO latest VALUES (1, 'again'), (2, 'again'), (9, 'new')"],
  ['the same row comes back', "INSERT INTO latest VALUES (1, 'l1')"],
  ['a deferred trigger writes at the end', "UPDATE latest SET v = 'x' WHERE id = 3"],
  ['rows are copied in by INSERT SELECT', 'INSERT INTO child SELECT id + 100, p, note FROM child WHERE id < 4'],
  [
    'an upsert inserts and updates',
    "INSERT INTO parent VALUES (1, 5, 'u1'), (90, 5, 'u90') ON CONFLICT (id) DO UPDATE SET v = excluded.v, code = excluded.code",
  ],
  [
    'unique values go round',
    "UPDATE flip SET code = 'tmp' WHERE id = 1",
    "UPDATE flip SET code = 'f1' WHERE id = 2",
    "UPDATE flip SET code = 'f2' WHERE id = 1",
  ],
  ['keys go round', 'UPDATE parent SET id = -id WHERE id IN (5, 6)', 'UPDATE parent SET id = 11 + id WHERE id < 0'],
  ['a key is freed and taken', 'DELETE FROM flip WHERE id = 1', "INSERT INTO flip VALUES (1, 3, 'f9')"],
  ['places are exchanged under a deferred constraint', 'UPDATE seat SET place = 6 - place'],
  ['rows move between partitions', "UPDATE part SET region = 'us' WHERE id = 2", 'UPDATE part SET v = v + 1'],
  [
    'partitions are named',
    'UPDATE part_us SET v = 50',
    'DELETE FROM part_eu WHERE id = 4',
    "INSERT INTO part_us VALUES (1, 'us', 33)",
  ],
  [
    'a row is changed by the partition and by the whole',
    'UPDATE part_us SET v = 7 WHERE id = 1',
    'UPDATE part SET v = 8 WHERE id = 1',
    'DELETE FROM part_us WHERE id = 1',
  ],
  [
    'heirs are changed through their parent',
    "UPDATE animal SET name = name || '!'",
    'DELETE FROM animal WHERE id IN (1, 11)',
    "INSERT INTO dog VALUES (14, 'rex', 'x')",
  ],
  ['only the parent is changed', "UPDATE ONLY animal SET name = 'x'", 'UPDATE dog SET breed = NULL WHERE id = 12'],
  [
    'generated and identity columns',
    'UPDATE made SET a = a + 1, f = -f WHERE id < 3',
    'DELETE FROM made WHERE id = 3',
    'INSERT INTO made (a) VALUES (9.90)',
    'UPDATE made SET id = DEFAULT WHERE id = 4',
  ],
  ['odd names', `UPDATE "odd ""name" SET "väl'ue" = 'y'`, `DELETE FROM "odd ""name" WHERE "the key" = 2`],
  ['a view is written', 'UPDATE shown SET v = 3 WHERE id = 4'],
  ['a view is written by its trigger', "UPDATE joined SET note = 'n', v = 4 WHERE id = 8"],
  ['a rule adds a statement', 'DELETE FROM strict'],
  ['a function writes', 'SELECT take(5), take(6)'],
  ['a function takes a part of it back', 'SELECT try_twice()'],
  ['a procedure is called', 'CALL transfer(1, 2)'],
  [
    'a block runs',
    "DO $$ BEGIN FOR i IN 1..3 LOOP UPDATE child SET note = i::text WHERE id = i; END LOOP; EXECUTE 'DELETE FROM loose'; END $$",
  ],
  ['changes in WITH', 'WITH d AS (DELETE FROM loose RETURNING id) INSERT INTO audit (what) SELECT id::text FROM d'],
  [
    'a savepoint takes a part back',
    'DELETE FROM loose WHERE id = 1',
    'SAVEPOINT s',
    'DELETE FROM loose',
    'ROLLBACK TO s',
    'UPDATE loose SET p = NULL WHERE id = 2',
  ],
  ['a statement changes nothing', 'UPDATE parent SET v = v', 'DELETE FROM parent WHERE false'],
  [
    'a row comes and goes',
    "INSERT INTO parent VALUES (80, 1, 'z')",
    'UPDATE parent SET v = 2 WHERE id = 80',
    'DELETE FROM parent WHERE id = 80',
  ],
];

/** The tables of the schema. */
export const TABLES: readonly string[] = [
  'parent',
  'child',
  'loose',
  'strict',
  'tree',
  'audit',
  'total',
  'part',
  'animal',
  'dog',
  'made',
  'seat',
  'flip',
  'latest',
  '"odd ""name"',
];
