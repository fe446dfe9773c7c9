/**
 * What a global transaction costs at the coordinator: begin, two branches enlisted, submit, two commit calls answered by
 * a stub, on the SQLite store. Compared with the requests per second of a bare `node:http` server, turn about in one run;
 * coordinator, stub and load share the machine.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  alternate,
  type Child,
  closedLoop,
  getText,
  LoadConnection,
  type Part,
  postText,
  type Result,
  startChild,
} from './measure.ts';

const IN_FLIGHT = 64;
const ROUNDS = 5;
const ROUND_SECONDS = 2;
const WARM_UP_SECONDS = 3;
/** A transaction is six requests, five of them durable, and it still is to cost no more than this part of the bare server's rate. */
const RATIO_LEAST = 0.022;
const MEMORY_TRANSACTIONS = 100_000;
/** The page cache and V8's own slack move by a quarter of this; a leak of 340 bytes a transaction exceeds it. */
const MEMORY_GROWTH_MIB_MOST = 32;

/** Transactions per second against the bare server, and memory over many transactions. */
export const coordinatorPart: Part = { name: 'coordinator', run };

async function run(): Promise<readonly Result[]> {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-bench-'));
  try {
    await using bare = await startChild('./bare-server.ts');
    await using stub = await startChild('./bare-server.ts');
    await using coordinator = await startChild('./coordinator-process.ts', join(folder, 'coordinator.db'));
    const bareLoad = await openLoad(bare);
    const load = await openLoad(coordinator);
    const transaction = (place: number): Promise<void> => transact(connectionOf(load, place), stub.port);
    const bareRequest = async (place: number): Promise<void> => {
      await connectionOf(bareLoad, place).send(getText('/'));
    };
    await closedLoop(IN_FLIGHT, { seconds: WARM_UP_SECONDS }, bareRequest);
    await closedLoop(IN_FLIGHT, { seconds: WARM_UP_SECONDS }, transaction);
    const rates = await alternate(ROUNDS, {
      bare: async () => {
        const { count, seconds } = await closedLoop(IN_FLIGHT, { seconds: ROUND_SECONDS }, bareRequest);
        return count / seconds;
      },
      transactions: async () => {
        const { count, seconds } = await closedLoop(IN_FLIGHT, { seconds: ROUND_SECONDS }, transaction);
        const drained = await drain(connectionOf(load, 0), seconds);
        return count / drained;
      },
    });
    const growth = await memoryGrowth(coordinator, transaction);
    for (const connection of [...bareLoad, ...load]) connection.close();
    const ratio = rates.transactions / rates.bare;
    return [
      {
        name: 'mesh transactions, 64 in flight, two branches',
        value: rates.transactions,
        unit: '1/s',
        baseline: rates.bare,
        ratio,
        target: RATIO_LEAST,
        pass: ratio >= RATIO_LEAST,
      },
      {
        name: `memory growth over ${MEMORY_TRANSACTIONS} transactions`,
        value: growth,
        unit: 'MiB',
        target: MEMORY_GROWTH_MIB_MOST,
        pass: growth <= MEMORY_GROWTH_MIB_MOST,
      },
    ];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function openLoad(server: Child): Promise<readonly LoadConnection[]> {
  return Promise.all(Array.from({ length: IN_FLIGHT }, () => LoadConnection.open(server.port)));
}

function connectionOf(load: readonly LoadConnection[], place: number): LoadConnection {
  const connection = load[place];
  if (connection === undefined) throw new Error(`there is no connection ${place}`);
  return connection;
}

async function transact(connection: LoadConnection, branchPort: number): Promise<void> {
  const gid = randomBytes(16).toString('hex');
  const url = `http://127.0.0.1:${branchPort}/branches/main`;
  const post = async (path: string, body: unknown, expected: number): Promise<void> => {
    const { status } = await connection.send(postText(path, JSON.stringify(body)));
    if (status !== expected) throw new Error(`POST ${path} was answered with ${status}`);
  };
  await post('/v1/transactions', { gid, timeoutMs: 60_000, initiator: 'bench POST /orders' }, 201);
  for (const resource of ['orders/main', 'stock/main']) {
    const operations = { commit: `${url}/commit`, rollback: `${url}/rollback` };
    await post(`/v1/transactions/${gid}/branches`, { kind: 'undo', resource, operations }, 200);
  }
  await post(`/v1/transactions/${gid}/submit`, {}, 200);
}

/** Waits until the last transaction is over, so that no work of a round falls out of it; answers the seconds with that wait. */
async function drain(connection: LoadConnection, seconds: number): Promise<number> {
  const start = performance.now();
  const submitted = getText('/v1/transactions?status=submitted&limit=1');
  while ((await connection.send(submitted)).body !== '{"transactions":[]}') {
    if (performance.now() - start > 30_000) throw new Error('transactions stay unfinished');
  }
  return seconds + (performance.now() - start) / 1000;
}

/** MiB by which the coordinator has grown between a tenth of the transactions and all of them. */
async function memoryGrowth(coordinator: Child, transaction: (place: number) => Promise<void>): Promise<number> {
  await closedLoop(IN_FLIGHT, { count: MEMORY_TRANSACTIONS / 10 }, transaction);
  const before = Number(await coordinator.ask('memory'));
  await closedLoop(IN_FLIGHT, { count: MEMORY_TRANSACTIONS }, transaction);
  const after = Number(await coordinator.ask('memory'));
  return Math.max(0, (after - before) / 1024 ** 2);
}
