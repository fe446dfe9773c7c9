/** A store that fails while DTM's clients are at work: whatever was acknowledged is there afterwards, and comes to its end. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { startTestCoordinator, until } from '../coordinator/started.ts';
import { dtmAt, startBranches, type Dtm, type DtmAnswer } from './dtm.ts';

/** What clients were told: `submitted`, `prepared`, `branch` or `step`, by gid. */
type Ledger = Map<string, Set<string>>;

/** A client of each mode in turn, each with a gid of its own; writes down what it was told, and answers how often it was refused. */
async function work(t: ExecutionContext, dtm: Dtm, url: string, ledger: Ledger, number: number): Promise<number> {
  const data = 'x'.repeat(10_000);
  const requests: Readonly<Record<string, readonly (readonly [api: string, said: string, body: object])[]>> = {
    saga: [['submit', 'submitted', { steps: [{ action: `${url}/a` }], payloads: [data] }]],
    msg: [
      ['prepare', 'prepared', { steps: [{ action: `${url}/a` }], payloads: [data] }],
      ['submit', 'submitted', { steps: [{ action: `${url}/a` }], payloads: [data] }],
    ],
    tcc: [
      ['prepare', 'prepared', { timeout_to_fail: 600 }],
      ['registerBranch', 'branch', { branch_id: '01', confirm: `${url}/confirm`, cancel: `${url}/cancel`, data }],
      ['submit', 'submitted', {}],
    ],
    workflow: [
      ['prepareWorkflow', 'prepared', { custom_data: '{"name":"w"}' }],
      ['registerBranch', 'step', { branch_id: '01', op: 'action', status: 'succeed', data }],
    ],
  };
  const trans_type = Object.keys(requests)[number % 4] ?? '';
  const gid = `${trans_type}-${number}`;
  for (const [api, said, body] of requests[trans_type] ?? []) {
    const answer = await dtm.post(api, { gid, trans_type, ...body });
    if (answer.status !== 200) {
      isRefusal(t, answer);
      return 1;
    }
    ledger.set(gid, (ledger.get(gid) ?? new Set()).add(said));
  }
  return 0;
}

/** Neither SUCCESS nor FAILURE: a client may send the same again. */
function isRefusal(t: ExecutionContext, { status, body, text }: DtmAnswer): void {
  t.deepEqual([status, Object.keys(body ?? {})], [500, ['message']], text);
  t.regex(body.message, /store failed|another coordinator/);
}

/** Nothing that was acknowledged is lost, and what was submitted succeeds. */
async function check(t: ExecutionContext, dtm: Dtm, ledger: Ledger): Promise<void> {
  for (const [gid, said] of ledger) {
    const { transaction, branches } = (await dtm.get(`/api/dtmsvr/query?gid=${gid}`)).body;
    t.not(transaction, null, `${gid} is there`);
    if (said.has('branch') || said.has('step')) t.true(branches.length > 0, `${gid} has its branch`);
    if (!said.has('submitted')) continue;
    await until(
      `${gid} succeeds`,
      async () => {
        const { status = '' } = await dtm.state(gid);
        t.true(['submitted', 'succeed'].includes(status), `${gid} was ${status} after its submit`);
        return status === 'succeed';
      },
      30_000,
    );
  }
}

test('SQLite on a file that may grow no more: what is acknowledged is kept, the rest is refused as DTM refuses', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-full-'));
  const path = join(folder, 'coordinator.db');
  await using branches = await startBranches();
  const ledger: Ledger = new Map();
  const { url, child } = await startLimited(path, 4000);
  try {
    const dtm = dtmAt(url);
    let refused = 0;
    for (let number = 0; refused < 40 && number < 2000; number += 8) {
      const eight = Array.from({ length: 8 }, (_, n) => work(t, dtm, branches.url, ledger, number + n));
      for (const count of await Promise.all(eight)) refused += count;
    }
    t.true(refused >= 40, 'the file was full');
    t.true(ledger.size > 20, `${ledger.size} were acknowledged before`);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  await using after = await startTestCoordinator({ store: { sqlite: { path } } });
  await check(t, dtmAt(after.url), ledger);
  await after.close();
  await rm(folder, { recursive: true, force: true });
});

for (const [title, disturb] of [
  [
    'whose connections are cut again and again',
    async (server) => {
      for (let times = 0; times < 10; times += 1) {
        await server.run(
          'postgres',
          'select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()',
        );
      }
    },
  ],
  [
    'whose server dies and comes back',
    async (server) => {
      await server.kill();
      await server.start();
    },
  ],
] as const satisfies readonly (readonly [
  string,
  (server: Awaited<ReturnType<typeof startPostgres>>) => Promise<void>,
])[]) {
  test(`PostgreSQL ${title}: what is acknowledged is kept, the rest is refused and can be sent again`, async (t) => {
    await using server = await startPostgres();
    await using branches = await startBranches();
    await using coordinator = await startTestCoordinator({
      store: { postgres: { url: server.url('postgres') } },
      dtm: { retryInterval: '50ms' },
    });
    const dtm = dtmAt(coordinator.url);
    const ledger: Ledger = new Map();
    const over = new AbortController();
    let refused = 0;
    const client = async (first: number): Promise<void> => {
      for (let number = first; !over.signal.aborted; number += 100)
        refused += await work(t, dtm, branches.url, ledger, number);
    };
    const clients = Array.from({ length: 16 }, (_, first) => client(first));
    await until('many were acknowledged', () => ledger.size > 50);
    await disturb(server);
    over.abort();
    await Promise.all(clients);
    t.log(`${ledger.size} acknowledged, ${refused} refused`);
    await until('it serves again', async () => (await work(t, dtm, branches.url, ledger, 1_000_000)) === 0);
    await check(t, dtm, ledger);
  });
}

/** A coordinator in a process that may write files of so many blocks of 512 bytes (1,024 in some shells), as on a full disk. */
async function startLimited(
  path: string,
  blocks: number,
): Promise<{ readonly url: string; readonly child: ChildProcess }> {
  const program = join(import.meta.dirname, '../coordinator/process.ts');
  const script = `ulimit -f ${blocks} && exec "$0" "$@"`;
  const child = spawn('sh', ['-c', script, process.execPath, program, path], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  const [port] = (await once(child, 'message')) as [number];
  return { url: `http://127.0.0.1:${port}`, child };
}
