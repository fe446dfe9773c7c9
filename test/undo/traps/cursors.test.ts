import test from 'ava';
import type { FrontendMessage } from '../../../proxy/postgres/wire/messages.ts';
import { commented, proveScript, startShopMesh, type Script } from '../../sql-e2e/prove.ts';
import { openWire, say } from '../../sql-e2e/wire-client.ts';

/** What is said in a block, one simple query after the other. */
const inBlock =
  (...texts: readonly string[]): Script =>
  (wire, gid) =>
    wire.ask(...[commented('BEGIN', gid), ...texts, 'COMMIT'].map(say.query));

const LOCKING = 'DECLARE c CURSOR FOR SELECT * FROM item ORDER BY id FOR UPDATE';

const DELETING: Readonly<Record<string, Script>> = {
  'a cursor that locks its rows, and a change of them by their key': inBlock(
    LOCKING,
    'FETCH 2 FROM c',
    'UPDATE item SET qty = 50 WHERE id = 1 RETURNING *',
    'FETCH c',
    'UPDATE item SET code = code || $$!$$ WHERE id IN (2, 3)',
    'MOVE 1 IN c',
    'DELETE FROM item WHERE id = 4',
    'FETCH ALL FROM c',
    'CLOSE c',
  ),
  'a deletion at a cursor': inBlock(
    'DECLARE "a Cursor" CURSOR FOR SELECT id FROM item WHERE id > 2 ORDER BY id FOR UPDATE',
    'FETCH "a Cursor"',
    'DELETE FROM item WHERE CURRENT OF "a Cursor" RETURNING id, code',
    'DELETE FROM item WHERE CURRENT OF "a Cursor"',
    'FETCH "a Cursor"',
    'DELETE FROM item AS i WHERE CURRENT OF "a Cursor"',
  ),
  'a deletion where there is no row, and no cursor': inBlock(
    LOCKING,
    'SAVEPOINT s',
    'DELETE FROM item WHERE CURRENT OF c',
    'ROLLBACK TO s',
    'FETCH ALL FROM c',
    'SAVEPOINT s',
    'DELETE FROM item WHERE CURRENT OF c',
    'ROLLBACK TO s',
    'DELETE FROM item WHERE CURRENT OF missing',
  ),
  'a cursor that outlives a change that failed': inBlock(
    LOCKING,
    'FETCH c',
    'SAVEPOINT s',
    'UPDATE item SET code = $$c2$$ WHERE id = 1',
    'ROLLBACK TO s',
    'FETCH c',
    'UPDATE item SET qty = 5 WHERE id = 2',
  ),
  'the portal of a driver as a cursor': async (wire, gid) => [
    ...(await wire.ask(say.query(commented('BEGIN', gid)))),
    ...(await wire.ask(
      say.parse('SELECT id FROM item ORDER BY id FOR UPDATE'),
      say.bind([], '', 'rows'),
      say.execute(2, 'rows'),
      say.sync,
    )),
    ...(await wire.ask(...say.run('DELETE FROM item WHERE CURRENT OF rows RETURNING id'), say.sync)),
    ...(await wire.ask(say.execute(1, 'rows'), say.sync, say.query('DELETE FROM item WHERE CURRENT OF rows'))),
    ...(await wire.ask(say.query('COMMIT'))),
  ],
};

/** Opens a block and binds a change whose rows are asked for in portions. */
const bound = (gid: string, sql: string, ...messages: readonly FrontendMessage[]): readonly FrontendMessage[] => [
  say.query(commented('BEGIN', gid)),
  say.parse(sql),
  say.bind([], '', 'p'),
  say.describe('p'),
  ...messages,
];

const ALL = 'UPDATE item SET qty = qty + 100 RETURNING id, qty';
const WITH = 'WITH d AS (DELETE FROM item WHERE id > 1 RETURNING id) SELECT id FROM d ORDER BY id';

const PORTIONS: Readonly<Record<string, Script>> = {
  'rows of an update in portions, the last one short': async (wire, gid) => [
    ...(await wire.ask(...bound(gid, ALL, say.execute(4, 'p'), say.sync))),
    ...(await wire.ask(say.query('SELECT min(qty) FROM item'), say.execute(4, 'p'), say.sync)),
    ...(await wire.ask(say.execute(4, 'p'), say.sync, say.query('COMMIT'))),
  ],
  'rows of a deletion in portions without a remainder, and one behind the end': async (wire, gid) => [
    ...(await wire.ask(...bound(gid, 'DELETE FROM item WHERE id <= 4 RETURNING *', say.execute(2, 'p'), say.sync))),
    ...(await wire.ask(say.execute(2, 'p'), say.execute(2, 'p'), say.execute(2, 'p'), say.sync)),
    ...(await wire.ask(say.query('COMMIT'))),
  ],
  'portions of several changes in turn, all in one pipeline': (wire, gid) =>
    wire.ask(
      ...bound(gid, ALL, say.execute(1, 'p')),
      say.parse(WITH, 'w'),
      say.bind([], 'w', 'q'),
      say.execute(2, 'q'),
      say.execute(3, 'p'),
      say.execute(1, 'q'),
      say.describe('q'),
      say.execute(0, 'q'),
      say.execute(0, 'p'),
      say.execute(0, 'p'),
      say.sync,
      say.query('COMMIT'),
    ),
  'a part of the rows, and then the portal is closed': async (wire, gid) => [
    ...(await wire.ask(...bound(gid, ALL, say.execute(4, 'p'), say.close('p', 'portal'), say.sync))),
    ...(await wire.ask(say.query('ROLLBACK'))),
    ...(await wire.ask(...bound(gid, ALL, say.execute(1, 'p'), say.close('p', 'portal'), say.sync))),
    ...(await wire.ask(say.query('COMMIT'))),
  ],
  'a portal that a rollback to a savepoint takes with it': async (wire, gid) => [
    ...(await wire.ask(say.query(commented('BEGIN', gid)), say.query('SAVEPOINT s'))),
    ...(await wire.ask(say.parse(ALL, 's'), say.bind([], 's', 'p'), say.execute(2, 'p'), say.sync)),
    ...(await wire.ask(say.query('ROLLBACK TO s'), say.execute(2, 'p'), say.sync)),
    ...(await wire.ask(say.query('ROLLBACK TO s'), say.query('UPDATE item SET qty = 1 WHERE id = 2'))),
    ...(await wire.ask(say.query('COMMIT'))),
  ],
  'a portion in a block that has failed, and rows without a block': async (wire, gid) => [
    ...(await wire.ask(...bound(gid, ALL, say.execute(2, 'p'), say.sync))),
    ...(await wire.ask(say.query('SELECT 1 / 0'), say.execute(2, 'p'), say.sync, say.query('ROLLBACK'))),
    ...(await wire.ask(say.parse(commented(ALL, gid)), say.bind(), say.execute(2), say.sync)),
    ...(await wire.ask(say.execute(2), say.sync)),
  ],
  'rows in portions without a block, in one pipeline': (wire, gid) =>
    wire.ask(
      say.parse(commented(ALL, gid)),
      say.bind(),
      say.execute(2),
      say.execute(2),
      say.execute(2),
      say.execute(2),
      say.sync,
    ),
};

const UPDATING: Readonly<Record<string, Script>> = {
  'an update at a cursor': inBlock(
    LOCKING,
    'FETCH c',
    'UPDATE item SET qty = qty * 10 WHERE CURRENT OF c RETURNING *, new.qty AS now',
    'UPDATE item SET qty = qty + 1 WHERE CURRENT OF c',
    'FETCH 2 FROM c',
    'UPDATE item SET id = 70, code = $$seventy$$ WHERE CURRENT OF c',
    'FETCH c',
    'WITH u AS (UPDATE item SET qty = 0 WHERE CURRENT OF c RETURNING id) SELECT * FROM u',
  ),
  'an update at a cursor that locks nothing': inBlock(
    'DECLARE c NO SCROLL CURSOR FOR SELECT * FROM item WHERE id = 3',
    'FETCH c',
    'UPDATE item SET qty = 1 WHERE id = 3',
    'UPDATE item SET qty = 2 WHERE CURRENT OF c',
  ),
};

for (const major of [18, 14] as const) {
  test.serial(`changes at a cursor, and beside one, are captured on PostgreSQL ${major}`, async (t) => {
    await using mesh = await startShopMesh(major);
    const scripts = Object.entries(major < 18 ? DELETING : { ...DELETING, ...UPDATING });
    for (const [name, script] of scripts) await proveScript(t, mesh, name, script);
  });
}

for (const major of [18, 14] as const) {
  test.serial(`rows of a change come in the portions that a driver asks for, on PostgreSQL ${major}`, async (t) => {
    await using mesh = await startShopMesh(major);
    for (const [name, script] of Object.entries(PORTIONS)) await proveScript(t, mesh, name, script);
  });
}

test.serial('before PostgreSQL 18 an update at a cursor does not run', async (t) => {
  await using mesh = await startShopMesh(14);
  await using wire = await openWire(mesh.through);
  const gid = await mesh.begin();
  await wire.ask(...[commented('BEGIN', gid), LOCKING, 'FETCH c'].map(say.query));
  const [line] = await wire.ask(say.query('UPDATE item SET qty = 1 WHERE CURRENT OF c'));
  t.regex(line ?? '', /^error ERROR 0A000 atomesh: UPDATE … WHERE CURRENT OF before PostgreSQL 18/);
  await mesh.end(gid, 'rollback');
});
