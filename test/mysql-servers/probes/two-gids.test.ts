/** Another global transaction is named, or none any more, in the midst of a local transaction. */
import test from 'ava';
import { ITEMS, of, onEachWay, UNCHANGED } from './each-way.ts';

onEachWay({ schema: ITEMS, lockTimeoutMs: 300 }, ({ name, escalate, mesh }) => {
  const rows = (): Promise<readonly string[]> => mesh().lines('select * from shop.item');

  test.serial(`${name}, escalate ${escalate}: one that has changed rows is for one global transaction`, async (t) => {
    const [one, two] = [await mesh().begin(), await mesh().begin()];
    const set = (gid: string): string => `set @atomesh_gid = '${gid}'`;
    const begins = [[`begin ${of(one)}`], [set(one), 'begin'], [set(one), 'set autocommit = 0']];
    const others = [
      `update item set v = 2 where id = 2 ${of(two)}`,
      `begin ${of(two)}`,
      set(two),
      'set @atomesh_gid = null',
      `commit ${of(two)}`,
    ];
    for (const begin of begins) {
      for (const other of others) {
        const client = await mesh().client();
        for (const text of [...begin, 'update item set v = v + 1 where id = 1']) await client.query(text);
        await t.throwsAsync(client.query(other), { message: /^atomesh: this local transaction already/ }, other);
        await client.query('update item set v = v + 3 where id = 3');
        await client.query('commit');
        client.destroy();
      }
    }
    t.deepEqual(await rows(), ['1 15', '2 0', '3 45']);
    await mesh().end(one, 'rollback');
    t.deepEqual(await rows(), UNCHANGED);
    await mesh().end(two, 'rollback');
    t.is(await mesh().leftovers(), '0 records, 0 locks');
  });

  test.serial(
    `${name}, escalate ${escalate}: what BEGIN names is what it begins, also where it commits another one`,
    async (t) => {
      for (const outcome of ['commit', 'rollback'] as const) {
        const [one, two] = [await mesh().begin(), await mesh().begin()];
        const client = await mesh().client();
        const begin = escalate === 'off' ? `begin ${of(one)}` : 'begin';
        for (const text of [
          begin,
          'select * from item',
          `start transaction ${of(two)}`,
          'update item set v = 2 where id = 2',
        ])
          await client.query(text);
        await client.query('commit');
        client.destroy();
        await mesh().end(one, 'commit');
        t.deepEqual(await rows(), ['1 0', '2 2', '3 0']);
        await mesh().end(two, outcome);
        t.deepEqual(await rows(), outcome === 'commit' ? ['1 0', '2 2', '3 0'] : UNCHANGED);
        await mesh().owner.query('update shop.item set v = 0');
      }
    },
  );

  test.serial(
    `${name}, escalate ${escalate}: BEGIN without a name, behind one with a name, begins what is nobody's`,
    async (t) => {
      const one = await mesh().begin();
      const client = await mesh().client();
      for (const text of [`begin ${of(one)}`, 'update item set v = 1 where id = 1', 'begin']) await client.query(text);
      for (const text of [
        'update item set v = 2 where id = 2',
        'rollback',
        'begin',
        'update item set v = 3 where id = 3',
      ])
        await client.query(text);
      await client.query('commit');
      t.deepEqual(await rows(), ['1 1', '2 0', '3 3']);
      await mesh().end(one, 'rollback');
      t.deepEqual(await rows(), ['1 0', '2 0', '3 3']);
      await mesh().owner.query('update shop.item set v = 0');
      client.destroy();
    },
  );
});
