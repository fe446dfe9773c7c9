/**
 * Changes that are not captured, because they escalate or because their database has mode xa, wait for rows that another, unfinished global
 * transaction has changed: against a real database, by every way that a statement comes.
 */
import test from 'ava';
import { NOTHING_LEFT } from '../sql-e2e/mesh.ts';
import { commented } from '../sql-e2e/prove.ts';
import { openWire, say, type WireClient } from '../sql-e2e/wire-client.ts';
import { preparedNames } from '../xa/prove.ts';
import { isWaitedFor, MODES, openStage, restore, type Stage } from './escalated-stage.ts';

const MAJORS = [14, 18] as const;
const stages = new Map<number, Stage>();
test.before(async () => {
  await Promise.all(MAJORS.map(async (major) => stages.set(major, await openStage(major, 15_000))));
});
test.after.always(async () => {
  for (const stage of stages.values()) await stage[Symbol.asyncDispose]();
});

function stageOf(major: number): Stage {
  const stage = stages.get(major);
  if (stage === undefined) throw new Error(`no stage of ${major}`);
  return stage;
}

/** How a client sends one statement, which names its gid, and hears of it. */
type Ask = (wire: WireClient, text: string, gid: string) => Promise<readonly string[]>;
const WAYS: readonly (readonly [title: string, ask: Ask])[] = [
  ['simple', (wire, text, gid) => wire.ask(say.query(commented(text, gid)))],
  ['several', (wire, text, gid) => wire.ask(say.query(commented(`SELECT 1; ${text}`, gid)))],
  ['extended', (wire, text, gid) => wire.ask(...say.run(commented(text, gid)), say.sync)],
  [
    'pipelined',
    (wire, text, gid) => wire.ask(...say.run(commented('SELECT qty FROM source', gid)), ...say.run(text), say.sync),
  ],
  [
    'prepared',
    async (wire, text, gid) => {
      const lines = [...(await wire.ask(say.parse(text, 'mine'), say.sync))];
      lines.push(...(await wire.ask(say.query(commented('BEGIN', gid)))));
      lines.push(...(await wire.ask(say.bind([], 'mine'), say.describe(), say.execute(), say.sync)));
      lines.push(...(await wire.ask(say.query('COMMIT'))));
      return lines;
    },
  ],
  [
    'EXECUTE',
    async (wire, text, gid) => {
      await wire.ask(say.query(`PREPARE made AS ${text}`));
      return wire.ask(say.query(commented('EXECUTE made', gid)));
    },
  ],
];

function wayAt(place: number): (typeof WAYS)[number] {
  const way = WAYS[place % WAYS.length];
  if (way === undefined) throw new Error('there are ways');
  return way;
}

/** Each changes row 1 of item, of which it finds 11 or 10. */
const CHANGES: readonly { readonly text: string; readonly since?: number }[] = [
  { text: 'UPDATE item SET qty = bump(qty) WHERE id = 1' },
  { text: 'UPDATE item SET qty = 1 WHERE id = 1 RETURNING (SELECT * FROM (SELECT 1) x), qty' },
  {
    text: 'UPDATE item AS i SET qty = bump(i.qty + s.qty) FROM source s WHERE s.id = i.id AND s.id = 1 RETURNING i.qty',
  },
  { text: 'DELETE FROM item WHERE id = 1 AND calm(qty) RETURNING *' },
  { text: "INSERT INTO item VALUES (1, 5, 'new') ON CONFLICT (id) DO UPDATE SET qty = bump(item.qty) RETURNING qty" },
  { text: 'WITH gone AS (DELETE FROM item WHERE id = 1 RETURNING qty) SELECT bump(qty) AS more FROM gone' },
  {
    text: 'MERGE INTO item i USING source s ON i.id = s.id AND s.id = 1 WHEN MATCHED THEN UPDATE SET qty = bump(i.qty)',
    since: 15,
  },
];

for (const major of MAJORS) {
  for (const mode of MODES) {
    for (const [turn, outcome] of (['commit', 'rollback'] as const).entries()) {
      test.serial(
        `a change that is not captured waits for ${outcome}, and does what it would do behind it, ${mode}, PostgreSQL ${major}`,
        async (t) => {
          const { mesh, ways } = stageOf(major);
          const holding = await mesh.client();
          for (const [at, { text, since = 14 }] of CHANGES.entries()) {
            if (major < since) continue;
            // Each statement goes another way each time.
            const place = at + 2 * turn + (mode === 'xa' ? 3 : 0) + (major === 18 ? 1 : 0);
            const [way, ask] = wayAt(place);
            const what = `${way}: ${text}`;
            await restore(mesh);
            const [holder, own] = [await mesh.begin(), await mesh.begin()];
            await holding.query(commented('UPDATE item SET qty = 11 WHERE id = 1', holder));
            await using wire = await openWire(ways[mode].through);
            await using direct = await openWire(mesh.direct);
            const written = ask(wire, text, own);
            await isWaitedFor(ways[mode].admin, holder);
            await mesh.end(holder, outcome);
            if (outcome === 'commit') await mesh.twin.query('UPDATE item SET qty = 11 WHERE id = 1');
            t.deepEqual(await written, await ask(direct, text, 'no-such-gid'), what);
            t.is((await preparedNames(mesh)).length, 1, what);
            await mesh.end(own, 'commit');
            t.deepEqual(await mesh.dump(), await mesh.dump(mesh.twin), what);
            t.is(await mesh.leftovers(), NOTHING_LEFT, what);
          }
        },
      );
    }

    test.serial(`what nobody else holds is changed at once, ${mode}, PostgreSQL ${major}`, async (t) => {
      const { mesh, ways } = stageOf(major);
      await restore(mesh);
      const [holder, own] = [await mesh.begin(), await mesh.begin()];
      const holding = await mesh.client();
      await holding.query(commented('UPDATE item SET qty = 11 WHERE id = 1', holder));
      await using wire = await openWire(ways[mode].through);
      for (const text of ['UPDATE item SET qty = bump(qty) WHERE id > 1', 'DELETE FROM noted'])
        t.true(
          (await wire.ask(...say.run(commented(text, own)), say.sync)).includes(
            text.startsWith('U') ? 'done UPDATE 5' : 'done DELETE 1',
          ),
          text,
        );
      for (const gid of [holder, own]) await mesh.end(gid, 'rollback');
      t.is(await mesh.leftovers(), NOTHING_LEFT);
    });

    test.serial(`what its own global transaction holds is no obstacle, ${mode}, PostgreSQL ${major}`, async (t) => {
      const { mesh, ways } = stageOf(major);
      await restore(mesh);
      const own = await mesh.begin();
      const holding = await mesh.client();
      await holding.query(commented('UPDATE item SET qty = 11 WHERE id = 1', own));
      await using wire = await openWire(ways[mode].through);
      t.deepEqual(await wire.ask(say.query(commented('UPDATE item SET qty = bump(qty) WHERE id = 1', own))), [
        'done UPDATE 1',
        'ready I',
      ]);
      await mesh.end(own, 'commit');
      t.deepEqual((await mesh.owner.query('SELECT qty FROM item WHERE id = 1')).rows, [{ qty: 12 }]);
    });

    test.serial(`a holder that is known to be committed gives way at once, ${mode}, PostgreSQL ${major}`, async (t) => {
      const { mesh, ways } = stageOf(major);
      await restore(mesh);
      const [holder, own] = [await mesh.begin(), await mesh.begin()];
      const holding = await mesh.client();
      await holding.query(commented('UPDATE item SET qty = 11 WHERE id = 1', holder));
      // As long as somebody has the lock of its branch, the second phase cannot begin.
      await mesh.owner.query('BEGIN');
      await mesh.owner.query('SELECT FROM atomesh.branch_state WHERE gid = $1 FOR UPDATE', [holder]);
      await mesh.coordinator.submit(holder);
      await using wire = await openWire(ways[mode].through);
      const lines = await wire.ask(
        ...say.run(commented('UPDATE item SET qty = bump(qty) WHERE id = 1', own)),
        say.sync,
      );
      t.true(lines.includes('done UPDATE 1'), lines.join(' / '));
      await mesh.owner.query('COMMIT');
      await mesh.over(holder);
      await mesh.end(own, 'commit');
      t.deepEqual((await mesh.owner.query('SELECT qty FROM item WHERE id = 1')).rows, [{ qty: 12 }]);
    });
  }

  test.serial(
    `a row of a table whose trigger makes the change escalate is waited for, PostgreSQL ${major}`,
    async (t) => {
      const { mesh } = stageOf(major);
      for (const outcome of ['commit', 'rollback'] as const) {
        await restore(mesh);
        const [holder, own] = [await mesh.begin(), await mesh.begin()];
        const [holding, writing] = [await mesh.client(), await mesh.client()];
        await holding.query(commented('INSERT INTO noted VALUES (7, 7)', holder));
        const written = writing.query(commented('UPDATE noted SET qty = 8 WHERE id = 7', own));
        await isWaitedFor(mesh.admin, holder);
        await mesh.end(holder, outcome);
        t.is((await written).rowCount, outcome === 'commit' ? 1 : 0);
        await mesh.end(own, 'commit');
        t.deepEqual((await mesh.dump())['noted'], outcome === 'commit' ? ['(1,10)', '(7,108)'] : ['(1,10)']);
      }
    },
  );
}
