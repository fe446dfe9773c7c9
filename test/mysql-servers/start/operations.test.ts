/** Branch operations and messages of a service whose only database is on MySQL or MariaDB: its barrier is there by default. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import mysql from 'mysql2/promise';
import type { MariadbServer } from '../../../examples/support/mariadb-server.ts';
import { initialiseDatabase } from '../../../proxy/mysql/setup/init.ts';
import { sidecarOptions } from '../../../proxy/options.ts';
import { startSidecar, type Sidecar } from '../../../proxy/proxy.ts';
import { connectCoordinator } from '../../../src/client/connect.ts';
import type { CoordinatorClient } from '../../../src/client/coordinator-client.ts';
import { startCoordinator, type Coordinator } from '../../../src/coordinator.ts';
import { coordinatorOptions } from '../../../src/options.ts';
import { SERVERS, silent } from '../second-phase/world.ts';

for (const [name, start] of SERVERS) {
  let server: MariadbServer;
  let coordinator: Coordinator;
  let client: CoordinatorClient;
  let application: Server;
  let sidecar: Sidecar;

  /** One change of the application's, in a local transaction of its own, with the mark that came in. */
  async function add(mark: string, amount: number): Promise<void> {
    const port = sidecar.ports.databases['shop'] ?? 0;
    const session = await mysql.createConnection({ host: '127.0.0.1', port, user: 'app', database: 'shop' });
    try {
      await session.query(`update account set balance = balance + ${amount} where id = 1 /*atomesh_gid='${mark}'*/`);
    } finally {
      session.destroy();
    }
  }

  test.before(`${name}, a coordinator, an application and its sidecar are started`, async () => {
    server = await start();
    await server.run(`create database shop; create table shop.account (id int primary key, balance int not null);
      insert into shop.account values (1, 0); create user app@'127.0.0.1'; grant select, update on shop.* to app@'127.0.0.1'`);
    await initialiseDatabase({ host: '127.0.0.1', port: server.port, user: server.user }, { grantTo: 'app@127.0.0.1' });
    const coordinatorFile = { listen: '127.0.0.1:0', grpc: { listen: 'off' }, store: { memory: {} } };
    coordinator = await startCoordinator(coordinatorOptions.parse(coordinatorFile), silent);
    client = connectCoordinator({ url: coordinator.url, timeoutMs: 5_000 });
    application = createServer((request, response) => {
      const { 'atomesh-gid': mark, 'atomesh-op': op } = request.headers;
      const isDone =
        request.url === '/nothing' ? Promise.reject(new Error('nothing')) : add(String(mark), op === 'cancel' ? -1 : 1);
      isDone.then(
        () => response.writeHead(200).end(),
        () => response.writeHead(409).end(),
      );
    });
    await once(application.listen(0, '127.0.0.1'), 'listening');
    const anywhere = { listen: '127.0.0.1:0' };
    const target = `http://127.0.0.1:${(application.address() as AddressInfo).port}`;
    const transactions = [
      { match: 'POST /messages/**', begin: { message: true } },
      { match: 'POST /nothing', begin: { message: true } },
    ];
    const database = { engine: 'mysql', name: 'shop', ...anywhere, upstream: `mysql://127.0.0.1:${server.port}/shop` };
    const options = {
      service: 'orders',
      coordinator: { url: coordinator.url },
      inbound: { ...anywhere, target, transactions },
      control: anywhere,
      admin: anywhere,
      databases: [{ ...database, credentials: { user: server.user } }],
    };
    sidecar = await startSidecar(sidecarOptions.parse(options), silent);
  });
  test.after.always(`${name} and the others are stopped`, async () => {
    await sidecar?.close(0);
    application?.closeAllConnections();
    application?.close();
    await client?.close();
    await coordinator?.close(100);
    await server?.[Symbol.asyncDispose]();
  });

  const ask = (path: string, headers: Readonly<Record<string, string>> = {}): Promise<Response> =>
    fetch(`http://127.0.0.1:${sidecar.ports.inbound}${path}`, { method: 'POST', headers });
  async function balance(): Promise<number> {
    const owner = await mysql.createConnection({ host: '127.0.0.1', port: server.port, user: server.user });
    const [rows] = await owner.query<mysql.RowDataPacket[]>('select balance from shop.account where id = 1');
    owner.destroy();
    return Number(rows[0]?.['balance']);
  }

  test.serial(`${name}: each order of an operation and what undoes it has its effect once or never`, async (t) => {
    const play = async (ops: readonly string[]): Promise<string> => {
      await server.run('update shop.account set balance = 0');
      const { gid } = await client.begin({ timeoutMs: 60_000 });
      const answers: string[] = [];
      for (const op of ops) {
        const reply = await ask('/rooms', { 'atomesh-gid': gid, 'atomesh-branch': '01', 'atomesh-op': op });
        answers.push(`${reply.status} ${reply.headers.get('atomesh-barrier') ?? 'application'}`);
      }
      return `${answers.join(', ')}: ${await balance()}`;
    };
    t.is(await play(['try', 'try']), '200 application, 200 done: 1');
    t.is(await play(['try', 'cancel', 'cancel', 'try']), '200 application, 200 application, 200 done, 200 done: 0');
    t.is(await play(['cancel', 'try', 'cancel']), '200 absorbed, 409 fenced, 200 done: 0');
  });

  test.serial(
    `${name}: a message is sent when its local transaction has committed, and when there was none it is not`,
    async (t) => {
      await server.run('update shop.account set balance = 0');
      t.is((await ask('/messages/1')).headers.get('atomesh-outcome'), 'committed');
      t.is(await balance(), 1);
      t.is((await ask('/nothing')).headers.get('atomesh-outcome'), 'rolled-back');
    },
  );
}
