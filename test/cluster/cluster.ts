/** Coordinators in processes of their own on one PostgreSQL, and a participant that sees who calls it. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { freePort } from '../../examples/support/free-port.ts';
import { type Answer, call } from '../../examples/support/http.ts';
import type { PostgresServer } from '../../examples/support/postgres-server.ts';
import { type ManagedProcess, openProcesses } from '../../examples/support/processes.ts';
import { openLog } from '../../src/platform/log.ts';
import { now } from '../../src/platform/clock.ts';
import { newId } from '../../src/platform/random.ts';
import { openPostgresStore } from '../../src/store/postgres.ts';

const PROCESS = join(import.meta.dirname, 'process.ts');

export interface Member {
  readonly name: string;
  readonly url: string;
  readonly process: ManagedProcess;
  ask(method: string, path: string, body?: object, timeoutMs?: number): Promise<Answer>;
}

export interface Cluster extends AsyncDisposable {
  readonly schema: string;
  /** The process is there and has not started yet. `database` is reached through that port; default the server's own. */
  add(name: string, options?: { readonly database?: number; readonly limits?: object }): Promise<Member>;
  /** What has happened to the leases and versions, in order, from the first start of a member on. */
  history(): Promise<readonly Change[]>;
}

/** One change of a row. */
export interface Change {
  readonly gid: string;
  readonly owner: string;
  readonly ownerBefore: string;
  readonly version: number;
  readonly versionBefore: number;
  readonly leaseUntil: number;
  readonly leaseUntilBefore: number;
}

/** A cluster on a schema of its own. */
export async function openCluster(server: PostgresServer, leaseMs: number): Promise<Cluster> {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-cluster-'));
  const processes = openProcesses(folder);
  const schema = `cluster_${newId()}`;
  await record(server, schema);
  return {
    schema,
    add: async (name, { database = server.port, limits = {} } = {}) => {
      const port = await freePort();
      const url = `http://127.0.0.1:${port}`;
      const options = {
        listen: `127.0.0.1:${port}`,
        grpc: { listen: '127.0.0.1:0' },
        store: { postgres: { url: `postgres://postgres@127.0.0.1:${database}/postgres`, schema } },
        lease: `${leaseMs}ms`,
        // Says to participants who calls.
        branchToken: name,
        limits,
        log: { level: 'warn' },
      };
      const ask = (method: string, path: string, body?: object, timeoutMs = 20_000): Promise<Answer> =>
        call(method, url + path, { timeoutMs, ...(body === undefined ? {} : { body }) });
      const isReady = async (): Promise<boolean> => (await ask('GET', '/readyz')).status === 200;
      const command = [PROCESS, JSON.stringify(options)];
      return { name, url, ask, process: processes.add({ name, command, environment: {}, isReady }) };
    },
    history: () => historyOf(server, schema),
    [Symbol.asyncDispose]: async () => {
      await processes[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Makes the tables, and has the database note each change of a transaction's row, whoever makes it. */
async function record(server: PostgresServer, schema: string): Promise<void> {
  const store = await openPostgresStore({ url: server.url('postgres'), schema }, openLog('test', 'silent'));
  await store.close();
  await server.run(
    'postgres',
    `CREATE TABLE ${schema}.change (id bigserial, gid text, owner text, owner_before text, version int8,
       version_before int8, lease_until int8, lease_until_before int8);
     CREATE FUNCTION ${schema}.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       INSERT INTO ${schema}.change (gid, owner, owner_before, version, version_before, lease_until, lease_until_before)
       VALUES (new.gid, new.owner, old.owner, new.version, old.version, new.lease_until, old.lease_until);
       RETURN new;
     END $$;
     CREATE TRIGGER note AFTER UPDATE ON ${schema}.global_transaction FOR EACH ROW EXECUTE FUNCTION ${schema}.note();`,
  );
}

async function historyOf(server: PostgresServer, schema: string): Promise<readonly Change[]> {
  const client = new pg.Client({ connectionString: server.url('postgres') });
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, string>>(`SELECT * FROM ${schema}.change ORDER BY id`);
    return rows.map((row) => ({
      gid: String(row['gid']),
      owner: String(row['owner']),
      ownerBefore: String(row['owner_before']),
      version: Number(row['version']),
      versionBefore: Number(row['version_before']),
      leaseUntil: Number(row['lease_until']),
      leaseUntilBefore: Number(row['lease_until_before']),
    }));
  } finally {
    await client.end();
  }
}

export interface BranchCall {
  readonly gid: string;
  readonly operation: string;
  /** The name of the coordinator. */
  readonly by: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

export interface Participant extends AsyncDisposable {
  readonly url: string;
  readonly calls: readonly BranchCall[];
  /** The most calls that were in flight at the same time. */
  readonly inFlightMax: number;
  /** How long a call takes that comes from now on, and what it is answered. */
  behaviour: { readonly delayMs: number; readonly status: number };
}

/** A participant that at first behaves like that; by default it answers 200 at once. */
export async function startParticipant(behaviour = { delayMs: 0, status: 200 }): Promise<Participant> {
  const calls: BranchCall[] = [];
  let inFlight = 0;
  const participant = { url: '', calls, inFlightMax: 0, behaviour };
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    request.resume();
    const { headers } = request;
    calls.push({
      gid: String(headers['atomesh-gid'] ?? new URL(request.url ?? '/', 'http://x').searchParams.get('gid')),
      operation: request.url?.split('?')[0]?.slice(1) ?? '',
      by: (headers.authorization ?? '').replace('Bearer ', ''),
      at: now(),
    });
    const { delayMs, status } = participant.behaviour;
    inFlight += 1;
    participant.inFlightMax = Math.max(participant.inFlightMax, inFlight);
    const isGone = new AbortController();
    response.once('close', () => {
      inFlight -= 1;
      isGone.abort();
    });
    void pause(delayMs, undefined, { signal: isGone.signal }).then(
      () => response.writeHead(status).end('{}'),
      () => undefined,
    );
  });
  server.listen({ host: '127.0.0.1', port: 0, backlog: 1024 });
  await once(server, 'listening');
  return Object.assign(participant, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  });
}

/** Begins a transaction at one member and has it decided, each request at the next of `members`. */
export async function decide(
  members: readonly Member[],
  gid: string,
  participant: Participant,
  decision: 'submit' | 'abort' | 'neither',
): Promise<void> {
  let turn = 0;
  const ask = async (path: string, body: object): Promise<void> => {
    const member = members[turn % members.length];
    turn += 1;
    const answer = await member?.ask('POST', path, body);
    if (answer === undefined || answer.status >= 300) throw new Error(`${path}: ${JSON.stringify(answer)}`);
  };
  await ask('/v1/transactions', { gid, retryIntervalMs: 200, timeoutMs: 5000 });
  for (const resource of ['one', 'two']) {
    const operations = { commit: `${participant.url}/commit`, rollback: `${participant.url}/rollback` };
    await ask(`/v1/transactions/${gid}/branches`, { kind: 'xa', resource, operations });
  }
  if (decision !== 'neither') await ask(`/v1/transactions/${gid}/${decision}`, {});
}

/** Where the transaction stands, as `member` says; with `wait` (`10s`) when it is over. */
export async function statusOf(member: Member, gid: string, wait = '0s'): Promise<string> {
  const { body } = await member.ask('GET', `/v1/transactions/${gid}?wait=${wait}`);
  return (body as { readonly status?: string }).status ?? JSON.stringify(body);
}

/** What speaks against the law that one coordinator at a time drives a transaction; empty when nothing does. */
export function faultsOf(history: readonly Change[], leaseMs: number): readonly string[] {
  return history.flatMap((change) => {
    const { gid, owner, ownerBefore, version, versionBefore, leaseUntil, leaseUntilBefore } = change;
    const isSave = version === versionBefore + 1;
    if (!isSave && version !== versionBefore) return [`${gid}: version ${versionBefore} became ${version}`];
    if (owner === ownerBefore) return [];
    if (isSave) return [`${gid}: ${owner} wrote what ${ownerBefore} owned`];
    const claimedAt = leaseUntil - leaseMs;
    return leaseUntilBefore > claimedAt
      ? [`${gid}: ${owner} took it ${leaseUntilBefore - claimedAt} ms before the lease of ${ownerBefore} ended`]
      : [];
  });
}

/** How long after the end of a lease somebody else took the transaction over, at most; in milliseconds. */
export function takeOverMs(history: readonly Change[], leaseMs: number): number {
  const lateMs = history
    .filter(({ owner, ownerBefore }) => owner !== ownerBefore)
    .map(({ leaseUntil, leaseUntilBefore }) => leaseUntil - leaseMs - leaseUntilBefore);
  return Math.max(...lateMs);
}
