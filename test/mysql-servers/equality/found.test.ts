import { createConnection } from 'mysql2/promise';
import test, { type ExecutionContext } from 'ava';
import { question, type Question } from './asking.ts';
import { SERVERS } from '../second-phase/world.ts';
import type { Batch, Step } from './grammar.ts';
import type { Settings } from './settings.ts';
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
  let sidecar: Stage;
  test.before(`${name} is started behind a sidecar`, async () => {
    sidecar = await startStage({ flavour: name === 'MySQL' ? 'MySQL' : 'MariaDB', start, through: 'sidecar' });
    await sidecar.load(1);
  });
  test.after.always(`${name} is stopped behind a sidecar`, () => sidecar?.[Symbol.asyncDispose]());

  const batchOf = (settings: Settings, statements: readonly string[]): Batch => {
    const steps = statements.map((sql): Step => ({
      kind: 'statement',
      sql: [sql],
      isPrepared: false,
      isQualified: true,
      isNumbered: false,
      asks: [],
    }));
    return { settings, sessions: [[{ isBlock: true, end: 'COMMIT', steps }], []], order: [], isTwoGids: false };
  };
  /** The statements, each of which must be captured, and their rollback. */
  const rollsBackUnder = async (
    t: ExecutionContext,
    settings: Settings,
    statements: readonly string[],
  ): Promise<void> => {
    const captured = stage.tally.captured;
    t.is(await stage.rollsBack(batchOf(settings, statements)), undefined);
    t.is(stage.tally.captured - captured, statements.length, JSON.stringify([...stage.tally.reasons]));
  };
  const rollsBack = (t: ExecutionContext, ...statements: readonly string[]): Promise<void> =>
    rollsBackUnder(t, SETTINGS, statements);

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
    await rollsBackUnder(t, { ...SETTINGS, modes: [] }, [
      "REPLACE INTO @0@.padded (k, e, u) VALUES ('none', 'none', 'one')",
      'DELETE FROM @0@.padded WHERE n = 2 OR e + 0 = 0',
    ]);
  });

  test.serial(`${name}: the empty member of an ENUM in a key is told from the value that is no member`, async (t) => {
    const rows = [2, 0].map((e) => `INSERT INTO @0@.padded (k, e, n) VALUES (x'20202020', ${e}, ${e})`);
    for (const place of ['e + 0 = 2', 'e + 0 < 3', "k = x'20202020'"]) {
      const changes = ['UPDATE @0@.padded SET n = 9 - e', 'DELETE FROM @0@.padded'];
      const all = [...rows, ...changes.map((change) => `${change} WHERE ${place}`)];
      await rollsBackUnder(t, { ...SETTINGS, modes: [] }, all);
    }
  });

  test.serial(`${name}: rows that have exchanged the values of a unique index get them back`, async (t) => {
    await rollsBack(
      t,
      "REPLACE INTO @0@.padded (k, e, u, n) VALUES (x'00000000', 'a', 'two', 5), (x'20202020', 'b', 'one', 6)",
    );
    await rollsBack(
      t,
      "REPLACE INTO @0@.padded (k, e, u) VALUES (x'00000000', 'b', 'three')",
      "REPLACE INTO @0@.padded (k, e, u) VALUES (x'00000000', 'a', 'two'), (x'20202020', 'b', 'three'), (x'00000000', 'b', 'one')",
    );
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

  test.serial(`${name}: a locking read that was prepared is asked about as it was`, async (t) => {
    const asked = async (isPrepared: boolean, sql: string, ask: Question): Promise<number> => {
      const { answered } = sidecar.tally;
      const [step] = batchOf(SETTINGS, [sql]).sessions[0][0]?.steps ?? [];
      const steps = step?.kind === 'statement' ? [{ ...step, isPrepared, asks: [ask] }] : [];
      const locals = [{ isBlock: true, end: 'COMMIT' as const, steps }];
      t.is(await sidecar.commitsAlike({ ...batchOf(SETTINGS, []), sessions: [locals, []] }), undefined);
      return sidecar.tally.answered - answered;
    };
    const [found, warnings] = [question('SELECT FOUND_ROWS()', 'rows-found'), question('SHOW WARNINGS', 'warnings')];
    t.is(await asked(false, 'SELECT count(*) FROM @0@.child LOCK IN SHARE MODE', found), 1);
    // The rows are read once more behind it.
    t.is(await asked(true, 'SELECT count(*) FROM @0@.child LOCK IN SHARE MODE', found), 0);
    for (const isPrepared of [false, true]) {
      t.is(await asked(isPrepared, "SELECT n + 'x' FROM @0@.child LOCK IN SHARE MODE", warnings), 1);
    }
  });

  test.serial(`${name}: BEGIN names a gid behind an error that nobody has looked at`, async (t) => {
    const [failing] = batchOf(SETTINGS, ['SELECT 1 FROM nowhere']).sessions[0];
    const steps = failing?.steps.map((step) => ({ ...step, isPrepared: true })) ?? [];
    const locals = batchOf(SETTINGS, ['UPDATE @0@.parent SET n = 7']).sessions[0];
    const { captured } = sidecar.tally;
    const sessions = [[{ isBlock: false, end: 'COMMIT' as const, steps }, ...locals], []] as const;
    t.is(await sidecar.rollsBack({ ...batchOf(SETTINGS, []), sessions }), undefined);
    t.is(sidecar.tally.captured - captured, 1);
  });

  test.serial(`${name}: without autocommit a gid holds behind an error that nobody has looked at`, async (t) => {
    const { world, way } = sidecar;
    await sidecar.load(1);
    const before = await world.lines('SELECT * FROM shop.parent');
    const gid = await way.begin();
    const connection = await createConnection({ ...world.login, port: way.port, database: 'shop' });
    t.teardown(() => connection.end());
    await connection.query('SET autocommit = 0');
    await t.throwsAsync(connection.execute('SELECT 1 FROM nowhere'));
    await connection.query(`UPDATE parent SET n = 7 WHERE a = 1 /*atomesh_gid='${gid}'*/`);
    await connection.query('UPDATE parent SET n = 7 WHERE a = 2');
    await connection.query('COMMIT');
    t.is(await way.end(gid, 'rollback'), undefined);
    t.deepEqual(await world.lines('SELECT * FROM shop.parent'), before);
  });

  test.serial(`${name}: a row is locked again whose lock went with a savepoint`, async (t) => {
    const { world, way } = sidecar;
    await sidecar.load(1);
    const gid = await way.begin();
    const connection = await createConnection({ ...world.login, port: way.port, database: 'shop' });
    t.teardown(() => connection.end());
    const locks = (): Promise<readonly string[]> =>
      world.lines(`SELECT relation FROM atomesh.row_lock WHERE gid = '${gid}'`);
    await connection.query(`BEGIN /*atomesh_gid='${gid}'*/`);
    for (const sql of ['SAVEPOINT s', 'UPDATE parent SET n = 7', 'ROLLBACK TO s', 'COMMIT'])
      await connection.query(sql);
    t.is((await locks()).length, 0);
    await connection.query(`BEGIN /*atomesh_gid='${gid}'*/`);
    for (const sql of ['SAVEPOINT s', 'UPDATE parent SET n = 7', 'ROLLBACK TO s', 'UPDATE parent SET n = 8', 'COMMIT'])
      await connection.query(sql);
    t.true((await locks()).length >= 3);
    t.is(await way.end(gid, 'rollback'), undefined);
  });

  if (name === 'MariaDB') {
    test.serial(`${name}: a row whose UUID or INET6 is NULL has an image`, async (t) => {
      const tables = await stage.load(1);
      for (const type of [' uuid', ' inet6']) {
        // Columns of the key have no quotes.
        const table = tables.find(({ definition }) => definition.includes(`\`${type}`));
        const [, column] = new RegExp(`(\`[^,]+\`)${type}`).exec(table?.definition ?? '') ?? [];
        await rollsBack(t, `UPDATE ${table?.name} SET ${column} = NULL`, `UPDATE ${table?.name} SET n = 9`);
      }
    });
  }
}
