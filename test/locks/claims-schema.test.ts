/** The tables of claims: who may write to them, and how a schema of an earlier version gets them. */
import test from 'ava';
import { checkSchema, initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { newGid } from '../../src/platform/random.ts';
import { RESOURCE, change, failure, openWorld, stopServers } from '../branch/branch-world.ts';
import { openCapturedSession } from '../undo/captured-session.ts';

test.after.always(stopServers);

const SCHEMA = `
CREATE TABLE customer (id int PRIMARY KEY);
CREATE TABLE purchase (id int PRIMARY KEY, customer int REFERENCES customer);
INSERT INTO customer VALUES (1), (2);
INSERT INTO purchase VALUES (1, 1), (2, 2);`;

/** What version 8 has added. */
const VERSION_7 = `
DROP TABLE atomesh.parent_claim, atomesh.freed_key;
DROP FUNCTION atomesh.meet_parent_claims(), atomesh.keys_are_free(oid[], text[], text, text[], boolean);
COMMENT ON SCHEMA atomesh IS 'Atomesh, schema version 7'`;

for (const major of [14, 18] as const) {
  test(`a schema of version 7 is brought up to date with branches in it, on PostgreSQL ${major}`, async (t) => {
    await using world = await openWorld(major);
    await world.outside(SCHEMA);
    const session = await world.open();
    const [old, gid, other] = [newGid(), newGid(), newGid()];
    await change(session, old, 'DELETE FROM purchase WHERE id = 2');
    await world.outside(VERSION_7);
    const connection = { connectionString: world.url };
    t.like(await t.throwsAsync(checkSchema(connection)), { code: 'BAD_REQUEST' });
    for (let round = 0; round < 2; round += 1) await initialiseDatabase(connection);
    await t.notThrowsAsync(checkSchema(connection));
    await change(session, gid, 'DELETE FROM purchase WHERE id = 1');
    t.like(await failure(change(session, other, 'DELETE FROM customer WHERE id = 1')), { constraint: gid });
    await session.rollback();
    await initialiseDatabase(connection);
    for (const each of [old, gid]) t.like(await world.finisher.rollback(each, RESOURCE), { result: 'success' });
    const { rows } = await session.client.query('SELECT id FROM purchase UNION ALL SELECT 0 FROM atomesh.parent_claim');
    t.is(rows.length, 2);
  });
}

test('claims take no rights but to add to them, and nobody adds one that excludes others', async (t) => {
  await using world = await openWorld();
  await world.outside(`${SCHEMA} CREATE ROLE clerk LOGIN; GRANT SELECT, DELETE ON purchase, customer TO clerk`);
  await initialiseDatabase({ connectionString: world.url }, { grantTo: 'clerk' });
  await using session = await openCapturedSession(world.url.replace('postgres@', 'clerk@'), { resource: RESOURCE });
  const [gid, other] = [newGid(), newGid()];
  await change(session, gid, 'DELETE FROM purchase WHERE id = 1');
  t.like(await failure(change(session, other, 'DELETE FROM customer WHERE id = 1')), {
    code: '55P03',
    constraint: gid,
  });
  await session.rollback();
  await change(session, other, 'DELETE FROM purchase WHERE id = 2', 'DELETE FROM customer WHERE id = 2');
  for (const sql of [
    'SELECT FROM atomesh.parent_claim',
    'DELETE FROM atomesh.parent_claim',
    "UPDATE atomesh.parent_claim SET gid = 'x'",
    "INSERT INTO atomesh.parent_claim (relation, key, gid, resource, all_places) VALUES (1, '1', 'x', 'y', true)",
    'DELETE FROM atomesh.freed_key',
  ]) {
    t.like(await failure(session.client.query(sql)), { code: '42501' }, sql);
  }
  for (const each of [gid, other]) t.like(await world.finisher.rollback(each, RESOURCE), { result: 'success' });
});
