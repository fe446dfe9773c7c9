/**
 * Looks for a client of MySQL that can tell a sidecar from none: `node test/mysql-servers/transparency/hunt.ts [--seed S] [--talks N]
 * [--only I] [--mysql]`, on two servers that were made equally.
 */
import { parseArgs } from 'node:util';
import mysql from 'mysql2/promise';
import { startMariadb, type MariadbServer } from '../../../examples/support/mariadb-server.ts';
import { Random } from '../../simulation/random.ts';
import type { InsideParts } from '../../../proxy/mysql/inside/parts.ts';
import { startSlicer } from '../../sql-passthrough/support/slicer.ts';
import { startListening, type Listening } from '../listening.ts';
import { startMysql } from '../mysql-server.ts';
import { play, type Line } from './play.ts';
import { anyTalk, FILL, readable, SCHEMA } from './talks.ts';

export interface Twins extends AsyncDisposable {
  readonly direct: number;
  /** Ports that lead through the sidecar, by the bytes that arrive at once, in both directions and on both of its sides. */
  readonly through: ReadonlyMap<number, number>;
  readonly sidecars: readonly Listening[];
  reset(): Promise<void>;
}

/** What a session needs inside a global transaction: whatever is asked of it without one is a fault, and ends the session. */
const UNTOUCHED = new Proxy(Object.freeze({}) as InsideParts, {
  get(_, name) {
    throw new Error(`${String(name)} is asked for without a global transaction`);
  },
});

/** Starts two servers, and a way through a sidecar to one of them for each size of chunks. */
export async function startTwins(
  chunkBytes: readonly number[],
  startServer: () => Promise<MariadbServer> = startMariadb,
): Promise<Twins> {
  await using stack = new AsyncDisposableStack();
  const [alone, behind] = await Promise.all([startTwin(stack, startServer), startTwin(stack, startServer)]);
  const through = new Map<number, number>();
  const sidecars: Listening[] = [];
  for (const bytes of chunkBytes) {
    const far = stack.use(await startSlicer(behind.port, bytes));
    // One in two could carry changes out.
    const inside = through.size % 2 === 0 ? { inside: UNTOUCHED } : {};
    const sidecar = stack.use(await startListening({ to: far.port, ...inside }));
    const near = stack.use(await startSlicer(sidecar.port, bytes));
    sidecars.push(sidecar);
    through.set(bytes, near.port);
  }
  const owners = await Promise.all([alone, behind].map((server) => openOwner(stack, server)));
  const disposal = stack.move();
  return {
    direct: alone.port,
    through,
    sidecars,
    async reset() {
      await Promise.all(owners.map((owner) => owner.query(FILL)));
    },
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  };
}

export interface Hunt {
  readonly seed: number;
  readonly talks: number;
  /** Only the talk of this number. */
  readonly only?: number;
}

/** Plays talks to both twins. Rejects with the first that was answered differently. Resolves with how many packets were heard. */
export async function hunt(twins: Twins, { seed, talks, only }: Hunt): Promise<number> {
  let packets = 0;
  const ways = [...twins.through.values()];
  for (let index = 0; index < talks; index += 1) {
    if (only !== undefined && index !== only) continue;
    const random = new Random(seed * 1_000_003 + index);
    const way = random.pick(ways);
    const talk = anyTalk(random);
    await twins.reset();
    const [direct, through] = await Promise.all([play(talk, twins.direct), play(talk, way)]);
    const difference = firstDifference(direct, through);
    if (difference !== undefined) {
      const replay = `node test/mysql-servers/transparency/hunt.ts --seed ${seed} --talks ${talks} --only ${index}`;
      throw new Error(`${difference}\nthe client said\n  ${readable(talk)}\nreplay: ${replay}`);
    }
    packets += direct.length;
  }
  return packets;
}

function firstDifference(direct: readonly Line[], through: readonly Line[]): string | undefined {
  const at = direct.findIndex((line, index) => line !== through[index]);
  if (at < 0 && through.length <= direct.length) return undefined;
  const from = at < 0 ? direct.length : at;
  const part = (lines: readonly Line[]): string =>
    lines
      .slice(Math.max(0, from - 2), from + 3)
      .map((line) => `  ${JSON.stringify(line).slice(0, 300)}`)
      .join('\n');
  return `packet ${from} differs.\ndirectly\n${part(direct)}\nthrough the sidecar\n${part(through)}`;
}

async function startTwin(
  stack: AsyncDisposableStack,
  startServer: () => Promise<MariadbServer>,
): Promise<MariadbServer> {
  const server = stack.use(await startServer());
  await server.run('set global local_infile = 1, global lock_wait_timeout = 2, global innodb_lock_wait_timeout = 2');
  for (const statements of SCHEMA) await server.run(statements);
  return server;
}

async function openOwner(stack: AsyncDisposableStack, server: MariadbServer): Promise<mysql.Connection> {
  const owner = await mysql.createConnection({
    host: '127.0.0.1',
    port: server.port,
    user: server.user,
    multipleStatements: true,
  });
  stack.defer(() => owner.end());
  return owner;
}

if (import.meta.main) {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      talks: { type: 'string' },
      only: { type: 'string' },
      mysql: { type: 'boolean' },
    },
  });
  const seed = Number(values.seed ?? Date.now() % 0x7fff_ffff);
  const talks = Math.min(Number(values.talks ?? 5000), 1_000_000);
  console.log(`seed ${seed}, ${talks} talks`);
  await using twins = await startTwins([1, 7, 65_536], values.mysql === true ? startMysql : startMariadb);
  const only = values.only === undefined ? {} : { only: Number(values.only) };
  console.log(`${await hunt(twins, { seed, talks, ...only })} packets`);
}
