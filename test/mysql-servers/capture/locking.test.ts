import test from 'ava';
import type mysql from 'mysql2/promise';
import type { TableFacts } from '../../../proxy/mysql/catalog.ts';
import { parse } from '../../../proxy/mysql/parse.ts';
import { plan } from '../../../proxy/mysql/plan.ts';
import { loadGrammar } from '../../../proxy/mysql/text/tree.ts';
import { ours, readFound, type Found, type Step } from '../../../proxy/mysql/undo/capture.ts';
import { heldAmong, locksOf, type LockingRead } from '../../../proxy/mysql/undo/locking-read.ts';
import { newGid } from '../../../src/platform/random.ts';
import { SERVERS, openWorld, type World } from '../second-phase/world.ts';
import { begin, createRunner, factsOf, read } from './runner.ts';
import { TABLES } from './statements.ts';

for (const [name, start] of SERVERS) {
  let world: World;
  test.before(`${name} is started`, async () => {
    await loadGrammar();
    world = await openWorld(start, TABLES);
  });
  test.after.always(`${name} is stopped`, () => world?.[Symbol.asyncDispose]());

  const planned = async (sql: string): Promise<LockingRead> => {
    const parsed = parse(ours(sql), { charset: 'utf8', noBackslashEscapes: false, ansiQuotes: false });
    const [statement] = parsed.kind === 'parsed' ? parsed.statements : [];
    const known = new Map<string, TableFacts | 'none'>();
    if (statement === undefined) throw new Error(`not one statement: ${sql}`);
    for (let asked = 0; asked < 3; asked += 1) {
      const found = plan(statement, { database: 'shop', facts: (_, table) => known.get(table), parameters: [] });
      if (found.kind === 'locking-read') return found;
      if (found.kind !== 'facts-needed') throw new Error(`${found.kind}: ${sql}`);
      for (const { database, table } of found.tables) known.set(table, await factsOf(world, database, table));
    }
    throw new Error(`not planned: ${sql}`);
  };
  const rowsAhead = async (connection: mysql.Connection, { tables }: LockingRead, step: Step): Promise<Found> => {
    const found = readFound(tables, await read(connection, step, []), 1000);
    if (found.kind !== 'found') throw new Error(found.refusal.message);
    return found.found;
  };
  const lines = async (connection: mysql.Connection, sql: string): Promise<readonly string[]> =>
    (await read(connection, { sql: ours(sql), parameters: [] }, [])).map((row) => row.join(' '));

  test.serial(
    `${name}: a reading that locks rows answers what it answers alone, and reads ahead the rows that it locks`,
    async (t) => {
      const connection = await world.connect('repeatable read');
      const isMysql = name === 'MySQL';
      for (const [sql, keys, servers = 'both'] of READINGS) {
        if (servers !== 'both' && (servers === 'MySQL') !== isMysql) continue;
        await connection.query('begin');
        const alone = await lines(connection, sql);
        await connection.query('rollback; begin');
        const reading = await planned(sql);
        const found = await rowsAhead(connection, reading, reading.before([]));
        t.deepEqual(
          locksOf(reading.tables, found).map(({ relation, key }) => `${relation.split('`').at(-2)} ${key}`),
          keys,
          sql,
        );
        t.deepEqual(
          await read(connection, reading.read(found), []).then((rows) => rows.map((row) => row.join(' '))),
          alone,
          sql,
        );
        await connection.query('rollback');
      }
    },
  );

  test.serial(
    `${name}: a row that comes to match behind the reading ahead is not among those that are answered`,
    async (t) => {
      const [own, other] = [await world.connect(), await world.connect()];
      const reading = await planned('select n from seat where n > 1 order by n desc limit 2 for update');
      await own.query('begin');
      const found = await rowsAhead(own, reading, reading.before([]));
      await other.query("insert into seat values (9, 'new')");
      t.deepEqual(await read(own, reading.read(found), []), [['3'], ['2']]);
      await own.query('rollback');
      await other.query('delete from seat where n = 9');
    },
  );

  test.serial(
    `${name}: rows that another global transaction holds are found by their locks, and left out by SKIP LOCKED`,
    async (t) => {
      const [own, other] = [await world.connect(), await world.connect()];
      const gid = newGid();
      const runner = await createRunner(world, other, { database: 'shop', countsFound: true, hasPhantoms: true });
      await begin(world, other, gid);
      await runner.run(gid, "update seat set who = 'held' where n = 1");
      await other.query('commit');
      const held = (await world.lines('select relation, lock_key from atomesh.row_lock')).map((line) => {
        const at = line.lastIndexOf(' ');
        return { relation: line.slice(0, at), key: line.slice(at + 1) };
      });
      const sql = 'select s.n from seat s left join note x on x.id = s.n + 2 order by s.n limit 2 for update';
      // This version of MySQL takes SKIP LOCKED for a word of statements that are written to its log by their text, and warns; it reads as said.
      const reading = await planned(`${sql} skip locked`);
      await own.query('begin');
      const first = await rowsAhead(own, reading, reading.before([]));
      const leftOut = heldAmong(reading.tables, first, held);
      t.is(leftOut.flat().length, 1);
      const second = await rowsAhead(own, reading, reading.before(leftOut));
      t.is(heldAmong(reading.tables, second, held).flat().length, 0);
      t.deepEqual(await read(own, reading.read(second), []), [['2'], ['3']]);
      await own.query('rollback');
      await world.finisher.rollback(gid, 'shop/db');
    },
  );
}

/** Statements, the locks of their rows in the order in which they are found, and the server that knows them. */
const READINGS: readonly (readonly [sql: string, keys: readonly string[], server?: 'MySQL' | 'MariaDB'])[] = [
  ['select * from seat where n = 2 for update', ['seat 2']],
  ['SELECT who FROM shop.seat ORDER BY n DESC LIMIT 2 LOCK IN SHARE MODE', ['seat 3', 'seat 2']],
  ['select who from seat order by n limit 1, 1 for update', ['seat 1', 'seat 2']],
  ['select count(*) as c, sum(n) from seat where n > 1 for update', ['seat 2', 'seat 3']],
  ['select n from seat where n > 50 for update', []],
  [
    'select p.name, n.body from person p left join note n on n.person = p.id where p.id in (2, 3) order by p.id for update nowait',
    ['person 2', 'person 3', 'note 3'],
  ],
  ['select n from seat where n in (select person from note) order by n for update', ['seat 1', 'seat 2']],
  ["select v, b as c from pair where (a, b) = (1, 'y') for update", ['pair 1,0059']],
  ['select `key` from `odd name` where `a,b` = 2 for update', ['odd name 1']],
  ['select v from watched join keyless using (v) for update', ['watched 1']],
  ['select p.id from person p join note n on n.person = p.id where n.id = 3 for update of p', ['person 2'], 'MySQL'],
  ['select n from seat where n = 1 for share', ['seat 1'], 'MySQL'],
  ['select n from seat where n = 1 for update wait 3', ['seat 1'], 'MariaDB'],
];
