/** A statement waits in the server for a row, and its global transaction is rolled back meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import type mysql from 'mysql2/promise';
import type { Gid } from '../../../src/contract/transaction.ts';
import { Random } from '../../simulation/random.ts';
import { startMesh, type Mesh } from '../inside/mesh.ts';
import { told } from '../probes/side-by-side.ts';
import { SERVERS } from '../second-phase/world.ts';
import { someoneWaits } from './waiting.ts';

const SCHEMA = `
create table item (id int primary key, v int);
insert into item values (1, 0), (2, 0), (3, 0), (9, 0);
create table log (id int auto_increment primary key, what int);
create trigger noted after insert on log for each row update shop.item set v = v + 1 where id = 9;
create user if not exists phase@'127.0.0.1';
grant all on *.* to phase@'127.0.0.1' with grant option;
/*M! revoke super, connection admin on *.* from phase@'127.0.0.1' */ /*!80000 revoke super, connection_admin on *.* from phase@'127.0.0.1' */;`;

/** What a client says up to the statement that waits. `{gid}` stands for the comment that names it. */
const TALKS: Readonly<Record<string, readonly string[]>> = {
  'first of its local transaction': ['begin {gid}', 'update item set v = 1 where id = 1'],
  'behind another change': [
    'begin {gid}',
    'update item set v = 1 where id = 2',
    'update item set v = v + 1 where id = 1',
  ],
  'by itself': ['update item set v = 1 where id = 1 {gid}'],
  'several rows': ['begin {gid}', 'update item set v = v + 1 where id < 4'],
  inserted: ['begin {gid}', 'insert into item values (1, 5) on duplicate key update v = 7'],
  'locking read behind a change': [
    'begin {gid}',
    'update item set v = 1 where id = 2',
    'select * from item where id = 1 for update',
  ],
};
/** Where the local transaction may be prepared. */
const ESCALATED: Readonly<Record<string, readonly string[]>> = {
  'in a trigger': ['begin {gid}', 'insert into log (what) values (1)'],
  'in a trigger, by itself': ['insert into log (what) values (1) {gid}'],
};
const SOON_MS = 5_000;
/** Less than what is between two tries to interrupt a statement. */
const RIGHT_BEHIND_MS = 40;
const RACES = 40;
const DELAY_MS_MAX = 30;

for (const [name, start] of SERVERS) {
  for (const escalate of ['off', 'xa'] as const) {
    let mesh: Mesh;
    test.before(async () => {
      mesh = await startMesh({ start, schema: SCHEMA, database: { escalate, xa: { recover: '1s' } } });
    });
    test.after.always(async () => mesh?.[Symbol.asyncDispose]());

    /** Somebody without a gid holds the rows 1 and 9. */
    const blocked = async (): Promise<mysql.Connection> => {
      const blocker = await mesh.plain({ database: 'shop' });
      await blocker.query('start transaction');
      await blocker.query('select * from item where id in (1, 9) for update');
      return blocker;
    };
    const saidUpTo = async (client: mysql.Connection, talk: readonly string[], gid: Gid): Promise<string> => {
      const texts = talk.map((text) => text.replace('{gid}', `/*atomesh_gid='${gid}'*/`));
      // What is rolled back meanwhile hears so at any of them.
      for (const text of texts.slice(0, -1)) await told(client, text);
      return told(client, texts.at(-1) ?? '');
    };

    const talks = escalate === 'off' ? TALKS : { ...TALKS, ...ESCALATED };
    for (const [what, talk] of Object.entries(talks)) {
      test.serial(`${name}, escalate ${escalate}: a wait ends with its global transaction: ${what}`, async (t) => {
        await mesh.owner.query('update shop.item set v = 0');
        const [blocker, client] = [await blocked(), await mesh.client()];
        t.teardown(() => [blocker, client].forEach((each) => each.destroy()));
        const gid = await mesh.begin();
        const texts = talk.map((text) => text.replace('{gid}', `/*atomesh_gid='${gid}'*/`));
        for (const text of texts.slice(0, -1)) await client.query(text);
        const waiting = told(client, texts.at(-1) ?? '');
        await someoneWaits(mesh);
        const ended = mesh.end(gid, 'rollback');
        t.regex(await Promise.race([waiting, sleep(SOON_MS, 'waits')]), /^1213 .*rolled back/);
        t.is(await Promise.race([ended, sleep(SOON_MS, 'waits')]), 'failed');
        // The client has its session still, and nothing of the local transaction.
        await client.query('rollback');
        t.is(await told(client, 'select v from item where id = 2'), '[{"v":0}]');
        t.is(await told(client, 'update item set v = 4 where id = 3'), '1 rows, 2');
        await blocker.query('rollback');
        t.deepEqual(await mesh.lines('select v from shop.item order by id'), ['0', '0', '4', '0']);
        t.is(await mesh.leftovers(), '0 records, 0 locks');
      });
    }

    test.serial(`${name}, escalate ${escalate}: two waits of a session end, one right behind the other`, async (t) => {
      await mesh.owner.query('update shop.item set v = 0');
      const [blocker, client] = [await blocked(), await mesh.client()];
      t.teardown(() => [blocker, client].forEach((each) => each.destroy()));
      // So that the sidecar hears of each rollback once.
      const begin = async (): Promise<Gid> =>
        (await mesh.coordinator.begin({ timeoutMs: 60_000, retryIntervalMs: 60_000 })).gid;
      const gids = [await begin(), await begin()] as const;
      const [first, second] = gids.map((gid) => `update item set v = 1 where id = 1 /*atomesh_gid='${gid}'*/`);
      const waiting = told(client, first ?? '');
      await someoneWaits(mesh);
      const ended = [mesh.end(gids[0], 'rollback')];
      t.regex(await Promise.race([waiting, sleep(SOON_MS, 'waits')]), /^1213 .*rolled back/);
      const next = told(client, second ?? '');
      await sleep(RIGHT_BEHIND_MS);
      ended.push(mesh.end(gids[1], 'rollback'));
      t.regex(await Promise.race([next, sleep(SOON_MS, 'waits')]), /^1213 .*rolled[_ ]back/);
      t.deepEqual(await Promise.all(ended), ['failed', 'failed']);
      await blocker.query('rollback');
      t.is(await mesh.leftovers(), '0 records, 0 locks');
    });

    test.serial(`${name}, escalate ${escalate}: the next statement is never the one that is interrupted`, async (t) => {
      const seed = Date.now() % 0x7fff_ffff;
      t.log(`seed ${seed}`);
      const random = new Random(seed);
      const first: string[] = [];
      for (let race = 0; race < RACES; race += 1) {
        await mesh.owner.query('update shop.item set v = 0');
        const blocker = await blocked();
        const gid = await mesh.begin();
        const client = await mesh.client();
        const [, talk] = random.pick(Object.entries(TALKS));
        const waiting = saidUpTo(client, talk, gid);
        await sleep(5);
        const ended = mesh.end(gid, 'rollback');
        await sleep(random.between(0, DELAY_MS_MAX));
        await blocker.query('rollback');
        first.push(await waiting);
        await client.query('rollback');
        for (let next = 0; next < 20; next += 1) {
          t.is(await told(client, 'select sleep(0.001) as s'), '[{"s":0}]', talk.join('; '));
        }
        t.is(await ended, 'failed', talk.join('; '));
        t.deepEqual(await mesh.lines('select v from shop.item order by id'), ['0', '0', '0', '0']);
        client.destroy();
        blocker.destroy();
      }
      // Some come when it is decided already.
      const interrupted = first.filter((answer) => /^1213 .*and this local transaction with it/.test(answer));
      t.true(interrupted.length > 0, first.join('; '));
      t.false(
        first.some((answer) => answer.startsWith('1317 ')),
        first.join('; '),
      );
      t.is(await mesh.leftovers(), '0 records, 0 locks');
    });
  }

  test.serial(
    `${name}: without the right to interrupt others a statement waits on, and its local transaction is rolled back then`,
    async (t) => {
      await using mesh = await startMesh({
        start,
        schema: SCHEMA,
        database: { credentials: { user: 'phase' } },
      });
      const blocker = await mesh.plain({ database: 'shop' });
      await blocker.query('start transaction');
      await blocker.query('select * from item where id = 1 for update');
      const gid = await mesh.begin();
      const client = await mesh.client();
      await client.query(`begin /*atomesh_gid='${gid}'*/`);
      await client.query('update item set v = 1 where id = 2');
      const waiting = told(client, 'update item set v = v + 1 where id = 1');
      await someoneWaits(mesh);
      const ended = mesh.end(gid, 'rollback');
      t.is(await Promise.race([waiting, sleep(1_500, 'waits')]), 'waits');
      await blocker.query('rollback');
      await waiting;
      t.is(await ended, 'failed');
      t.regex(await told(client, 'update item set v = 5 where id = 2'), /^1213 /);
      t.deepEqual(await mesh.lines('select v from shop.item order by id'), ['0', '0', '0', '0']);
    },
  );
}
