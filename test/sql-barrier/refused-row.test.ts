/** A row of the barrier that the database refuses: the session says so once, and goes on. */
import test from 'ava';
import { openWire, say, type WireClient } from '../sql-e2e/wire-client.ts';
import { run, startWorld, type World } from './world.ts';

let world: World;
test.before(async () => {
  world = await startWorld();
  await world.owner.query("INSERT INTO account VALUES ('a', 100), ('copy', 100)");
});
test.after.always(() => world[Symbol.asyncDispose]());

const NOTE = "INSERT INTO note (said) VALUES ('x')";
let count = 0;
const newGid = (): string => `refused-${(count += 1)}`;
const commented = (text: string, mark: string): string => `${text} /*atomesh_gid='${mark}'*/`;
const kinds = (lines: readonly string[]): readonly string[] =>
  lines.map((line) =>
    line
      .split(' ')
      .slice(0, line.startsWith('error') ? 3 : 2)
      .join(' '),
  );

/** An operation that is done: `retry` runs into its row; and one that was undone before it came. */
async function refusing(): Promise<readonly (readonly [mark: string, code: string])[]> {
  const [done, undone] = [newGid(), newGid()];
  const client = await world.client();
  await client.query(commented(NOTE, `${done}/01/try`));
  await client.end();
  await world.barrier.arrive({ gid: undone as never, branch: '01' as never, task: 'cancel' });
  return [
    [`${done}/01/try`, '25000'],
    [`${undone}/01/try`, '40000'],
  ];
}

async function goesOn(wire: WireClient): Promise<readonly string[]> {
  return kinds(await wire.ask(say.query('SELECT 1')));
}

const GOES_ON = ['fields ?column?:23:4:-1:0', 'row ["1"]', 'done SELECT', 'ready I'];

test.serial('whatever a refused text says of COPY, its error is told and the session goes on', async (t) => {
  for (const text of ["UPDATE account SET amount = 1 WHERE id = 'copy'", 'COPY note (said) FROM STDIN']) {
    for (const [mark, code] of await refusing()) {
      await using wire = await openWire(world.through);
      const lines = await wire.ask(say.query(commented(text, mark)));
      t.deepEqual(kinds(lines), [`error ERROR ${code}`, 'ready I'], text);
      t.deepEqual(await goesOn(wire), GOES_ON, text);
      const copied = await wire.ask(say.query(commented(text, mark)), say.query('SELECT 1'));
      t.deepEqual(kinds(copied).slice(0, 2), [`error ERROR ${code}`, 'ready I'], text);
    }
  }
  t.is(await world.amount('copy'), 100);
});

test.serial('a refused row in a block fails the block, COPY or not', async (t) => {
  for (const text of [NOTE, 'COPY note (said) FROM STDIN']) {
    for (const [mark, code] of await refusing()) {
      await using wire = await openWire(world.through);
      await wire.ask(say.query(commented('BEGIN', mark)));
      t.deepEqual(kinds(await wire.ask(say.query(text))), [`error ERROR ${code}`, 'ready E'], text);
      t.deepEqual(kinds(await wire.ask(say.query('ROLLBACK'))), ['done ROLLBACK', 'ready I']);
      t.deepEqual(await goesOn(wire), GOES_ON, text);
    }
  }
});

test.serial('behind an error that was seen after a Flush everything up to the Sync is dropped', async (t) => {
  const [[repeated] = ['']] = await refusing();
  for (const [first, code] of [
    [commented(NOTE, repeated), '25000'],
    [commented('SELECT 1 / 0', newGid()), '22012'],
    [commented('SELECT 1 / 0', `${newGid()}/01/try`), '22012'],
  ] as const) {
    await using wire = await openWire(world.through);
    wire.send(...say.run(first), say.flush);
    await wire.answers.has('error');
    const lines = kinds(await wire.ask(...say.run(NOTE), say.describe(''), ...say.run('SELECT 1'), say.sync));
    t.is(lines.at(-2), `error ERROR ${code}`, first);
    t.is(lines.at(-1), 'ready I');
    t.deepEqual(await goesOn(wire), GOES_ON, first);
    const client = await world.client();
    t.is((await run(client, 'extended', 'SELECT 1')).rowCount, 1);
    await client.end();
  }
});
