import test, { type ExecutionContext } from 'ava';
import { SERVERS } from '../second-phase/world.ts';
import type { Batch, Settings, Step } from './grammar.ts';
import { startStage, type Stage } from './stage.ts';

const SETTINGS: Settings = {
  modes: ['STRICT_TRANS_TABLES'],
  zone: '+00:00',
  isolation: 'REPEATABLE READ',
  autocommit: true,
  countsFound: false,
  collation: 'utf8mb4_general_ci',
  increment: 1,
};

for (const [name, start] of SERVERS) {
  let stage: Stage;
  test.before(`${name} is started`, async () => {
    stage = await startStage({ flavour: name === 'MySQL' ? 'MySQL' : 'MariaDB', start, through: 'parts' });
    await stage.load(1);
  });
  test.after.always(`${name} is stopped`, () => stage?.[Symbol.asyncDispose]());

  const batchOf = (settings: Settings, statements: readonly string[]): Batch => {
    const steps = statements.map((sql): Step => ({
      kind: 'statement',
      sql: [sql],
      isPrepared: false,
      isQualified: true,
      isNumbered: false,
    }));
    return { settings, sessions: [[{ isBlock: true, end: 'COMMIT', steps }], []], order: [], isTwoGids: false };
  };
  /** The statements, each of which must be captured, and their rollback. */
  const rollsBack = async (t: ExecutionContext, ...statements: readonly string[]): Promise<void> => {
    const captured = stage.tally.captured;
    t.is(await stage.rollsBack(batchOf(SETTINGS, statements)), undefined);
    t.is(stage.tally.captured - captured, statements.length, JSON.stringify([...stage.tally.reasons]));
  };

  test.serial(
    `${name}: a row that refers to itself is taken back, though the server does not delete such a row`,
    async (t) => {
      await rollsBack(t, 'INSERT INTO @0@.node (id, up, n) VALUES (8, 8, 1), (9, 8, 2)');
    },
  );

  test.serial(`${name}: a ring of rows that refer to each other is taken back`, async (t) => {
    await rollsBack(
      t,
      'INSERT INTO @0@.node (id, up, n) VALUES (8, NULL, 1), (9, 8, 2)',
      'UPDATE @0@.node SET up = 9 WHERE id = 8',
    );
  });

  test.serial(
    `${name}: parents and children that one statement deletes come back, whichever it names first`,
    async (t) => {
      const from = 'FROM @0@.child AS c STRAIGHT_JOIN @0@.parent AS p ON c.a = p.a AND c.b = p.b WHERE p.a = 2';
      await rollsBack(t, 'UPDATE @0@.child SET tag = NULL', `DELETE p, c ${from}`);
      await rollsBack(t, 'UPDATE @0@.child SET tag = NULL', `DELETE c, p ${from}`);
    },
  );

  test.serial(`${name}: a value that is no member of its ENUM is told from the members in a key`, async (t) => {
    const batch = batchOf({ ...SETTINGS, modes: [] }, [
      "REPLACE INTO @0@.padded (k, e, u) VALUES ('none', 'none', 'one')",
      'DELETE FROM @0@.padded WHERE n = 2 OR e + 0 = 0',
    ]);
    const { captured } = stage.tally;
    t.is(await stage.rollsBack(batch), undefined);
    t.is(stage.tally.captured - captured, 2, JSON.stringify([...stage.tally.reasons]));
  });

  test.serial(
    `${name}: a row that is not found under the key that it was given is not counted for another one`,
    async (t) => {
      for (const countsFound of [true, false]) {
        for (const sql of [
          "REPLACE INTO @0@.padded (k, e, n) VALUES (x'01', 'a', 1), (x'20202020', 'b', 3)",
          "INSERT INTO @0@.padded (k, e, n) VALUES (x'01', 'a', 1), (x'20202020', 'b', 2) ON DUPLICATE KEY UPDATE n = 2",
        ]) {
          const { refused } = stage.tally;
          t.is(await stage.rollsBack(batchOf({ ...SETTINGS, countsFound }, [sql])), undefined);
          t.is(stage.tally.refused - refused, 1, sql);
        }
      }
    },
  );

  if (name === 'MariaDB') {
    test.serial(`${name}: a row whose UUID or INET6 is NULL has an image`, async (t) => {
      const tables = await stage.load(1);
      for (const type of [' uuid', ' inet6']) {
        const table = tables.find(({ definition }) => definition.includes(type));
        const [, column] = new RegExp(`(\`[^,]+\`)${type}`).exec(table?.definition ?? '') ?? [];
        await rollsBack(t, `UPDATE ${table?.name} SET ${column} = NULL`, `UPDATE ${table?.name} SET n = 9`);
      }
    });
  }
}
