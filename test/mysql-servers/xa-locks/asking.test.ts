/**
 * Changes that are not captured, because they escalate or because their database has mode xa, wait for rows that another, unfinished global
 * transaction has changed: on real servers, by every way that a statement comes.
 */
import test, { type ExecutionContext } from 'ava';
import type mysql from 'mysql2/promise';
import type { Gid } from '../../../src/contract/transaction.ts';
import { SERVERS } from '../second-phase/world.ts';
import { HASTY, MODES, NOTHING_LEFT, openStage, type Mode, type Stage } from './stage.ts';

const commented = (sql: string, gid: string): string => `${sql} /*atomesh_gid='${gid}'*/`;

/** What a client hears: rows that were changed, or the number of the error. */
async function heard(work: Promise<unknown>): Promise<string> {
  try {
    const [result] = (await work) as [mysql.ResultSetHeader | readonly mysql.ResultSetHeader[]];
    const last = Array.isArray(result) ? (result.at(-1) as mysql.ResultSetHeader) : (result as mysql.ResultSetHeader);
    return `${last.affectedRows} changed, ${last.warningStatus} warnings`;
  } catch (error) {
    const { errno } = error as { errno?: number };
    if (errno === undefined) throw error;
    return `error ${errno}`;
  }
}

/** How a client sends one statement, which names its gid, and what it hears of it. */
type Way = (client: mysql.Connection, sql: string, gid: string) => Promise<string>;
const WAYS: readonly (readonly [name: string, way: Way])[] = [
  ['text', (client, sql, gid) => heard(client.query(commented(sql, gid)))],
  [
    'block',
    async (client, sql, gid) => {
      await client.query(commented('BEGIN', gid));
      const own = await heard(client.query(sql));
      await client.query('COMMIT');
      return own;
    },
  ],
  ['prepared', (client, sql, gid) => heard(client.execute(commented(sql, gid)))],
  ['several', (client, sql, gid) => heard(client.query(`${commented('SELECT 1', gid)}; ${commented(sql, gid)}`))],
  [
    'without autocommit',
    async (client, sql, gid) => {
      await client.query('SET autocommit = 0');
      const own = await heard(client.query(commented(sql, gid)));
      await client.query('COMMIT');
      return own;
    },
  ],
];

/** Each changes row 1 of item, of which it finds 11 or 10. */
const CHANGES: readonly { readonly sql: string; readonly onlyIn?: Mode }[] = [
  { sql: 'UPDATE item SET qty = qty + 1 WHERE id = 1', onlyIn: 'xa' },
  { sql: 'UPDATE item SET qty = bump(qty) WHERE id = 1' },
  { sql: 'UPDATE item SET qty = bump(qty) WHERE qty < 12 ORDER BY qty LIMIT 3' },
  { sql: 'UPDATE item i JOIN source s ON s.id = i.id SET i.qty = bump(i.qty + s.qty) WHERE s.id = 1' },
  { sql: 'DELETE FROM item WHERE id = 1', onlyIn: 'xa' },
  { sql: 'DELETE FROM item WHERE qty <= 11 AND id < 2', onlyIn: 'xa' },
  { sql: "INSERT INTO item VALUES (1, 5, 'n1') ON DUPLICATE KEY UPDATE qty = bump(item.qty)" },
  { sql: "REPLACE INTO item VALUES (1, 5, 'n1')", onlyIn: 'xa' },
];

for (const [name, start] of SERVERS) {
  let stage: Stage;
  test.before(async () => {
    stage = await openStage(start);
  });
  test.after.always(async () => stage?.[Symbol.asyncDispose]());

  /** Another global transaction has changed a row, and is not over. */
  const held = async (sql: string): Promise<Gid> => {
    const gid = await stage.begin();
    const client = await stage.open('escalating');
    await client.query(commented(sql, gid));
    client.destroy();
    return gid;
  };
  /** The twin has the same said to it without a sidecar. */
  const twinSays = async (sql: string, values: readonly number[] = []): Promise<string> => {
    const twin = await stage.open('twin');
    const said = await heard(twin.query(sql, [...values]));
    twin.destroy();
    return said;
  };
  const isAsTwin = async (t: ExecutionContext, what: string): Promise<void> => {
    t.deepEqual(await stage.dump('shop'), await stage.dump('plain'), what);
    t.is(await stage.left(), NOTHING_LEFT, what);
  };

  for (const mode of MODES) {
    for (const outcome of ['commit', 'rollback'] as const) {
      test.serial(`${name}: a change that is not captured waits for ${outcome} of the holder, ${mode}`, async (t) => {
        for (const [at, { sql, onlyIn = mode }] of CHANGES.entries()) {
          if (onlyIn !== mode) continue;
          for (const turn of [0, 2]) {
            const [way, say] = WAYS[(at + turn + (outcome === 'commit' ? 1 : 0)) % WAYS.length] ?? [];
            if (say === undefined) throw new Error('there are ways');
            const what = `${way}: ${sql}`;
            await stage.restore();
            const holder = await held('UPDATE item SET qty = 11 WHERE id = 1');
            const own = await stage.begin();
            const client = await stage.open(mode);
            const written = say(client, sql, own);
            await stage.isWaitedFor(holder);
            t.is(await stage.end(holder, outcome), outcome === 'commit' ? 'succeed' : 'failed', what);
            if (outcome === 'commit') await twinSays('UPDATE item SET qty = 11 WHERE id = 1');
            t.is(await written, await twinSays(sql), what);
            t.is(await stage.left(), '0 records, 0 locks, 1 prepared', what);
            t.is(await stage.end(own, 'commit'), 'succeed', what);
            await isAsTwin(t, what);
            client.destroy();
          }
        }
      });
    }

    test.serial(
      `${name}: a row of a table whose trigger makes the change escalate is waited for, ${mode}`,
      async (t) => {
        for (const outcome of ['commit', 'rollback'] as const) {
          await stage.restore();
          const holder = await held('INSERT INTO noted VALUES (7, 7)');
          const own = await stage.begin();
          const client = await stage.open(mode);
          const written = heard(client.query(commented('UPDATE noted SET qty = 8 WHERE id = 7', own)));
          await stage.isWaitedFor(holder);
          await stage.end(holder, outcome);
          if (outcome === 'commit') await twinSays('INSERT INTO noted VALUES (7, 7)');
          t.is(await written, await twinSays('UPDATE noted SET qty = 8 WHERE id = 7'));
          await stage.end(own, 'commit');
          await isAsTwin(t, outcome);
          client.destroy();
        }
      },
    );

    test.serial(
      `${name}: who has waited in vain hears 1205, and no more than the statement is undone, ${mode}`,
      async (t) => {
        await stage.restore();
        const holder = await held('UPDATE item SET qty = 11 WHERE id = 1');
        const own = await stage.begin();
        const client = await stage.open(HASTY[mode]);
        t.is(await heard(client.query(commented('UPDATE item SET qty = bump(qty) WHERE id = 1', own))), 'error 1205');
        await client.query(commented('BEGIN', own));
        t.is(await heard(client.query('UPDATE item SET qty = bump(qty) WHERE id = 2')), '1 changed, 0 warnings');
        const late = client.query('UPDATE item SET qty = bump(qty) WHERE id < 4');
        await t.throwsAsync(late, {
          message: new RegExp(`atomesh: the row is held by global transaction ${holder}, .*lockTimeout`, 's'),
        });
        await client.query('COMMIT');
        client.destroy();
        t.is(await stage.end(own, 'commit'), 'succeed');
        t.is(await stage.end(holder, 'rollback'), 'failed');
        await twinSays('UPDATE item SET qty = 21 WHERE id = 2');
        await isAsTwin(t, mode);
      },
    );

    test.serial(
      `${name}: what nobody else holds is changed at once, and so is what the own gid holds, ${mode}`,
      async (t) => {
        await stage.restore();
        const [holder, own] = [await held('UPDATE item SET qty = 11 WHERE id = 1'), await stage.begin()];
        const holding = await stage.open('escalating');
        await holding.query(commented('UPDATE item SET qty = 21 WHERE id = 2', own));
        const client = await stage.open(HASTY[mode]);
        const say = (sql: string): Promise<string> => heard(client.query(commented(sql, own)));
        t.is(await say('UPDATE item SET qty = bump(qty) WHERE id BETWEEN 2 AND 3'), '2 changed, 0 warnings');
        const other = await stage.open(HASTY[mode]);
        t.is(await heard(other.query(commented('DELETE FROM noted', own))), '2 changed, 0 warnings');
        for (const each of [client, other, holding]) each.destroy();
        t.is(await stage.end(own, 'rollback'), 'failed');
        t.is(await stage.end(holder, 'rollback'), 'failed');
        await isAsTwin(t, mode);
      },
    );

    test.serial(`${name}: a holder that is known to be committed gives way at once, ${mode}`, async (t) => {
      await stage.restore();
      const [holder, own] = [await held('UPDATE item SET qty = 11 WHERE id = 1'), await stage.begin()];
      // As long as somebody has the state of its branch, the second phase cannot begin.
      const branch = `gid = '${holder}' and resource = 'orders/escalating'`;
      await stage.owner(`begin; select state from atomesh.branch_state where ${branch} for update`);
      try {
        await stage.submit(holder);
        const client = await stage.open(mode);
        t.is(
          await heard(client.query(commented('UPDATE item SET qty = bump(qty) WHERE id = 1', own))),
          '1 changed, 0 warnings',
        );
        client.destroy();
      } finally {
        await stage.owner('rollback');
      }
      t.is(await stage.over(holder), 'succeed');
      t.is(await stage.end(own, 'commit'), 'succeed');
      t.deepEqual(await stage.owner('select qty from shop.item where id = 1'), [[12]]);
      t.is(await stage.left(), NOTHING_LEFT);
    });

    test.serial(
      `${name}: who waits with rows in its hands goes on behind a commit, and gives way to a rollback, ${mode}`,
      async (t) => {
        for (const outcome of ['rollback', 'commit'] as const) {
          await stage.restore();
          // The holder's rollback needs row 2, which the one who waits has in its hands: of a table where nobody has met anybody yet.
          const holder = await held('UPDATE spare SET qty = qty + 1 WHERE id IN (1, 2)');
          const own = await stage.begin();
          const client = await stage.open(mode);
          await client.query(commented('BEGIN', own));
          t.is(await heard(client.query('UPDATE item SET qty = bump(qty) WHERE id = 3')), '1 changed, 0 warnings');
          const written = heard(client.query('UPDATE spare SET qty = bump(qty) WHERE id = 2'));
          await stage.isWaitedFor(holder);
          t.is(await stage.end(holder, outcome), outcome === 'commit' ? 'succeed' : 'failed');
          if (outcome === 'commit') {
            t.is(await written, '1 changed, 0 warnings');
            await client.query('COMMIT');
            await twinSays('UPDATE spare SET qty = qty + 1 WHERE id IN (1, 2)');
            await twinSays('UPDATE spare SET qty = bump(qty) WHERE id = 2');
            await twinSays('UPDATE item SET qty = bump(qty) WHERE id = 3');
          } else {
            t.is(await written, 'error 1213');
            // Nothing of it is left, and nothing runs outside of the global transaction before the client has said so.
            t.is(await heard(client.query('UPDATE item SET qty = 0 WHERE id = 4')), 'error 1213');
            await client.query('ROLLBACK');
          }
          client.destroy();
          t.is(await stage.end(own, 'commit'), 'succeed');
          await isAsTwin(t, outcome);
        }
      },
    );
  }

  test.serial(
    `${name}: a table without transactions is refused, whatever else keeps the change from being captured`,
    async (t) => {
      for (const mode of MODES) {
        const gid = await stage.begin();
        const client = await stage.open(mode);
        await client.query(`set @atomesh_gid = '${gid}'`);
        for (const sql of [
          'UPDATE loose SET qty = bump(qty)',
          'UPDATE loose SET qty = 5 WHERE calm(qty)',
          'INSERT INTO loose VALUES (2, bump(1))',
          'UPDATE noted n JOIN loose l ON l.id = n.id SET n.qty = 5, l.qty = 5',
        ]) {
          await t.throwsAsync(client.query(sql), { message: /of the engine MyISAM, which has no transactions/ }, sql);
        }
        await client.query('SET sql_safe_updates = 1');
        await t.throwsAsync(client.query('UPDATE loose SET qty = 5 WHERE id = 1'), { message: /engine MyISAM/ });
        client.destroy();
        await stage.end(gid, 'rollback');
        t.deepEqual(await stage.owner('select id, qty from shop.loose'), [[1, 10]]);
      }
    },
  );

  test.serial(`${name}: rows that are too long for an image are prepared as ever`, async (t) => {
    await stage.owner(`set @packet = @@global.max_allowed_packet; set global max_allowed_packet = 1048576`);
    const client = await stage.open('xa');
    await stage.owner('set global max_allowed_packet = @packet');
    const body = "REPEAT('x', 600000)";
    for (const [sql, changed] of [
      [`INSERT INTO big VALUES (1, 'a', ${body})`, 1],
      [`UPDATE big SET body = CONCAT('y', body) WHERE id = 1`, 1],
      [`INSERT INTO big VALUES (1, 'a', ${body}) ON DUPLICATE KEY UPDATE body = VALUES(body)`, 2],
      [`REPLACE INTO big VALUES (2, 'a', ${body})`, 2],
    ] as const) {
      const gid = await stage.begin();
      await client.query(commented('BEGIN', gid));
      t.is(await heard(client.query(sql)), `${changed} changed, 0 warnings`, sql);
      await client.query('ROLLBACK');
      await stage.end(gid, 'rollback');
      await client.query(sql);
    }
    client.destroy();
    t.is(await stage.left(), NOTHING_LEFT);
  });

  const MEETINGS: readonly {
    readonly what: string;
    readonly holder: string;
    readonly own: string;
    readonly values?: readonly number[];
    readonly onRollback: string;
    /** By default in mode xa only: elsewhere it is captured. */
    readonly modes?: typeof MODES;
  }[] = [
    {
      what: 'takes a unique value that is still to be restored',
      holder: 'DELETE FROM item WHERE id = 1',
      own: "INSERT INTO item VALUES (9, bump(1), 'n1')",
      onRollback: 'error 1062',
    },
    {
      what: 'takes the key of a row that is still to be restored',
      holder: 'DELETE FROM noted WHERE id = 1',
      own: 'INSERT INTO noted VALUES (1, bump(1))',
      onRollback: 'error 1062',
    },
    {
      what: 'has a row take a unique value that is still to be restored',
      holder: "UPDATE item SET note = 'n9' WHERE id = 1",
      own: "UPDATE item SET note = 'n1', qty = bump(qty) WHERE id = 2",
      onRollback: 'error 1062',
    },
    {
      what: 'has a row that it meets take a unique value that is still to be restored',
      holder: 'DELETE FROM item WHERE id = 1',
      own: "INSERT INTO item VALUES (2, 5, 'n5') ON DUPLICATE KEY UPDATE note = 'n1'",
      onRollback: 'error 1062',
    },
    {
      what: 'refers to a row that may go',
      holder: 'INSERT INTO parent VALUES (7, 7)',
      own: 'INSERT INTO child VALUES (9, 7), (8, 7)',
      onRollback: 'error 1452',
    },
    {
      what: 'deletes a row that one which comes back refers to',
      holder: 'DELETE FROM child WHERE parent = 1',
      own: 'DELETE FROM parent WHERE id = 1',
      onRollback: 'error 1451',
    },
    ...(
      [
        ['a condition', 'spare', 'UPDATE spare SET id = 1 WHERE id = 2'],
        ['parameters', 'spare', 'UPDATE spare SET qty = ?, id = ? WHERE id = ?', [5, 1, 2]],
        [
          'joined tables',
          'spare',
          'UPDATE spare s JOIN source o ON o.id = s.id SET s.id = 1, s.qty = o.qty WHERE o.id = 2',
        ],
        ['an upsert', 'spare', 'INSERT INTO spare VALUES (2, 5) ON DUPLICATE KEY UPDATE id = 1'],
        ['a part of the key', 'pair', 'UPDATE pair SET id = 1 WHERE id = 2 ORDER BY part DESC'],
        ['a part of the key in an upsert', 'pair', 'INSERT INTO pair VALUES (2, 1, 5) ON DUPLICATE KEY UPDATE ID = 1'],
        ['a unique value, too', 'item', "UPDATE item SET id = 9, note = 'n1' WHERE id = 2"],
      ] as const
    ).map(([by, table, own, values]) => ({
      what: `moves a row to a key that is still to be restored, by ${by}`,
      holder: `DELETE FROM ${table} WHERE id = 1`,
      own,
      onRollback: 'error 1062',
      modes: MODES,
      ...(values === undefined ? {} : { values }),
    })),
  ];

  for (const { what, holder: holding, own: sql, values, onRollback, modes = ['xa'] as const } of MEETINGS) {
    for (const mode of modes) {
      test.serial(`${name}: who prepares waits where a change ${what}, ${mode}`, async (t) => {
        for (const outcome of ['commit', 'rollback'] as const) {
          await stage.restore();
          const holder = await held(holding);
          const own = await stage.begin();
          const client = await stage.open(mode);
          const said = commented(sql, own);
          const written = heard(values === undefined ? client.query(said) : client.execute(said, [...values]));
          await stage.isWaitedFor(holder);
          t.is(await stage.end(holder, outcome), outcome === 'commit' ? 'succeed' : 'failed');
          if (outcome === 'commit') await twinSays(holding);
          t.is(await written, await twinSays(sql, values));
          if (outcome === 'rollback') t.is(await written, onRollback);
          client.destroy();
          await stage.end(own, 'commit');
          await isAsTwin(t, outcome);
        }
      });
    }
  }
}
