/** A proxy in front of the server, which numbers the connections of its clients itself: KILL QUERY with such a number would hit somebody else. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import test from 'ava';
import { startMesh } from '../inside/mesh.ts';
import { told } from '../probes/side-by-side.ts';
import { SERVERS } from '../second-phase/world.ts';
import { someoneWaits } from './waiting.ts';

const SCHEMA = `
create table item (id int primary key, v int);
insert into item values (1, 0);`;

/** Where the text of the version begins in the first packet of a server; behind its NUL is the number of the connection. */
const VERSION_AT = 5;
/** Longer than it takes to interrupt a statement five times. */
const LONG_S = 2;

for (const [name, start] of SERVERS) {
  test(`${name}: a session that has another number at the server is not interrupted, nor is who has its number there`, async (t) => {
    let to = 0;
    let number: number | undefined;
    let kills = 0;
    const wire = createServer((near) => {
      const far = connect(to, '127.0.0.1');
      near.on('data', (chunk: Buffer) => {
        if (chunk.includes('KILL QUERY')) kills += 1;
        far.write(chunk);
      });
      far.once('data', (greeting: Buffer) => {
        if (number !== undefined) greeting.writeUInt32LE(number, greeting.indexOf(0, VERSION_AT) + 1);
        near.write(greeting);
        far.on('data', (chunk: Buffer) => near.write(chunk));
      });
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
    const [blocker, other] = [await mesh.plain({ database: 'shop' }), await mesh.plain()];
    await blocker.query('begin');
    await blocker.query('select * from item where id = 1 for update');
    number = (other as unknown as { threadId: number }).threadId;
    const [gid, client] = [await mesh.begin(), await mesh.client()];
    const waiting = told(client, `update item set v = 1 where id = 1 /*atomesh_gid='${gid}'*/`);
    await someoneWaits(mesh);
    const slept = told(other, `select sleep(${LONG_S}) as s`);
    const ended = mesh.end(gid, 'rollback');
    t.is(await slept, '[{"s":0}]');
    t.is(kills, 0);
    await blocker.query('rollback');
    t.regex(await waiting, /^1213 /);
    t.is(await ended, 'failed');
    t.deepEqual(await mesh.lines('select v from shop.item'), ['0']);
    t.is(await mesh.leftovers(), '0 records, 0 locks');
    wire.close();
  });
}
