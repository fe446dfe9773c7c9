/** What the sidecar costs a client of MariaDB without a gid: against a bare relay. The server comes from the operating system's packages. */
import { startMariadb } from '../../examples/support/mariadb-server.ts';
import { ProgramMissing } from '../../examples/support/programs.ts';
import { initialiseDatabase } from '../../proxy/mysql/setup/init.ts';
import {
  alternate,
  askLoad,
  NO_COORDINATOR,
  startChild,
  startSidecarChild,
  type Part,
  type Result,
} from '../measure.ts';
import type { Load, LoadAnswer } from './load-process.ts';

const CLIENTS = 16;
/** Short turns, and many: what else the machine does then falls on both sides alike. */
const SECONDS = 0.5;
const ROUNDS = 25;
const WARM_SECONDS = 2;
const TARGET = 0.9;

const SCHEMA = `create database bench; use bench;
  create table account (id int primary key, balance bigint not null, note text);
  insert into account select seq, 0, md5(seq) from seq_1_to_200000;`;

async function run(): Promise<readonly Result[]> {
  try {
    return await measure();
  } catch (error) {
    if (!(error instanceof ProgramMissing)) throw error;
    console.log(`mysql: not measured: ${error.message}`);
    return [];
  }
}

async function measure(): Promise<readonly Result[]> {
  await using server = await startMariadb();
  await server.run(SCHEMA);
  await using relay = await startChild('tcp-relay.ts', String(server.port));
  const database = {
    engine: 'mysql',
    name: 'bench',
    listen: '127.0.0.1:0',
    upstream: `mysql://127.0.0.1:${server.port}/bench`,
    credentials: { user: server.user },
  };
  await initialiseDatabase({ host: '127.0.0.1', port: server.port, user: server.user });
  await using sidecar = await startSidecarChild({ coordinator: NO_COORDINATOR, databases: [database] });
  await using load = await startChild('mysql/load-process.ts');
  const ask = (port: number, options: Partial<Load>): Promise<LoadAnswer> =>
    askLoad<LoadAnswer>(load, { port, clients: CLIENTS, seconds: SECONDS, kind: 'prepared', ...options });
  const results: Result[] = [];
  for (const kind of ['text', 'prepared'] as const) {
    // A sidecar runs for days: what is measured is compiled code.
    for (const { port } of [relay, sidecar]) await ask(port, { kind, seconds: WARM_SECONDS });
    const { relay: baseline, sidecar: value } = await alternate(ROUNDS, {
      relay: async () => (await ask(relay.port, { kind })).perSecond,
      sidecar: async () => (await ask(sidecar.port, { kind })).perSecond,
    });
    const ratio = value / baseline;
    const name = `select without a gid, ${kind}, ${CLIENTS} clients, against a bare TCP relay`;
    results.push({ name, value, unit: '1/s', baseline, ratio, target: TARGET, pass: ratio >= TARGET });
  }
  const latency = await alternate(ROUNDS, {
    relay: async () => (await ask(relay.port, { clients: 1 })).medianMs,
    sidecar: async () => (await ask(sidecar.port, { clients: 1 })).medianMs,
  });
  const added = latency.sidecar - latency.relay;
  const name = 'select without a gid, 1 client, time added to a bare TCP relay';
  return [...results, { name, value: added, unit: 'ms', target: 0.1, pass: added <= 0.1 }];
}

export const mysqlPart: Part = { name: 'mysql', run };
