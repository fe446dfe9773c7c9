import test from 'ava';
import { NOTHING_LEFT } from './mesh.ts';
import { commented, proveScript, reset, sharedShopMeshes, type Script } from './prove.ts';
import { openWire, say, type WireClient } from './wire-client.ts';

const meshOf = sharedShopMeshes(test.after.always);

type Way = (wire: WireClient, text: string) => Promise<string[]>;

const WAYS: Readonly<Record<string, Way>> = {
  simple: (wire, text) => wire.ask(say.query(text)),
  // An unnamed change is parsed with its Bind: a complaint about it comes one answer later.
  extended: async (wire, text) =>
    (await wire.ask(...say.run(text), say.sync)).filter((line) => line !== 'parse-complete'),
};

/** A session as its statements; `@` stands for the comment that names the gid. */
const SESSIONS: Readonly<Record<string, readonly string[]>> = {
  'a cursor around changes': [
    'BEGIN @',
    'DECLARE c CURSOR FOR SELECT id, qty FROM item ORDER BY id',
    'FETCH 2 FROM c',
    'UPDATE item SET qty = 0',
    'FETCH 2 FROM c',
    'MOVE 1 FROM c',
    'CLOSE c',
    'COMMIT',
  ],
  'a cursor that is held over the end of its block': [
    'BEGIN @',
    'DECLARE c CURSOR WITH HOLD FOR SELECT id FROM item ORDER BY id',
    'DELETE FROM item WHERE id = 2',
    'COMMIT',
    'FETCH 1 FROM c',
    'CLOSE c',
  ],
  notifications: [
    'LISTEN news',
    'BEGIN @',
    "NOTIFY news, 'one'",
    'UPDATE lonely SET v = 3',
    "SELECT pg_notify('news', 'two')",
    'COMMIT',
    'UNLISTEN *',
  ],
  'savepoints, nested, of the same name, released and rolled back to': [
    'BEGIN @',
    'UPDATE item SET qty = 1 WHERE id = 1',
    'SAVEPOINT a',
    'UPDATE item SET qty = 2 WHERE id = 2',
    'SAVEPOINT a',
    'DELETE FROM item WHERE id = 1',
    'ROLLBACK TO a',
    'UPDATE item SET qty = 3 WHERE id = 1',
    'RELEASE a',
    'ROLLBACK TO a',
    "INSERT INTO lonely VALUES ('later', 1)",
    'SAVEPOINT b',
    'DELETE FROM lonely',
    'RELEASE b',
    'COMMIT',
  ],
  'a savepoint before the first change': [
    'BEGIN @',
    'SAVEPOINT a',
    'UPDATE item SET qty = 1 WHERE id = 1',
    'ROLLBACK TO a',
    'RELEASE a',
    'UPDATE item SET qty = 5 WHERE id = 1',
    'COMMIT',
  ],
  'an error behind a savepoint, and on from there': [
    'BEGIN @',
    'UPDATE item SET qty = 1 WHERE id = 1',
    'SAVEPOINT a',
    "INSERT INTO item (code) VALUES ('c1')",
    'UPDATE item SET qty = 2 WHERE id = 1',
    'SELECT 1',
    'ROLLBACK TO a',
    'UPDATE item SET qty = 7 WHERE id = 2',
    'COMMIT',
  ],
  'no such savepoint': ['BEGIN @', 'DELETE FROM lonely', 'ROLLBACK TO nowhere', 'ROLLBACK', 'RELEASE nowhere'],
  'a rollback': ['BEGIN @', 'DELETE FROM lonely', 'ROLLBACK', 'SELECT * FROM lonely'],
  'a COMMIT of a failed block': ['BEGIN @', 'DELETE FROM lonely', 'SELECT 1 / 0', 'COMMIT', 'SELECT * FROM lonely'],
  'other words for the ends of a block': [
    'START TRANSACTION @',
    'DELETE FROM lonely',
    'END',
    'BEGIN @',
    'DELETE FROM tree',
    'ABORT',
  ],
  'BEGIN inside a block, COMMIT outside of one': [
    'BEGIN @',
    'UPDATE lonely SET v = 5',
    'BEGIN',
    'UPDATE lonely SET v = 6',
    'COMMIT',
    'COMMIT @',
    'ROLLBACK @',
  ],
  'isolation levels': [
    'BEGIN ISOLATION LEVEL REPEATABLE READ @',
    'UPDATE lonely SET v = 5',
    'SHOW transaction_isolation',
    'COMMIT',
    'BEGIN READ ONLY @',
    'UPDATE lonely SET v = 6',
    'ROLLBACK',
  ],
  'settings and their notices': [
    'SET LOCAL work_mem = 1024 @',
    'BEGIN @',
    "SET LOCAL application_name = 'me'",
    'UPDATE lonely SET v = 5',
    'SHOW application_name',
    'COMMIT',
  ],
  'a temporary table': [
    'BEGIN @',
    'CREATE TEMP TABLE scratch (id int)',
    'INSERT INTO scratch VALUES (1), (2)',
    'INSERT INTO tree SELECT id + 100, 1 FROM scratch',
    'UPDATE scratch SET id = 3',
    'SELECT * FROM scratch',
    'COMMIT',
    'DROP TABLE scratch',
  ],
  'DISCARD ALL between': [
    'UPDATE lonely SET v = 2 @',
    'DISCARD ALL',
    'UPDATE lonely SET v = 3 @',
    'DEALLOCATE ALL',
    'UPDATE lonely SET v = 4 @',
  ],
};

/** Statements that fail, each in its own way. */
const FAULTS: readonly string[] = [
  "INSERT INTO item (code) VALUES ('c1') RETURNING id",
  "INSERT INTO item (id, code) VALUES (1, 'new')",
  "UPDATE item SET code = 'c2' WHERE id = 1",
  'INSERT INTO item (code) VALUES (NULL)',
  'INSERT INTO tree VALUES (50, 77)',
  'DELETE FROM tree WHERE id = 1',
  'UPDATE item SET qty = 1 / (qty - qty)',
  'UPDATE item SET qty = 99999999999',
  "UPDATE item SET price = 'abc'",
  'UPDATE item SET price = 123456789.5',
  'UPDATE item SET nope = 1',
  'UPDATE item SET qty = nope',
  'UPDATE item SET doubled = 1',
  'INSERT INTO item (code) VALUES (1, 2)',
  'INSERT INTO item (nope) VALUES (1)',
  'DELETE FROM item WHERE nope(id)',
  'DELETE FROM item RETURNING nope',
  'INSERT INTO shop.thing (id) VALUES (1)',
  'SELECT 1 / 0',
  'SELECT nope FROM item',
];

for (const major of [18, 14] as const) {
  for (const [way, run] of Object.entries(WAYS)) {
    test.serial(`sessions are served as without a sidecar by the ${way} protocol on PostgreSQL ${major}`, async (t) => {
      const mesh = await meshOf(major);
      const scriptOf =
        (texts: readonly string[]): Script =>
        async (wire, gid) => {
          const lines: string[] = [];
          for (const text of texts) {
            const answers = await run(wire, text.replace('@', `/*atomesh_gid='${gid}'*/`));
            lines.push(`> ${text}`, ...answers);
          }
          return lines;
        };
      for (const [name, texts] of Object.entries(SESSIONS)) await proveScript(t, mesh, name, scriptOf(texts));
      const outside = FAULTS.map((text) => `${text} @`);
      const inside = FAULTS.flatMap((text) => ['BEGIN @', 'UPDATE lonely SET v = v + 1', text, 'SELECT 1', 'ROLLBACK']);
      await proveScript(t, mesh, 'faults outside a block', scriptOf([...outside, 'UPDATE lonely SET v = 9 @']));
      await proveScript(t, mesh, 'faults inside a block', scriptOf([...inside, 'UPDATE lonely SET v = 9 @']));
    });
  }
}

test.serial('behind COMMIT AND CHAIN a block has no gid, until it names one', async (t) => {
  const mesh = await meshOf(18);
  await using wire = await openWire(mesh.through);
  const before = await mesh.dump();
  const gid = await mesh.begin();
  const later = await mesh.begin();
  await wire.ask(say.query(commented('BEGIN', gid)), say.query('UPDATE item SET qty = 100 WHERE id = 1'));
  t.deepEqual(await wire.ask(say.query('COMMIT AND CHAIN')), ['done COMMIT', 'ready T']);
  t.is(await mesh.leftovers(), '1 records, 1 locks');
  await wire.ask(say.query(`SET LOCAL atomesh.gid = '${later}'`), say.query('UPDATE item SET qty = 200 WHERE id = 2'));
  t.deepEqual(await wire.ask(say.query('COMMIT AND CHAIN')), ['done COMMIT', 'ready T']);
  await wire.ask(say.query('UPDATE item SET qty = 300 WHERE id = 3'), say.query('ROLLBACK AND CHAIN'));
  await wire.ask(say.query('UPDATE item SET qty = 400 WHERE id = 4'), say.query('COMMIT'));
  t.is(await mesh.leftovers(), '2 records, 2 locks', 'what names no gid is not captured');
  await mesh.end(gid, 'rollback');
  await mesh.end(later, 'rollback');
  await mesh.owner.query('UPDATE item SET qty = 4 WHERE id = 4');
  t.deepEqual(await mesh.dump(), before);
  t.is(await mesh.leftovers(), NOTHING_LEFT);
});

test.serial('a notification from another session comes through while a block of a gid is open', async (t) => {
  const mesh = await meshOf(18);
  await using wire = await openWire(mesh.through);
  const gid = await mesh.begin();
  await wire.ask(say.query('LISTEN news'), say.query(commented('BEGIN', gid)), say.query('DELETE FROM lonely'));
  await mesh.owner.query("NOTIFY news, 'hello'");
  // The server sends it once the block has ended.
  const lines = await wire.ask(say.query('COMMIT'));
  if (!lines.includes('notification news hello')) await wire.answers.has('notification news hello');
  await mesh.end(gid, 'rollback');
  await reset(mesh);
  t.pass();
});
