/** How a statement comes to its operation: comment, setting, trace, application_name; and what is counted when it does not. */
import test from 'ava';
import pg from 'pg';
import { parseMark, type Mark } from '../../src/contract/transaction.ts';
import { now } from '../../src/platform/clock.ts';
import { codeOf, run, startWorld, type Protocol, type World } from './world.ts';

let world: World;
test.before(async () => {
  world = await startWorld();
});
test.after.always(() => world[Symbol.asyncDispose]());

const PROTOCOLS: readonly Protocol[] = ['simple', 'extended'];
const NOTE = "INSERT INTO note (said) VALUES ('x')";
let count = 0;

function newTrace(): { readonly id: string; readonly parent: string } {
  const id = String((count += 1)).padStart(32, 'a');
  return { id, parent: `00-${id}-b7ad6b7169203331-01` };
}

/** Serves a request of that trace under a mark of its own while `work` runs. */
async function serving(trace: string, work: (gid: string) => Promise<void>): Promise<void> {
  const mark = parseMark(`named-${(count += 1)}/01/action`) as Mark;
  const release = world.traces.add(trace, mark, now());
  try {
    await work(mark.gid);
  } finally {
    release?.();
  }
}

const entered = async (gid: string): Promise<number> => (await world.rows(gid)).length;

for (const protocol of PROTOCOLS) {
  test.serial(`a traceparent in a comment leads to the operation: ${protocol}`, async (t) => {
    const client = await world.client();
    const { id, parent } = newTrace();
    await serving(id, async (gid) => {
      await run(client, protocol, `${NOTE} /*traceparent='${parent}'*/`);
      t.is(await entered(gid), 1);
    });
    await client.end();
  });

  test.serial(`a tracestate carries the operation by itself: ${protocol}`, async (t) => {
    const client = await world.client();
    await run(client, protocol, `${NOTE} /*tracestate='atomesh%3Dg%3Astate-${protocol}%2F01%2Faction'*/`);
    t.is(await entered(`state-${protocol}`), 1);
    await client.end();
  });

  test.serial(`application_name leads to the operation where nothing else is named: ${protocol}`, async (t) => {
    for (const how of ['at start-up', 'by SET', 'by set_config'] as const) {
      const { id, parent } = newTrace();
      const client =
        how === 'at start-up' ? new pg.Client({ ...world.through, application_name: parent }) : await world.client();
      if (how === 'at start-up') await client.connect();
      if (how === 'by SET') await run(client, protocol, `SET application_name = '${parent}'`);
      if (how === 'by set_config')
        await run(client, protocol, `SELECT set_config('application_name', '${parent}', false)`);
      await serving(id, async (gid) => {
        await run(client, protocol, 'SELECT 1');
        t.is(await entered(gid), 0, how);
        await run(client, protocol, `${NOTE} /*atomesh_gid='own-${gid}/01/action'*/`);
        t.deepEqual([await entered(gid), await entered(`own-${gid}`)], [0, 1], how);
        await run(client, protocol, NOTE);
        t.is(await entered(gid), 1, how);
        t.is(await codeOf(run(client, protocol, NOTE)), '25000', how);
      });
      t.is(await codeOf(run(client, protocol, NOTE)), undefined, 'the request is over');
      await client.end();
    }
  });
}

test.serial('a setting names an operation, and what is none is refused', async (t) => {
  const client = await world.client();
  await client.query('BEGIN');
  await client.query('SELECT set_config($1, $2, true)'.replace('$1', "'atomesh.gid'").replace('$2', '$1'), [
    'set/01/action',
  ]);
  await client.query(NOTE);
  await client.query('COMMIT');
  t.is(await entered('set'), 1);
  for (const text of ['set/01/dance', 'set/00/try', 'set/01', 'set/01/try/more', 'set//try', 'set/01/msg']) {
    t.is(await codeOf(client.query(`SET atomesh.gid = '${text}'`)), '22023', text);
    t.is(await codeOf(client.query(`SELECT 1 /*atomesh_gid='${text}'*/`)), '22023', text);
  }
  await client.end();
});

/** How many statements of `shop` could not be attributed, by the reason. */
async function unattributed(): Promise<Readonly<Record<string, number>>> {
  const found = (await world.scrape()).matchAll(
    /atomesh_sql_unattributed_total\{database="shop",reason="([a-z-]+)"\} (\d+)/g,
  );
  return Object.fromEntries([...found].map(([, reason, value]) => [reason, Number(value)]));
}

for (const protocol of PROTOCOLS) {
  test.serial(`of a trace with several requests only what provably reads passes: ${protocol}`, async (t) => {
    const client = await world.client();
    const { id, parent } = newTrace();
    const by = (text: string): Promise<unknown> => run(client, protocol, `${text} /*traceparent='${parent}'*/`);
    const others: Mark[] = [parseMark(`beside-${protocol}`) as Mark, parseMark(`beside-${protocol}/02/action`) as Mark];
    for (const other of others) {
      await serving(id, async (gid) => {
        const release = world.traces.add(id, other, now());
        const before = (await unattributed())['ambiguous'] ?? 0;
        for (const text of [NOTE, 'UPDATE account SET amount = 1', "SELECT grow('a')", 'BEGIN', 'CALL twice()'])
          t.is(await codeOf(by(text)), '25000', text);
        for (const text of ['SELECT 1', 'SHOW timezone']) t.is(await codeOf(by(text)), undefined, text);
        t.is((await unattributed())['ambiguous'], before + 7);
        await run(client, protocol, 'BEGIN');
        t.is(await codeOf(by(NOTE)), '25000', 'in a block that nobody named');
        await run(client, protocol, 'ROLLBACK');
        await run(client, protocol, `BEGIN /*atomesh_gid='${gid}/01/action'*/`);
        t.is(await codeOf(by(NOTE)), undefined, 'the block says what it belongs to');
        await run(client, protocol, 'COMMIT');
        t.is(await entered(gid), 1);
        release?.();
      });
    }
    await serving(id, async (gid) => {
      await by(NOTE);
      t.is(await entered(gid), 1, 'one request is left');
    });
    await client.end();
  });

  test.serial(`an application_name whose trace has several requests lets changes not pass: ${protocol}`, async (t) => {
    const { id, parent } = newTrace();
    const client = await world.client();
    await run(client, protocol, `SET application_name = '${parent}'`);
    await serving(id, async () => {
      const release = world.traces.add(id, parseMark('another') as Mark, now());
      t.is(await codeOf(run(client, protocol, NOTE)), '25000');
      t.is(await codeOf(run(client, protocol, 'SELECT 1')), undefined);
      release?.();
    });
    await client.end();
  });
}

test.serial('a statement prepared by name is asked for its trace each time that it runs', async (t) => {
  const client = await world.client();
  const { id, parent } = newTrace();
  const text = `${NOTE} /*traceparent='${parent}'*/`;
  const insert = (): Promise<unknown> => client.query({ name: 'kept', text });
  t.is(await codeOf(insert()), undefined);
  await serving(id, async () => {
    const release = world.traces.add(id, parseMark('another') as Mark, now());
    t.is(await codeOf(insert()), '25000');
    release?.();
  });
  t.is(await codeOf(insert()), undefined);
  await client.end();
});

test.serial('what is carried out while requests are served, and names none, is counted by the reason', async (t) => {
  const client = await world.client();
  const before = await unattributed();
  await client.query(NOTE);
  t.deepEqual(await unattributed(), before, 'nothing is served');
  const { id, parent } = newTrace();
  const since = async (reason: string): Promise<number> =>
    ((await unattributed())[reason] ?? 0) - (before[reason] ?? 0);
  await serving(id, async () => {
    await client.query(NOTE);
    await run(client, 'extended', NOTE);
    for (let time = 0; time < 3; time += 1) await client.query({ name: 'once', text: 'SELECT 1' });
    t.is(await since('none'), 5);
    const unknown = `/*traceparent='00-${'9'.repeat(32)}-b7ad6b7169203331-01'*/`;
    await client.query(`SELECT 1 ${unknown}`);
    await run(client, 'extended', `SELECT 1 ${unknown}`);
    t.is(await since('unknown-trace'), 2);
    await client.query(`SELECT 1 /*traceparent='${parent}'*/`);
    t.deepEqual([await since('none'), await since('unknown-trace')], [5, 2]);
  });
  await client.end();
});
