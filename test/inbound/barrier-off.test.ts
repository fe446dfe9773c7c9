/** `inbound.barrier: off`: the application has a barrier of its own, so it is always called and its changes pass as they come. */
import anyTest, { type TestFn } from 'ava';
import { startWorld, type World } from './world.ts';

const test = anyTest as TestFn<{ world: World }>;

test.before(async (t) => {
  t.context.world = await startWorld({ inbound: { barrier: 'off' } });
});
test.after.always((t) => t.context.world?.[Symbol.asyncDispose]());

const ADD = 'UPDATE account SET balance = balance + 1';

test.serial('operations are called each time, a compensation too whose action never changed a row', async (t) => {
  const { world } = t.context;
  world.serve(() => Promise.resolve({ status: 200 }));
  for (const op of ['compensate', 'compensate', 'action', 'try', 'confirm', 'cancel']) {
    const headers = { 'atomesh-gid': await world.begin(), 'atomesh-branch': '01', 'atomesh-op': op };
    const reply = await world.ask('POST', '/rooms', { headers, body: '{}' });
    t.is(reply.status, 200);
    t.is(reply.headers.get('atomesh-barrier'), null);
  }
  t.is(world.seen.length, 6);
});

test.serial(
  'changes inside an operation pass, in as many local transactions as there are, without a row',
  async (t) => {
    const { world } = t.context;
    const client = await world.client();
    const run = (text: string, isSimple: boolean): Promise<unknown> =>
      client.query({ text, ...(isSimple ? {} : { queryMode: 'extended' }) });
    for (const isSimple of [true, false]) {
      const mark = `off-${isSimple}/01/action`;
      const comment = `/*atomesh_gid='${mark}'*/`;
      for (const text of [
        `${ADD} ${comment}`,
        `${ADD} ${comment}`,
        `BEGIN ${comment}`,
        ADD,
        `${ADD} ${comment}`,
        'COMMIT',
      ])
        await t.notThrowsAsync(run(text, isSimple), text);
      await run('BEGIN', isSimple);
      await run(`SELECT set_config('atomesh.gid', '${mark}', true)`, isSimple);
      await run(ADD, isSimple);
      await run('COMMIT', isSimple);
      await run(`SET atomesh.gid = '${mark}'`, isSimple);
      await run(ADD, isSimple);
      await run('RESET atomesh.gid', isSimple);
    }
    t.is(await world.total(), 12);
    for (const table of ['barrier', 'undo_record', 'branch_state']) {
      t.is((await world.owner.query(`SELECT FROM atomesh.${table}`)).rowCount, 0, table);
    }
  },
);

test.serial('a gid without an operation is captured as ever', async (t) => {
  const { world } = t.context;
  const gid = await world.begin();
  await world.sql(gid, ADD);
  t.is((await world.owner.query('SELECT FROM atomesh.undo_record WHERE gid = $1', [gid])).rowCount, 1);
});
