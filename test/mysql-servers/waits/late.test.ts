/** KILL QUERY for a statement of a global transaction that is rolled back is late: the statement has ended by then. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import test from 'ava';
import { startMesh } from '../inside/mesh.ts';
import { told } from '../probes/side-by-side.ts';
import { eventually, SERVERS } from '../second-phase/world.ts';
import { someoneWaits } from './waiting.ts';

const SCHEMA = `
create table item (id int primary key, v int);
insert into item values (1, 0), (2, 0);`;

const LATE_MS = 400;
/** Longer than it is late. */
const NEXT = 'select sleep(0.7) as s';

for (const [name, start] of SERVERS) {
  for (const talk of [
    ['begin {gid}', 'update item set v = 1 where id = 2', 'update item set v = 1 where id = 1'],
    ['update item set v = 1 where id = 1 {gid}'],
  ]) {
    test(`${name}: nothing else is interrupted, and nothing else said meanwhile: ${talk.length} statements`, async (t) => {
      let to = 0;
      let kills = 0;
      const wire = createServer((near) => {
        const far = connect(to, '127.0.0.1');
        near.on('data', (chunk: Buffer) => {
          const isKill = chunk.includes('KILL QUERY');
          if (isKill) kills += 1;
          if (isKill) setTimeout(() => far.write(chunk), LATE_MS);
          else far.write(chunk);
        });
        far.on('data', (chunk: Buffer) => near.write(chunk));
        const end = (): void => {
          near.destroy();
          far.destroy();
        };
        for (const side of [near, far]) side.on('error', end).on('close', end);
      });
      wire.listen(0, '127.0.0.1');
      await once(wire, 'listening');
      const { port } = wire.address() as AddressInfo;
      await using mesh = await startMesh({
        start: async () => {
          const server = await start();
          to = server.port;
          return server;
        },
        schema: SCHEMA,
        database: { upstream: `mysql://127.0.0.1:${port}/shop` },
      });
      const blocker = await mesh.plain({ database: 'shop' });
      await blocker.query('begin');
      await blocker.query('select * from item where id = 1 for update');
      const gid = await mesh.begin();
      const client = await mesh.client();
      const texts = talk.map((text) => text.replace('{gid}', `/*atomesh_gid='${gid}'*/`));
      for (const text of texts.slice(0, -1)) await client.query(text);
      const waiting = told(client, texts.at(-1) ?? '');
      await someoneWaits(mesh);
      const ended = mesh.end(gid, 'rollback');
      await eventually('it is to be interrupted', () => Promise.resolve(kills > 0));
      await blocker.query('rollback');
      t.regex(await waiting, /^1213 |^1 rows/);
      await client.query('rollback');
      t.is(await told(client, NEXT), '[{"s":0}]');
      t.is(await ended, 'failed');
      t.deepEqual(await mesh.lines('select v from shop.item'), ['0', '0']);
      t.is(await mesh.leftovers(), '0 records, 0 locks');
      wire.close();
    });
  }
}
