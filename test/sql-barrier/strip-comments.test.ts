/** With stripComments the server never sees a comment that carries a gid or a trace; everything else is as without. */
import test from 'ava';
import { until } from '../../examples/support/until.ts';
import { parseMark, type Mark } from '../../src/contract/transaction.ts';
import { now } from '../../src/platform/clock.ts';
import { openWire, say } from '../sql-e2e/wire-client.ts';
import { run, startWorld, type Protocol, type World } from './world.ts';

let world: World;
test.before(async () => {
  world = await startWorld(18, { stripComments: true });
});
test.after.always(() => world[Symbol.asyncDispose]());

const TRACE = `/*traceparent='00-${'c'.repeat(32)}-b7ad6b7169203331-01',route='%2Forders'*/`;

/** The text that the server last had of the session with that application_name. */
async function seen(name: string): Promise<string> {
  return until('the server shows a text', async () => {
    const { rows } = await world.owner.query<{ query: string }>(
      "SELECT query FROM pg_stat_activity WHERE application_name = $1 AND state LIKE 'idle%'",
      [name],
    );
    return rows[0]?.query;
  });
}

for (const protocol of ['simple', 'extended'] as const satisfies readonly Protocol[]) {
  test.serial(`comments stay behind, and errors tell positions of the client's own text: ${protocol}`, async (t) => {
    const client = await world.client();
    const name = `strip-${protocol}`;
    await client.query(`SET application_name = '${name}'`);
    await run(client, protocol, `SELECT 'plain' ${TRACE}`);
    t.is((await seen(name)).trim(), "SELECT 'plain'");
    await run(client, protocol, `SELECT 'other' /* a note */`);
    t.is((await seen(name)).trim(), "SELECT 'other' /* a note */");
    const text = `${TRACE} SELECT 'ü', nonsense`;
    const error = await t.throwsAsync(run(client, protocol, text));
    t.is((error as { position?: string }).position, String(text.indexOf('nonsense') + 1));

    const mark = parseMark(`${name}/01/try`) as Mark;
    const release = world.traces.add('c'.repeat(32), mark, now());
    await run(client, protocol, `INSERT INTO note (said) VALUES ('x') ${TRACE}`);
    release?.();
    t.deepEqual(await world.rows(name), ['tcc 01 try try']);
    await run(client, protocol, `BEGIN /*atomesh_gid='${name}-read/01/try'*/`);
    await run(client, protocol, `SELECT 'inside' ${TRACE}`);
    t.is((await seen(name)).trim(), "SELECT 'inside'");
    await run(client, protocol, 'ROLLBACK');
    await client.end();
  });
}

test.serial('a pipeline with such comments is answered as a whole', async (t) => {
  await using wire = await openWire(world.through);
  const lines = await wire.ask(
    ...say.run('SELECT 1'),
    ...say.run(`SELECT 2 ${TRACE}`),
    ...say.run('SELECT 3'),
    say.sync,
  );
  t.deepEqual(
    lines.filter((line) => line.startsWith('row') || line.startsWith('ready')),
    ['row ["1"]', 'row ["2"]', 'row ["3"]', 'ready I'],
  );
});

test.serial('a statement prepared with a comment names its operation when it is run', async (t) => {
  await using wire = await openWire(world.through);
  await wire.ask(say.parse("INSERT INTO note (said) VALUES ('x') /*atomesh_gid='kept/01/try'*/", 'kept'), say.sync);
  await wire.ask(say.bind([], 'kept'), say.execute(), say.sync);
  t.deepEqual(await world.rows('kept'), ['tcc 01 try try']);
});
