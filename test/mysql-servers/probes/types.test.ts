import test from 'ava';
import { CAPABILITY } from '../../../proxy/mysql/wire/capabilities.ts';
import type { Command } from '../../../proxy/mysql/wire/commands.ts';
import { TYPE } from '../../../proxy/mysql/wire/values.ts';
import { startMesh } from '../inside/mesh.ts';
import { rawClient } from '../raw-client.ts';
import { SERVERS } from '../second-phase/world.ts';

const query = (text: string): Command => ({ kind: 'query', attributes: undefined, text: Buffer.from(text) });

for (const [name, start] of SERVERS) {
  test(`${name}: a value is never read by types that another run, without a gid, has replaced since`, async (t) => {
    await using mesh = await startMesh({
      start,
      schema: 'create table item (id int primary key, v bigint); insert into item values (1, 0);',
    });
    const client = await rawClient(mesh.port, mesh.server.user, CAPABILITY.deprecateEof, 'shop');
    const ask = async (...commands: readonly Command[]): Promise<readonly boolean[]> =>
      (await client.ask(...commands)).map((packet) => packet[0] === 0);
    const [prepared] = await client.ask({
      kind: 'stmt-prepare',
      text: Buffer.from('update item set v = ? where id = 1'),
    });
    const run = (code: number, value: Buffer, sendsTypes: boolean): Command => ({
      kind: 'stmt-execute',
      statement: prepared?.readUInt32LE(1) ?? 0,
      flags: 0,
      iterations: 1,
      parameters: [{ name: Buffer.alloc(0), type: { code, flags: 0 }, value }],
      sendsTypes,
    });
    const [five, seven] = [Buffer.alloc(8), Buffer.alloc(8)];
    five.writeBigInt64LE(5n);
    seven.writeDoubleLE(7);
    const gid = await mesh.begin();
    const enter = query(`set @atomesh_gid = '${gid}'`);
    const leave = query('set @atomesh_gid = null');
    t.deepEqual(await ask(run(TYPE.longlong, five, true), enter, run(TYPE.longlong, five, true)), [true, true, true]);
    t.deepEqual(await ask(run(TYPE.longlong, five, false)), [true], 'types that were seen hold');
    t.deepEqual(await ask(leave, run(TYPE.longlong, five, false), enter), [true, true, true]);
    t.deepEqual(await ask(run(TYPE.longlong, five, false)), [true], 'a run that sends none changes none');
    await mesh.end(gid, 'rollback');
    const next = await mesh.begin();
    t.deepEqual(await ask(leave), [true]);
    t.deepEqual(await ask(run(TYPE.double, seven, true)), [true]);
    t.deepEqual(await mesh.lines('select v from shop.item'), ['7']);
    t.deepEqual(await ask(query(`set @atomesh_gid = '${next}'`), run(TYPE.double, seven, false)), [true, false]);
    t.deepEqual(await mesh.lines('select v from shop.item'), ['7']);
    t.deepEqual(await ask(run(TYPE.double, seven, true)), [true], 'it works when they are sent again');
    client.close();
  });

  test(`${name}: the server is told the types that only a run inside a global transaction has sent`, async (t) => {
    await using mesh = await startMesh({
      start,
      schema: 'create table item (id int primary key, v bigint); insert into item values (1, 0);',
    });
    const client = await rawClient(mesh.port, mesh.server.user, CAPABILITY.deprecateEof, 'shop');
    const text = 'update item set v = ? where id = 1';
    const [prepared] = await client.ask({ kind: 'stmt-prepare', text: Buffer.from(text) });
    const run = (value: number, sendsTypes: boolean): Command => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigInt64LE(BigInt(value));
      return {
        kind: 'stmt-execute',
        statement: prepared?.readUInt32LE(1) ?? 0,
        flags: 0,
        iterations: 1,
        parameters: [{ name: Buffer.alloc(0), type: { code: TYPE.longlong, flags: 0 }, value: bytes }],
        sendsTypes,
      };
    };
    const gid = await mesh.begin();
    const [first] = await client.ask(query(`set @atomesh_gid = '${gid}'`), run(5, true));
    t.is(first?.[0], 0);
    await mesh.end(gid, 'commit');
    const packets = await client.ask(query('set @atomesh_gid = null'), run(6, false), run(7, false));
    t.deepEqual(
      packets.map((packet) => packet[0]),
      [0, 0, 0],
    );
    t.deepEqual(await mesh.lines('select v from shop.item'), ['7']);
    client.close();
  });
}
