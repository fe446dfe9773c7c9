/** A coordinator, a sidecar and an application as processes that can be killed, a real database, and a bank in this process. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { freePort } from '../../examples/support/free-port.ts';
import { call } from '../../examples/support/http.ts';
import type { PostgresServer } from '../../examples/support/postgres-server.ts';
import { openProcesses, type ManagedProcess } from '../../examples/support/processes.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { connectCoordinator } from '../../src/client/connect.ts';
import { startRelay, type Moment, type Watch } from './relay.ts';
import type { CoordinatorClient } from '../../src/client/coordinator-client.ts';

export type Victim = 'app' | 'sidecar' | 'coordinator';

export interface Stage extends AsyncDisposable {
  readonly coordinator: CoordinatorClient;
  readonly owner: pg.Client;
  /** The inbound listener. */
  readonly door: string;
  /** What the bank was asked, by gid. */
  calls(gid: string): readonly string[];
  /**
   * Kills `victim` when a transaction comes to the gate of that name for the first time, and starts it again. Of the application, a gate is
   * the step that follows; of the relays `coordinator after enlist`, `self before confirm`.
   */
  killAt(victim: Victim, gate: string): void;
  /** Resolves with the gid when that has happened, and rejects when it could not be started again. */
  readonly killed: Promise<string>;
}

const PROCESS = fileURLToPath(new URL('process.ts', import.meta.url));

/** The stage has the database of that name for itself; the server may be shared. */
export async function openStage(server: PostgresServer, database: string): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-crash-'));
  stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
  await server.run('postgres', `CREATE DATABASE ${database}`);
  await initialiseDatabase({ connectionString: server.url(database) });
  await server.run(
    database,
    'CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL, held int NOT NULL); INSERT INTO account VALUES (1, 0, 0)',
  );

  const heard = new Map<string, string[]>();
  let plan: { readonly victim: Victim; readonly gate: string; readonly done: PromiseWithResolvers<string> } | undefined;
  const bank = createServer((request, response) => {
    request.resume().on('end', () => {
      const url = request.url ?? '';
      const [, where, gid = '', step] = url.split('/');
      if (where === 'gate') {
        void gate(gid, step ?? '').finally(() => response.end());
        return;
      }
      const from = String(request.headers['atomesh-gid']);
      heard.set(from, [...(heard.get(from) ?? []), url]);
      response.end('{}');
    });
  });
  bank.listen(0, '127.0.0.1');
  await once(bank, 'listening');
  stack.defer(() => {
    bank.closeAllConnections();
    bank.close();
  });
  const gateUrl = `http://127.0.0.1:${(bank.address() as AddressInfo).port}`;

  const names = ['coordinator', 'app', 'inbound', 'outbound', 'control', 'admin', 'sql'] as const;
  const ports = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await freePort()] as const)));
  const at = (name: (typeof names)[number]): string => `127.0.0.1:${ports[name]}`;
  /** Held until whoever was to be killed is back, and answers who; those who die at the gate never hear of it. */
  const gate = async (gid: string, step: string): Promise<Victim | undefined> => {
    if (plan === undefined || plan.gate !== step) return undefined;
    const { victim, done } = plan;
    plan = undefined;
    try {
      await parts[victim].kill();
      await parts[victim].start();
      done.resolve(gid);
    } catch (error) {
      done.reject(error);
    }
    return victim;
  };

  const watched = async (name: string, target: string): Promise<string> => {
    const watch: Watch = async (moment) => {
      const victim = await gate(gidOf(moment), `${name} ${moment.when} ${wordOf(moment)}`);
      // Of an asker that has died, nobody knows how far its request came.
      return victim === (name === 'bank' || name === 'coordinator' ? 'sidecar' : 'coordinator') ? 'lost' : 'pass';
    };
    return stack.use(await startRelay(target, watch)).url;
  };
  const bankUrl = await watched('bank', gateUrl);
  const coordinatorUrl = await watched('coordinator', `http://${at('coordinator')}`);
  const selfUrl = await watched('self', `http://${at('inbound')}`);
  const controlUrl = await watched('control', `http://${at('control')}`);
  const processes = stack.use(openProcesses(folder));
  const add = (name: Victim, options: object, probe: string): ManagedProcess =>
    processes.add({
      name,
      command: [PROCESS, name, JSON.stringify(options)],
      environment: { NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] ?? join(folder, 'compiled') },
      isReady: async () => (await call('GET', probe, { timeoutMs: 2_000 })).status < 500,
    });
  const parts: Readonly<Record<Victim, ManagedProcess>> = {
    coordinator: add(
      'coordinator',
      {
        listen: at('coordinator'),
        grpc: { listen: 'off' },
        store: { sqlite: { path: join(folder, 'coordinator.db') } },
      },
      `http://${at('coordinator')}/readyz`,
    ),
    sidecar: add(
      'sidecar',
      {
        service: 'orders',
        coordinator: { url: coordinatorUrl, timeout: '2s' },
        control: { listen: at('control'), advertise: controlUrl },
        admin: { listen: at('admin') },
        inbound: {
          listen: at('inbound'),
          target: `http://${at('app')}`,
          transactions: [
            { match: 'POST /workflow', begin: { workflow: true, timeout: '60s', rerunAfter: '300ms' } },
            { match: 'POST /message', begin: { message: true, timeout: '300ms' } },
            { match: 'POST /tcc', begin: { timeout: '3s' } },
            { match: 'POST /full', begin: { timeout: '3s' } },
            { match: 'POST /saga', begin: { workflow: true, timeout: '60s', rerunAfter: '300ms' } },
          ],
        },
        outbound: {
          listen: at('outbound'),
          upstreams: { bank: { url: bankUrl }, self: { url: selfUrl } },
          routes: [
            { match: `POST ${bankUrl}/notify`, message: {} },
            { match: `POST ${bankUrl}/book`, saga: { compensate: `POST ${bankUrl}/unbook` } },
            {
              match: `POST ${selfUrl}/hold/try`,
              tcc: { confirm: `POST ${selfUrl}/hold/confirm`, cancel: `POST ${selfUrl}/hold/cancel` },
            },
          ],
        },
        databases: [
          {
            name: 'shop',
            listen: at('sql'),
            upstream: `postgres://127.0.0.1:${server.port}/${database}`,
            credentials: { user: server.user },
          },
        ],
      },
      `http://${at('admin')}/readyz`,
    ),
    app: add(
      'app',
      {
        port: ports['app'],
        database: { host: '127.0.0.1', port: ports['sql'], user: server.user, database },
        bank: `http://${at('outbound')}/bank`,
        self: `http://${at('outbound')}/self`,
        gate: `${gateUrl}/gate`,
      },
      `http://${at('app')}/`,
    ),
  };
  for (const part of Object.values(parts)) await part.start();

  const owner = new pg.Client({ connectionString: server.url(database) });
  await owner.connect();
  stack.defer(() => owner.end());
  const coordinator = connectCoordinator({ url: `http://${at('coordinator')}`, timeoutMs: 5_000 });
  stack.defer(() => coordinator.close());
  let killed: Promise<string> = Promise.reject(new Error('nobody is to be killed'));
  killed.catch(() => undefined);
  const owned = stack.move();
  return {
    coordinator,
    owner,
    door: `http://${at('inbound')}`,
    calls: (gid) => heard.get(gid) ?? [],
    killAt(victim, gate) {
      plan = { victim, gate, done: Promise.withResolvers<string>() };
      killed = plan.done.promise;
    },
    get killed() {
      return killed;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function gidOf({ path, headers, body }: Moment): string {
  const [, inPath] = /^\/v1\/transactions\/([^/?]+)/.exec(path) ?? [];
  const [, inBody = ''] = /"gid":"([^"]+)"/.exec(body) ?? [];
  return inPath ?? String(headers['atomesh-gid'] ?? inBody);
}

/** `begin`, `enlist`, `step`, `answer` (the step of that name), `submit`, `abort` of the coordinator; else the operation, or the path. */
function wordOf({ method, path, headers, body }: Moment): string {
  const [, , verb] = /^\/v1\/transactions(\/[^/]+\/?([a-z]*))?$/.exec(path) ?? [];
  if (path === '/v1/transactions') return 'begin';
  if (verb === 'branches') return 'enlist';
  if (verb === 'steps') return body.includes('"step":"answer"') ? 'answer' : `step ${method}`;
  if (verb !== undefined) return verb === '' ? 'read' : verb;
  return String(headers['atomesh-op'] ?? path);
}
