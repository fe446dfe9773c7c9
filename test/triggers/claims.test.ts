/** Rows that triggers have recorded find the rows again that they referred to: nobody frees the keys of those before the end. */
import test from 'ava';
import type pg from 'pg';
import { until } from '../../examples/support/until.ts';
import { newGid } from '../../src/platform/random.ts';
import { change, enter, NOTHING_LEFT, openStage, RESOURCE, stopServers } from './stage.ts';

test.after.always(stopServers);

const SCHEMA = `
CREATE TABLE parent (id int PRIMARY KEY, code text UNIQUE, v int);
CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE, code text REFERENCES parent (code) ON DELETE SET NULL);
CREATE TABLE zone (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE zone_low PARTITION OF zone FOR VALUES FROM (0) TO (10);
CREATE TABLE stop (id int PRIMARY KEY, zone int REFERENCES zone);
CREATE TABLE room (id int PRIMARY KEY);
CREATE TABLE guest (id int PRIMARY KEY, room int REFERENCES room DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE animal (id int PRIMARY KEY);
CREATE TABLE dog (PRIMARY KEY (id)) INHERITS (animal);
CREATE TABLE flea (id int PRIMARY KEY, dog int REFERENCES dog);
INSERT INTO parent VALUES (1, 'a', 0), (2, 'b', 0);
INSERT INTO child VALUES (1, 1, 'a'), (2, 1, NULL);
INSERT INTO zone VALUES (1), (2);
INSERT INTO stop VALUES (1, 1);
INSERT INTO room VALUES (1);
INSERT INTO guest VALUES (1, 1);
INSERT INTO dog VALUES (1), (2);
INSERT INTO flea VALUES (1, 1);`;

/** What gives a reference up, what then has to wait, and what does not meet it. */
const CASES: readonly (readonly [gives: string, waits: string, free: string])[] = [
  ['DELETE FROM child', 'DELETE FROM parent WHERE id = 1', 'DELETE FROM parent WHERE id = 2'],
  ['UPDATE child SET p = 2', 'UPDATE parent SET id = 3 WHERE id = 1', 'UPDATE parent SET v = 1'],
  ['UPDATE child SET code = NULL', "UPDATE parent SET code = 'x' WHERE id = 1", 'INSERT INTO child VALUES (3, 1)'],
  ['DELETE FROM stop', 'DELETE FROM zone', 'DELETE FROM zone WHERE id = 2'],
  ['UPDATE stop SET zone = 2', 'DELETE FROM zone_low WHERE id = 1', 'INSERT INTO stop VALUES (2, 1)'],
  ['DELETE FROM flea', 'DELETE FROM animal', 'DELETE FROM dog WHERE id = 2'],
];

for (const major of [14, 18] as const) {
  test(`what triggers recorded finds its parents again, on PostgreSQL ${major}`, async (t) => {
    await using stage = await openStage(major, SCHEMA);
    const before = await stage.digest();
    for (const [gives, waits, free] of CASES) {
      const [holder, other] = [newGid(), newGid()];
      await change(stage.client, holder, gives);
      const error = await t.throwsAsync<pg.DatabaseError>(change(stage.client, other, waits), undefined, waits);
      t.like(error, { code: '55P03', constraint: holder }, waits);
      await change(stage.client, other, free);
      for (const gid of [holder, other])
        t.like(await stage.finisher.rollback(gid, RESOURCE), { result: 'success' }, gives);
      t.deepEqual(await stage.digest(), before, gives);
      t.is(await stage.leftovers(), NOTHING_LEFT);
    }
    // Its own claims are in nobody's way, those of a cascade among them.
    const gid = newGid();
    await change(stage.client, gid, 'DELETE FROM child WHERE id = 2', 'DELETE FROM parent WHERE id = 1');
    t.like(await stage.finisher.rollback(gid, RESOURCE), { result: 'success' });
    t.deepEqual(await stage.digest(), before);
  });

  test(`a cascade that waits for a reference being given up hears of the claim, on PostgreSQL ${major}`, async (t) => {
    await using stage = await openStage(major, SCHEMA);
    const [one, two] = [await stage.open(), await stage.open()];
    const [a, b] = [newGid(), newGid()];
    await one.query('BEGIN');
    await enter(one, a);
    await one.query('DELETE FROM child');
    const waiting = t.throwsAsync<pg.DatabaseError>(change(two, b, 'DELETE FROM parent WHERE id = 1'));
    const pid = (two as unknown as { readonly processID: number }).processID;
    await until('the cascade waits', async () => {
      const { rows } = await stage.client.query('SELECT cardinality(pg_blocking_pids($1)) > 0 AS waits', [pid]);
      return (rows[0] as { readonly waits: boolean }).waits ? true : undefined;
    });
    await one.query('COMMIT');
    t.like(await waiting, { code: '55P03', constraint: a });
    t.like(await stage.finisher.rollback(a, RESOURCE), { result: 'success' });
  });

  test(`where a foreign key is looked at late, triggers ask again at COMMIT, on PostgreSQL ${major}`, async (t) => {
    await using stage = await openStage(major, SCHEMA);
    const [one, two] = [await stage.open(), await stage.open()];
    const [a, b] = [newGid(), newGid()];
    await two.query('BEGIN');
    await enter(two, b);
    await two.query('DELETE FROM room');
    await change(one, a, 'DELETE FROM guest');
    t.like(await t.throwsAsync<pg.DatabaseError>(two.query('COMMIT')), { code: '40001' });
    t.like(await stage.finisher.rollback(a, RESOURCE), { result: 'success' });
  });
}
