/** A sidecar in front of a real server, with accounts that have what `atomesh db init` grants, and with less. */
import test, { type ExecutionContext } from 'ava';
import mysql from 'mysql2/promise';
import type { MariadbServer } from '../../../examples/support/mariadb-server.ts';
import { until } from '../../../examples/support/until.ts';
import { initialiseDatabase } from '../../../proxy/mysql/setup/init.ts';
import { xidOf, xidSql } from '../../../proxy/mysql/xa/names.ts';
import { sidecarOptions } from '../../../proxy/options.ts';
import { startSidecar, type Sidecar } from '../../../proxy/proxy.ts';
import { connectCoordinator } from '../../../src/client/connect.ts';
import type { CoordinatorClient } from '../../../src/client/coordinator-client.ts';
import { startCoordinator, type Coordinator } from '../../../src/coordinator.ts';
import { coordinatorOptions } from '../../../src/options.ts';
import { openLog, type Log } from '../../../src/platform/log.ts';
import { SERVERS, silent } from '../second-phase/world.ts';

const TABLES = `create table account (id int primary key, balance int not null); insert into account values (1, 100), (2, 100)`;

for (const [name, start] of SERVERS) {
  let server: MariadbServer;
  let coordinator: Coordinator;
  let client: CoordinatorClient;
  test.before(`${name} and a coordinator are started`, async () => {
    server = await start();
    for (const database of ['shop', 'other'])
      await server.run(`create database ${database}; use ${database}; ${TABLES}`);
    await server.run(`create user app@'127.0.0.1'; create user phase@'127.0.0.1' identified by 'p@ss word'; create user little@'127.0.0.1';
      grant select, insert, update, delete on shop.* to app@'127.0.0.1'; grant select, update on other.* to app@'127.0.0.1'`);
    const options = coordinatorOptions.parse({ listen: '127.0.0.1:0', grpc: { listen: 'off' }, store: { memory: {} } });
    coordinator = await startCoordinator(options, silent);
    client = connectCoordinator({ url: coordinator.url, timeoutMs: 5_000 });
  });
  test.after.always(`${name} and the coordinator are stopped`, async () => {
    await client?.close();
    await coordinator?.close(100);
    await server?.[Symbol.asyncDispose]();
  });

  const admin = () => ({ host: '127.0.0.1', port: server.port, user: server.user });
  const connect = async (t: ExecutionContext, user: string, port: number): Promise<mysql.Connection> => {
    const connection = await mysql.createConnection({ host: '127.0.0.1', port, user, database: 'shop' });
    connection.on('error', () => undefined);
    t.teardown(() => connection.destroy());
    return connection;
  };
  const balances = async (t: ExecutionContext): Promise<string> => {
    const owner = await connect(t, server.user, server.port);
    const [rows] = await owner.query<mysql.RowDataPacket[]>('select balance from shop.account order by id');
    return rows.map((row) => String(row['balance'])).join(' ');
  };
  async function starting(more: Readonly<Record<string, unknown>>, log: Log = silent): Promise<Sidecar> {
    const anywhere = { listen: '127.0.0.1:0' };
    const database = {
      engine: 'mysql',
      name: 'shop',
      upstream: `mysql://127.0.0.1:${server.port}/shop`,
      credentials: { user: 'phase', password: 'p@ss word' },
      ...anywhere,
      ...more,
    };
    const options = { service: 'orders', coordinator: { url: coordinator.url }, control: anywhere, admin: anywhere };
    return await startSidecar(sidecarOptions.parse({ ...options, databases: [database] }), log);
  }
  const ended = (t: ExecutionContext, sidecar: Sidecar): Sidecar => {
    t.teardown(() => sidecar.close(0));
    return sidecar;
  };

  test.serial(
    `${name}: without the database atomesh, or the rights that db init grants, a sidecar does not start`,
    async (t) => {
      await t.throwsAsync(starting({}), { code: 'BAD_REQUEST', message: /atomesh/ });
      await initialiseDatabase(admin(), { grantTo: 'app@127.0.0.1', finisher: 'little@127.0.0.1' });
      await server.run("revoke references on *.* from little@'127.0.0.1'");
      const little = { credentials: { user: 'little' } };
      await t.throwsAsync(starting(little), { code: 'BAD_REQUEST', message: /may not see all foreign keys/ });
      await server.run("grant references on *.* to little@'127.0.0.1'");
      await t.throwsAsync(starting(little), {
        code: 'BAD_REQUEST',
        message: /may not restore rows of the database shop/,
      });
      await t.throwsAsync(starting({ credentials: { user: 'nobody' } }), { code: 'UPSTREAM_UNREACHABLE' });
    },
  );

  test.serial(
    `${name}: a server that can prepare nothing is refused in mode xa, and warned of in mode undo`,
    async (t) => {
      await initialiseDatabase(admin(), { finisher: 'phase@127.0.0.1', rowsIn: ['shop'] });
      const starts = async (): Promise<void> => await (await starting({ mode: 'xa' })).close(0);
      // There every account may list what is prepared.
      if (name === 'MariaDB') return void (await t.notThrowsAsync(starts()));
      await t.throwsAsync(starts(), { code: 'BAD_REQUEST', message: /may not list prepared/ });
      const warned: string[] = [];
      const log = Object.assign(openLog('test', 'silent'), {
        warn: (_: unknown, text: string) => void warned.push(text),
      });
      for (const escalate of ['xa', 'off']) await (await starting({ escalate }, log)).close(0);
      t.is(warned.length, 1);
      t.regex(warned[0] ?? '', /changes without row images are refused.*may not list prepared/);
      return undefined;
    },
  );

  test.serial(`${name}: with what db init grants, changes are captured or prepared, taken back and kept`, async (t) => {
    await initialiseDatabase(admin(), { finisher: 'phase@127.0.0.1', rowsIn: ['shop'], endsPrepared: true });
    for (const options of [{ escalate: 'off' }, { escalate: 'xa' }, { mode: 'xa' }]) {
      const sidecar = await starting(options);
      const holds = !('mode' in options);
      for (const outcome of ['failed', 'succeed']) {
        await server.run('update shop.account set balance = 100 where id = 1');
        // One that has prepared is closed.
        const session = await connect(t, 'app', sidecar.ports.databases['shop'] ?? 0);
        const { gid } = await client.begin({ timeoutMs: 60_000 });
        await session.query(`update account set balance = balance - 30 where id = 1 /*atomesh_gid='${gid}'*/`);
        t.is(await balances(t), holds ? '70 100' : '100 100', JSON.stringify(options));
        const page = await (await fetch(`http://127.0.0.1:${sidecar.ports.admin}/locks`)).text();
        t.is(page.includes(gid), holds, page);
        await (outcome === 'succeed' ? client.submit(gid) : client.abort(gid, {}));
        await until(`${gid} is over`, async () => ((await client.read(gid))?.status === outcome ? true : undefined));
        t.is(await balances(t), outcome === 'succeed' ? '70 100' : '100 100', JSON.stringify(options));
      }
      await sidecar.close(0);
    }
  });

  test.serial(
    `${name}: what the second phase could not put back is refused inside a global transaction, and passes without`,
    async (t) => {
      const sidecar = ended(t, await starting({ escalate: 'off' }));
      const session = await connect(t, 'app', sidecar.ports.databases['shop'] ?? 0);
      const { gid } = await client.begin({ timeoutMs: 60_000 });
      const change = 'update other.account set balance = 0 where id = 1';
      await t.throwsAsync(session.query(`${change} /*atomesh_gid='${gid}'*/`), {
        message: /second phase.*TRIGGER on other/,
      });
      await t.notThrowsAsync(session.query(change));
      await client.abort(gid, {});
    },
  );

  test.serial(`${name}: what is prepared under the name of the database is found at the start`, async (t) => {
    const { gid } = await client.begin({ timeoutMs: 60_000 });
    const xid = xidSql(xidOf({ gid, resource: 'orders/shop' }, '0123456789abcdef'));
    const before = await connect(t, 'app', server.port);
    for (const sql of [
      `xa start ${xid}`,
      'update account set balance = 1 where id = 2',
      `xa end ${xid}`,
      `xa prepare ${xid}`,
    ]) {
      await before.query(sql);
    }
    before.destroy();
    const sidecar = ended(t, await starting({}));
    await until('it is counted', async () => {
      const metrics = await (await fetch(`http://127.0.0.1:${sidecar.ports.admin}/metrics`)).text();
      return /in_doubt\{database="shop"\} 1/.test(metrics) ? true : undefined;
    });
    const owner = await connect(t, server.user, server.port);
    t.regex(await balances(t), / 100$/, 'it is not decided, and so it is left');
    await owner.query(`xa rollback ${xid}`);
    await client.abort(gid, {});
  });
}
