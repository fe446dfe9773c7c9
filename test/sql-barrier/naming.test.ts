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

test.serial(
  'two operations in one trace name none, and texts that name none are counted while requests are served',
  async (t) => {
    const counted = async (): Promise<number> =>
      Number(/atomesh_sql_unattributed_total\{database="shop"\} (\d+)/.exec(await world.scrape())?.[1] ?? 0);
    const client = await world.client();
    const before = await counted();
    await client.query(NOTE);
    t.is(await counted(), before, 'nothing is served');
    const { id, parent } = newTrace();
    await serving(id, async (one) => {
      await client.query(NOTE);
      await run(client, 'extended', NOTE);
      t.is(await counted(), before + 2);
      await client.query(`SELECT 1 /*traceparent='${parent}'*/`);
      t.is(await counted(), before + 2);
      await serving(id, async (two) => {
        await client.query(`${NOTE} /*traceparent='${parent}'*/`);
        t.is(await counted(), before + 3);
        t.deepEqual([await entered(one), await entered(two)], [0, 0]);
      });
    });
    await client.end();
  },
);
