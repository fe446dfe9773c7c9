/** A local transaction ends in the midst of a text of several statements: what follows belongs to the gid of the text as well. */
import test from 'ava';
import type mysql from 'mysql2/promise';
import { ITEMS, of, onEachWay, UNCHANGED } from './each-way.ts';

const CHANGE = 'update item set v = 1 where id = 1';

/** What goes ahead in the text, by whether the session has autocommit. Behind each a local transaction is open once something has changed. */
const FRONTS: readonly (readonly [autocommit: 0 | 1, texts: readonly string[]])[] = [
  [0, ['commit', 'rollback', 'commit and chain', 'rollback and chain', 'begin; commit', 'set @a = 1; commit; do 0']],
  [1, ['commit and chain', 'begin; commit and chain', 'begin; rollback and chain', 'begin; commit; begin']],
];

onEachWay({ schema: ITEMS, lockTimeoutMs: 300 }, ({ name, escalate, mesh }) => {
  const rows = (): Promise<readonly string[]> => mesh().lines('select * from shop.item');
  const session = async (autocommit: 0 | 1): Promise<mysql.Connection> => {
    const client = await mesh().client({ multipleStatements: true });
    await client.query(`set autocommit = ${autocommit}`);
    return client;
  };
  /** Why it cannot be committed; undefined where it was. */
  const commits = async (client: mysql.Connection, texts: readonly string[]): Promise<string | undefined> => {
    try {
      for (const text of [...texts, 'commit']) await client.query(text);
      return undefined;
    } catch (error) {
      return (error as Error).message;
    } finally {
      client.destroy();
    }
  };

  for (const [autocommit, fronts] of FRONTS) {
    for (const front of fronts) {
      const title = `${name}, escalate ${escalate}, autocommit ${autocommit}: ${front}`;

      test.serial(`${title}, and a change of a gid that was rolled back: is not committed`, async (t) => {
        const gid = await mesh().begin();
        await mesh().end(gid, 'rollback');
        t.regex((await commits(await session(autocommit), [`${front}; ${CHANGE} ${of(gid)}`])) ?? '', /^atomesh: /);
        t.deepEqual(await rows(), UNCHANGED);
        t.is(await mesh().leftovers(), '0 records, 0 locks');
      });

      test.serial(`${title}, and a change: is for no other gid, and what follows is for this one`, async (t) => {
        const [one, two] = [await mesh().begin(), await mesh().begin()];
        const client = await session(autocommit);
        await client.query(`${front}; ${CHANGE} ${of(one)}`);
        await t.throwsAsync(client.query(`update item set v = 2 where id = 2 ${of(two)}`), {
          message: /^atomesh: this local transaction already/,
        });
        t.is(await commits(client, ['update item set v = 3 where id = 3']), undefined);
        t.deepEqual(await rows(), ['1 1', '2 0', '3 3']);
        await mesh().end(one, 'rollback');
        t.deepEqual(await rows(), UNCHANGED);
        await mesh().end(two, 'rollback');
        t.is(await mesh().leftovers(), '0 records, 0 locks');
      });
    }
  }

  for (const front of ['commit; begin', 'rollback; begin', 'commit and chain', 'begin']) {
    test.serial(
      `${name}, escalate ${escalate}: ${front} in a text without a name, inside a local transaction that has one`,
      async (t) => {
        const [dead, live] = [await mesh().begin(), await mesh().begin()];
        await mesh().end(dead, 'rollback');
        const reason = await commits(await session(1), [`begin ${of(dead)}`, `${front}; ${CHANGE}`]);
        t.regex(reason ?? '', /^atomesh: /);
        t.deepEqual(await rows(), UNCHANGED);
        t.is(await commits(await session(1), [`begin ${of(live)}`, `${front}; ${CHANGE}`]), undefined);
        t.deepEqual(await rows(), ['1 1', '2 0', '3 0']);
        await mesh().end(live, 'rollback');
        t.deepEqual(await rows(), UNCHANGED);
        t.is(await mesh().leftovers(), '0 records, 0 locks');
      },
    );
  }

  if (escalate === 'off') return;
  test.serial(`${name}: what is chained in a text can be prepared`, async (t) => {
    for (const outcome of ['rollback', 'commit'] as const) {
      const gid = await mesh().begin();
      const text = `begin; ${CHANGE}; commit and chain; insert into log (what) values (1) ${of(gid)}`;
      t.is(await commits(await session(1), [text]), undefined);
      t.deepEqual(await rows(), ['1 1', '2 0', '3 0']);
      await mesh().end(gid, outcome);
      t.deepEqual(await rows(), outcome === 'commit' ? ['1 1', '2 0', '3 100'] : UNCHANGED);
    }
    await mesh().owner.query('update shop.item set v = 0');
  });
});
