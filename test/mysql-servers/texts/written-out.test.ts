/**
 * A prepared statement means what it meant when it was prepared, and only the client's own command does: what the sidecar writes out of it
 * would be read by the database that is selected now.
 */
import test from 'ava';
import type mysql from 'mysql2/promise';
import { CAPABILITY } from '../../../proxy/mysql/wire/capabilities.ts';
import type { Command } from '../../../proxy/mysql/wire/commands.ts';
import { decodeError } from '../../../proxy/mysql/wire/outcome.ts';
import { decodePrepareOk } from '../../../proxy/mysql/wire/rows.ts';
import { TYPE } from '../../../proxy/mysql/wire/values.ts';
import { startMesh, type Mesh } from '../inside/mesh.ts';
import { rawClient, type RawClient } from '../raw-client.ts';
import { SERVERS } from '../second-phase/world.ts';

const SCHEMA = `
create table t (id int primary key, v varchar(20)); insert into t values (1, 'a'), (2, 'a');
create table u (id int primary key, v varchar(20)); insert into u values (1, 'a')`;

const MODES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  undo: { escalate: 'off' },
  escalating: { escalate: 'xa' },
  xa: { mode: 'xa' },
};

/** What is written out before it runs, as text: it asks about the statement before. */
const ASKING: readonly string[] = [
  "update t set v = concat('r', row_count()) where id = 1",
  "insert into t select row_count() + 10, 'r'",
  'delete from t where id = row_count()',
  'select row_count() as n, v from t where id = 1',
  'select row_count() as n, v from t where id = 1 for update',
];

const CHANGE_FIRST = "update shop.u set v = 'first' where id = 1";
const SINCE = /a prepared statement, since whose preparation .*Prepare it again/s;

for (const [name, start] of SERVERS) {
  for (const [mode, database] of Object.entries(MODES)) {
    let mesh: Mesh;
    test.before(async () => {
      mesh = await startMesh({ start, schema: SCHEMA, database });
    });
    test.after.always(async () => mesh?.[Symbol.asyncDispose]());

    const where = `${name}, ${mode}`;
    const rows = async (): Promise<readonly string[]> =>
      mesh.lines(`
        select 'shop', id, v from shop.t union all select 'shop.u', id, v from shop.u
        union all select 'plain', id, v from plain.t order by 1, 2`);
    const execute = async (statement: mysql.PreparedStatementInfo, values: unknown[]): Promise<string> =>
      statement.execute(values as never).then(
        ([outcome]) => (Array.isArray(outcome) ? JSON.stringify(outcome) : 'done'),
        (error: unknown) => (error as Error).message,
      );

    for (const sql of ASKING) {
      // In mode xa what stands alone is prepared, and nothing follows it on its connection.
      for (const isOpen of mode === 'xa' ? [true] : [true, false]) {
        const how = isOpen ? 'in a local transaction' : 'alone';
        test.serial(`${where}: what asks about the one before runs in no other database, ${how}: ${sql}`, async (t) => {
          const before = await rows();
          const client = await mesh.client();
          const statement = await client.prepare(sql);
          await client.query('use plain');
          const gid = await mesh.begin();
          await client.query(isOpen ? `begin /*atomesh_gid='${gid}'*/` : `set @atomesh_gid = '${gid}'`);
          await client.query(CHANGE_FIRST);
          t.regex(await execute(statement, []), SINCE);
          if (isOpen) await client.query('commit');
          await mesh.end(gid, 'commit');
          t.deepEqual(
            await rows(),
            before.map((line) => (line.startsWith('shop.u') ? 'shop.u 1 first' : line)),
          );
          await mesh.owner.query("update shop.u set v = 'a'");
          client.destroy();
        });
      }
    }

    test.serial(`${where}: where the same database is selected it runs, and tells of the one before`, async (t) => {
      const client = await mesh.client();
      const [asks, changes] = [await client.prepare(ASKING[3] ?? ''), await client.prepare(ASKING[0] ?? '')];
      const gid = await mesh.begin();
      await client.query(`begin /*atomesh_gid='${gid}'*/`);
      await client.query(CHANGE_FIRST);
      t.is(await execute(asks, []), '[{"n":1,"v":"a"}]');
      await client.query("update shop.u set v = 'second' where id = 1");
      t.is(await execute(changes, []), 'done');
      t.is(JSON.stringify((await client.query('select v from t where id = 1'))[0]), '[{"v":"r1"}]');
      await client.query('rollback');
      await mesh.end(gid, 'rollback');
      client.destroy();
    });

    test.serial(`${where}: the client's own command means what it meant`, async (t) => {
      const before = await rows();
      for (const outcome of ['rollback', 'commit'] as const) {
        const client = await mesh.client();
        const statement = await client.prepare('update t set v = ? where id = 1');
        const reads = await client.prepare('select v from t where id = ?');
        await client.query('use plain');
        const gid = await mesh.begin();
        await client.query(`begin /*atomesh_gid='${gid}'*/`);
        t.is(await execute(reads, [1]), '[{"v":"a"}]');
        const done = await execute(statement, ['b']);
        if (mode === 'undo') t.regex(done, SINCE);
        else t.is(done, 'done');
        await client.query('commit');
        await mesh.end(gid, outcome);
        const isChanged = mode !== 'undo' && outcome === 'commit';
        t.deepEqual(
          await rows(),
          before.map((line) => (isChanged && line === 'shop 1 a' ? 'shop 1 b' : line)),
        );
        client.destroy();
      }
      await mesh.owner.query("update shop.t set v = 'a'");
    });

    test.serial(`${where}: a temporary table of another database is not what it is about`, async (t) => {
      const before = await rows();
      for (const isOpen of [true, false]) {
        const client = await mesh.client();
        const statement = await client.prepare('update t set v = ? where id = 1');
        await client.query('use plain');
        await client.query("create temporary table t (id int primary key, v varchar(20)) select 1 as id, 'mine' as v");
        const gid = await mesh.begin();
        await client.query(isOpen ? `begin /*atomesh_gid='${gid}'*/` : `set @atomesh_gid = '${gid}'`);
        const done = await execute(statement, ['b']);
        if (mode === 'undo') t.regex(done, SINCE);
        else t.regex(done, /^done$|since whose preparation/);
        if (isOpen) await client.query('commit');
        await mesh.end(gid, 'rollback');
        t.deepEqual(await rows(), before);
        client.destroy();
      }
    });

    if (name !== 'MariaDB') continue;

    const query = (sql: string): Command => ({ kind: 'query', attributes: undefined, text: Buffer.from(sql) });
    const bulk = (statement: number, values: readonly (readonly string[])[]): Command => ({
      kind: 'stmt-bulk-execute',
      statement,
      flags: 128,
      types: (values[0] ?? []).map(() => ({ code: TYPE.varString, flags: 0 })),
      rows: values.map((row) => row.map((value) => Buffer.from(value))),
    });
    const prepare = async (client: RawClient, sql: string): Promise<number> => {
      const [packet = Buffer.alloc(0)] = await client.ask({ kind: 'stmt-prepare', text: Buffer.from(sql) });
      const prepared = decodePrepareOk(packet);
      if (prepared.kind !== 'prepare-ok') throw new Error(packet.toString('latin1'));
      return prepared.statement;
    };
    const said = (client: RawClient, packet: Buffer | undefined): string => {
      if (packet?.[0] !== 0xff) return 'done';
      const error = decodeError(packet, client.capabilities);
      return error.kind === 'error' ? error.message.toString() : 'no error';
    };

    test.serial(`${where}: rows of parameters change no other database`, async (t) => {
      const before = await rows();
      for (const isOpen of [true, false]) {
        for (const outcome of ['rollback', 'commit'] as const) {
          const client = await rawClient(mesh.port, mesh.server.user, CAPABILITY.mariadbBulk, 'shop');
          const statement = await prepare(client, 'update t set v = ? where id = ?');
          const asking = await prepare(client, 'update t set v = concat(?, row_count()) where id = ?');
          await client.ask(query('use plain'));
          const gid = await mesh.begin();
          await client.ask(query(isOpen ? `begin /*atomesh_gid='${gid}'*/` : `set @atomesh_gid = '${gid}'`));
          const values = [
            ['b', '1'],
            ['c', '2'],
          ];
          const [refused] = await client.ask(bulk(asking, values));
          t.regex(said(client, refused), /^atomesh: /);
          const [done] = await client.ask(bulk(statement, values));
          if (mode === 'undo') t.regex(said(client, done), SINCE);
          else t.is(said(client, done), 'done');
          if (isOpen) await client.ask(query('commit'));
          await mesh.end(gid, outcome);
          const isChanged = mode !== 'undo' && outcome === 'commit';
          t.deepEqual(
            await rows(),
            before.map((line) => {
              if (!isChanged) return line;
              return line.replace('shop 1 a', 'shop 1 b').replace('shop 2 a', 'shop 2 c');
            }),
          );
          await mesh.owner.query("update shop.t set v = 'a'");
          client.close();
        }
      }
    });
  }
}
