/** Many local transactions over few keys, with a seed: whatever happens, a key has one owner. */
import test from 'ava';
import type mysql from 'mysql2/promise';
import { createRowLocks, insertLocksSql, takeOverSql, type RowLocks } from '../../../proxy/mysql/locks/row-locks.ts';
import type { RowLock } from '../../../proxy/mysql/undo/capture.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import { newGid } from '../../../src/platform/random.ts';
import { Random } from '../../simulation/random.ts';
import { RESOURCE, SERVERS, openWorld, rowsOf, silent, type World } from '../second-phase/world.ts';

const SEED = process.env['SEED'] === undefined ? Date.now() % 1_000_000_000 : Number(process.env['SEED']);
const SESSIONS = 6;
const ROUNDS = 50;
const KEYS = 5;
const TRIES_MAX = 20;
/** ER_DUP_ENTRY; ER_LOCK_WAIT_TIMEOUT and ER_LOCK_DEADLOCK. */
const DUPLICATE = 1062;
const BUSY: readonly number[] = [1205, 1213];

interface Race {
  readonly world: World;
  readonly readers: RowLocks;
  /** By key: the global transaction that has it, and whose end is not decided. */
  readonly owners: Map<string, Gid>;
  /** Those whose commit is decided. */
  readonly decided: Set<Gid>;
  readonly counts: { committed: number; refused: number; rolledBack: number; takenOver: number; twice: number };
  /** What must be found out: locks are taken over from anybody. */
  readonly isCareless: boolean;
}

type End = 'committed' | 'refused' | 'rolledBack';

/** The number of the error, or the number of rows. */
async function run(connection: mysql.Connection, sql: string): Promise<{ errno?: number; rows: number }> {
  try {
    const [{ affectedRows }] = await connection.query<mysql.ResultSetHeader>(sql);
    return { rows: affectedRows };
  } catch (error) {
    const { errno } = error as { errno?: number };
    if (errno === undefined) throw error;
    return { errno, rows: 0 };
  }
}

/** Takes the locks in the local transaction that is open; false where somebody else has one. */
async function take(race: Race, connection: mysql.Connection, gid: Gid, locks: readonly RowLock[]): Promise<boolean> {
  const branch = { gid, resource: RESOURCE };
  let missing = locks;
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    if (missing.length === 0) return true;
    const { errno } = await run(connection, insertLocksSql(missing, branch));
    if (errno === undefined) return true;
    if (errno !== DUPLICATE) return false;
    for (const { holder, ...lock } of await race.readers.holdersOf(missing)) {
      if (!race.isCareless && !race.decided.has(holder)) return false;
      const taken = await run(connection, takeOverSql([lock], holder, branch));
      // Behind a deadlock there is no local transaction any more.
      if (taken.errno !== undefined) return false;
      if (taken.rows === 0) continue;
      race.counts.takenOver += 1;
      missing = missing.filter(({ key }) => key !== lock.key);
    }
  }
  return false;
}

async function local(race: Race, connection: mysql.Connection, random: Random, gid: Gid): Promise<End> {
  const keys = Array.from({ length: random.between(1, 3) }, () => String(random.between(1, KEYS)));
  const locks = [...new Set(keys)].map((key) => ({ relation: '`shop`.`t`', key }));
  const commits = random.chance(0.8);
  await connection.query('begin');
  if (random.chance(0.5)) await rowsOf(connection, 'select count(*) from atomesh.row_lock');
  const isTaken = await take(race, connection, gid, locks);
  if (!isTaken || !commits) {
    await connection.query('rollback');
    return isTaken ? 'rolledBack' : 'refused';
  }
  await connection.query('commit');
  for (const { key } of locks) {
    if (race.owners.has(key)) race.counts.twice += 1;
    race.owners.set(key, gid);
  }
  return 'committed';
}

/** The second phase, a while later: who has decided owns nothing any more, and then lets go of its rows. */
async function end(race: Race, connection: mysql.Connection, gid: Gid): Promise<void> {
  for (const [key, owner] of race.owners) if (owner === gid) race.owners.delete(key);
  race.decided.add(gid);
  for (let errno: number | undefined = 0; errno !== undefined;) {
    ({ errno } = await run(
      connection,
      `DELETE atomesh.row_lock FROM atomesh.row_lock FORCE INDEX (row_lock_gid) WHERE gid IN ('${gid}') AND resource = '${RESOURCE}'`,
    ));
    if (errno !== undefined && !BUSY.includes(errno)) throw new Error(`the second phase failed: ${errno}`);
  }
}

async function session(race: Race, n: number): Promise<void> {
  const random = new Random(SEED + n);
  const connection = await race.world.connect(n % 2 === 0 ? 'repeatable read' : 'read committed');
  const finisher = await race.world.connect();
  await connection.query('set innodb_lock_wait_timeout = 2');
  await finisher.query('set innodb_lock_wait_timeout = 1');
  let undecided: Gid[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const gid = newGid();
    const how = await local(race, connection, random, gid);
    race.counts[how] += 1;
    if (how === 'committed') undecided.push(gid);
    if (random.chance(0.6)) {
      for (const each of undecided) await end(race, finisher, each);
      undecided = [];
    }
  }
  for (const each of undecided) await end(race, finisher, each);
}

for (const [name, start] of SERVERS) {
  let world: World;
  let readers: RowLocks;
  test.before(`${name} is started`, async () => {
    world = await openWorld(start, 'create table t (id int primary key)');
    readers = createRowLocks(world.login, silent);
  });
  test.after.always(`${name} is stopped`, async () => {
    await readers?.close();
    await world?.[Symbol.asyncDispose]();
  });

  const raced = async (isCareless: boolean): Promise<Race> => {
    const counts = { committed: 0, refused: 0, rolledBack: 0, takenOver: 0, twice: 0 };
    const race = { world, readers, owners: new Map<string, Gid>(), decided: new Set<Gid>(), counts, isCareless };
    await Promise.all(Array.from({ length: SESSIONS }, (_, n) => session(race, n)));
    return race;
  };

  test.serial(`${name}: no key is ever held by two whose local transactions have committed`, async (t) => {
    const { counts } = await raced(false);
    t.log(`SEED=${SEED}`, counts);
    t.is(counts.twice, 0);
    t.true(counts.committed > ROUNDS / 2 && counts.refused > 0);
    t.deepEqual(await world.lines('select * from atomesh.row_lock'), []);
  });

  test.serial(`${name}: the race finds out who takes locks over without asking whose they are`, async (t) => {
    const { counts } = await raced(true);
    t.log(`SEED=${SEED}`, counts);
    t.true(counts.twice > 0);
    await world.admin.query('delete from atomesh.row_lock');
  });
}
