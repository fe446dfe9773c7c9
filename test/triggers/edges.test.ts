import test from 'ava';
import { until } from '../../examples/support/until.ts';
import { NOTHING_LEFT, type Mesh } from '../sql-e2e/mesh.ts';
import { openWire, say, type WireClient } from '../sql-e2e/wire-client.ts';
import { commented, prove, reset, startTriggerMesh, tell, type Script } from './mesh.ts';

let mesh: Mesh;
test.before(async () => {
  mesh = await startTriggerMesh(18);
  await mesh.owner.query('CREATE TABLE bare (id int PRIMARY KEY)');
  await reset(mesh);
});
test.after.always(() => mesh[Symbol.asyncDispose]());

const copied = 'copy-in';

async function copyIn(wire: WireClient, text: string, rows: string): Promise<readonly string[]> {
  wire.send(say.query(text));
  await wire.answers.has(copied);
  return wire
    .ask({ kind: 'copy-data', data: Buffer.from(rows) }, { kind: 'copy-done' }, say.query('SELECT 1'))
    .then(async (lines) => [
      ...lines,
      ...(lines.filter((line) => line.startsWith('ready')).length < 2 ? await wire.answers.ready(1) : []),
    ]);
}

const SCRIPTS: Readonly<Record<string, Script>> = {
  'COPY FROM by itself': (wire, gid) =>
    copyIn(wire, commented('COPY child FROM STDIN', gid), '60\t1\tsixty\n61\t2\tsixty-one\n'),
  'COPY FROM in a block': async (wire, gid) => [
    ...(await tell(wire, 'simple', commented('BEGIN', gid))),
    ...(await copyIn(wire, 'COPY part (id, region, v) FROM STDIN', '60\teu\t1\n61\tus\t2\n')),
    ...(await tell(wire, 'extended', 'UPDATE part SET v = v + 1')),
    ...(await tell(wire, 'simple', 'COMMIT')),
  ],
  'COPY of what a change returns': (wire, gid) =>
    tell(wire, 'simple', commented('COPY (DELETE FROM loose RETURNING id, p) TO STDOUT', gid)),
  'several statements in one text': (wire, gid) =>
    tell(
      wire,
      'simple',
      commented('UPDATE parent SET v = 1; SELECT take(3); CALL transfer(1, 2); DELETE FROM flip', gid),
    ),
  'several statements, the last of which fails': (wire, gid) =>
    tell(wire, 'simple', commented('DELETE FROM loose; DELETE FROM child WHERE id = 7', gid)),
  'a block without savepoint that fails': async (wire, gid) => [
    ...(await tell(wire, 'simple', commented('BEGIN', gid))),
    ...(await tell(wire, 'extended', 'DELETE FROM loose')),
    ...(await tell(wire, 'extended', 'SELECT 1 / 0')),
    ...(await tell(wire, 'extended', 'DELETE FROM flip')),
    ...(await tell(wire, 'simple', 'COMMIT')),
  ],
  'EXPLAIN ANALYZE': async (wire, gid) => {
    const lines = await tell(
      wire,
      'simple',
      commented('EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off) DELETE FROM loose', gid),
    );
    // With triggers of ours there are lines about them.
    return lines.filter((line) => !line.includes('atomesh') && !line.startsWith('done'));
  },
  'PREPARE and EXECUTE': async (wire, gid) => [
    ...(await tell(wire, 'simple', commented('BEGIN', gid))),
    ...(await tell(wire, 'simple', 'PREPARE p (int) AS DELETE FROM parent WHERE id = $1 RETURNING id')),
    ...(await tell(wire, 'simple', 'EXECUTE p (3)')),
    ...(await tell(wire, 'simple', 'COMMIT')),
  ],
  'a named statement, often': async (wire, gid) => {
    const lines = [
      ...(await tell(wire, 'simple', commented('BEGIN', gid))),
      ...(await wire.ask(say.parse('UPDATE parent SET v = v + $1 WHERE id = $2 RETURNING v', 's', [23, 23]), say.sync)),
    ];
    for (let id = 1; id <= 4; id += 1)
      lines.push(...(await wire.ask(say.bind([id, id], 's'), say.describe(), say.execute(), say.sync)));
    return [...lines, ...(await tell(wire, 'simple', 'COMMIT'))];
  },
  'a pipeline of several': (wire, gid) =>
    wire.ask(
      ...say.run(commented('DELETE FROM loose', gid)),
      ...say.run('SELECT take(2)'),
      ...say.run('UPDATE flip SET v = 50'),
      say.sync,
    ),
  'a cursor, and the row that it is at': async (wire, gid) => [
    ...(await tell(wire, 'simple', commented('BEGIN', gid))),
    ...(await tell(wire, 'simple', 'DECLARE c CURSOR FOR SELECT * FROM parent ORDER BY id')),
    ...(await tell(wire, 'simple', 'FETCH 2 FROM c')),
    ...(await tell(wire, 'simple', 'DELETE FROM parent WHERE CURRENT OF c')),
    ...(await tell(wire, 'simple', 'COMMIT')),
  ],
  MERGE: (wire, gid) =>
    tell(
      wire,
      'extended',
      commented(
        'MERGE INTO flip USING loose ON loose.id = flip.id WHEN MATCHED THEN UPDATE SET v = 60 WHEN NOT MATCHED BY SOURCE THEN DELETE',
        gid,
      ),
    ),
};

test.serial('whatever way a change comes, the client hears the same and it can be taken back', async (t) => {
  for (const [title, script] of Object.entries(SCRIPTS))
    await prove(t, mesh, { title, script, outcomes: ['rollback'] });
});

test.serial('what triggers cannot record is refused, and nothing is changed', async (t) => {
  const before = await mesh.dump();
  await using wire = await openWire(mesh.through);
  for (const [sql, code] of [
    ['TRUNCATE loose', '0A000'],
    ['CREATE TABLE late (id int)', '0A000'],
    ['DELETE FROM bare', '0A000'],
    ['INSERT INTO keyless VALUES (1)', '0A000'],
    ['SELECT fill()', '0A000'],
    ['WITH d AS (DELETE FROM bare RETURNING id) SELECT * FROM d', '0A000'],
    ['DO $$ BEGIN DELETE FROM loose; TRUNCATE flip; END $$', '0A000'],
    ['DO $$ BEGIN DELETE FROM loose; COMMIT; END $$', '2D000'],
    ["SET atomesh.branch = ''", '0A000'],
    ["SELECT set_config('atomesh.committed', '{}', true)", '0A000'],
    ['SELECT lo_create(0)', '0A000'],
  ] as const) {
    const gid = await mesh.begin();
    const lines = await tell(wire, 'simple', commented(sql, gid));
    t.true(lines[0]?.startsWith(`error ERROR ${code}`), `${sql}: ${lines.join(' / ')}`);
    await mesh.end(gid, 'rollback');
    t.deepEqual(await mesh.dump(), before, sql);
  }
  t.is(await mesh.leftovers(), NOTHING_LEFT);
});

for (const inBlock of [true, false]) {
  test.serial(`a trigger that meets another's row waits, ${inBlock ? 'in a block' : 'by itself'}`, async (t) => {
    await reset(mesh);
    await using holder = await openWire(mesh.through);
    await using wire = await openWire(mesh.through);
    const held = await mesh.begin();
    await tell(holder, 'extended', commented('UPDATE total SET n = 0 WHERE id = 9', held));
    const gid = await mesh.begin();
    const statements = inBlock
      ? [commented('BEGIN', gid), 'SELECT take(5)', 'COMMIT']
      : [commented('SELECT take(5)', gid)];
    const done = (async () => {
      const lines: string[] = [];
      for (const text of statements) lines.push(...(await tell(wire, 'extended', text)));
      return lines;
    })();
    await until('the statement waits', async () => {
      const { rows } = await mesh.owner.query<{ n: string }>(
        'SELECT count(*) AS n FROM atomesh.branch_state WHERE gid = $1',
        [gid],
      );
      return rows[0]?.n === '1' ? true : undefined;
    });
    await mesh.end(held, 'rollback');
    t.true((await done).some((line) => line === 'row ["5"]'));
    t.deepEqual((await mesh.dump())['total']?.at(-1), '(9,95)');
    await mesh.end(gid, 'rollback');
    t.deepEqual((await mesh.dump())['total']?.at(-1), '(9,100)');
    t.is(await mesh.leftovers(), NOTHING_LEFT);
  });
}

test.serial(
  'a row that stays held is an error after the lock timeout, and the block goes on from a savepoint',
  async (t) => {
    await reset(mesh);
    await using holder = await openWire(mesh.through);
    await using wire = await openWire(mesh.through);
    const held = await mesh.begin();
    await tell(holder, 'simple', commented('UPDATE total SET n = 0 WHERE id = 9', held));
    const gid = await mesh.begin();
    await tell(wire, 'simple', commented('BEGIN', gid));
    await tell(wire, 'simple', 'DELETE FROM loose WHERE id = 1');
    await tell(wire, 'simple', 'SAVEPOINT s');
    t.regex((await tell(wire, 'simple', 'SELECT take(5)'))[0] ?? '', /^error ERROR 55P03/);
    await tell(wire, 'simple', 'ROLLBACK TO s');
    await tell(wire, 'simple', 'DELETE FROM loose WHERE id = 2');
    t.is((await tell(wire, 'simple', 'COMMIT')).at(-1), 'ready I');
    await mesh.end(gid, 'rollback');
    await mesh.end(held, 'rollback');
    t.is((await mesh.dump())['loose']?.length, 4);
    t.is(await mesh.leftovers(), NOTHING_LEFT);
  },
);
