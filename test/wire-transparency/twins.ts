/** Two clusters of one version that were made equally: one is spoken to directly, the other through a sidecar. */
import pg from 'pg';
import { startPostgres, type PostgresMajor, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { startListening, type Listening } from '../sql-passthrough/support/listening.ts';
import { startSlicer } from '../sql-passthrough/support/slicer.ts';
import { FILL, SCHEMA } from './schema.ts';

export interface Twins extends AsyncDisposable {
  /** The port of the cluster without a sidecar. */
  readonly direct: number;
  /** Ports that lead through the sidecar, by the bytes that arrive at once, in both directions and on both of its sides. */
  readonly through: ReadonlyMap<number, number>;
  readonly sidecars: readonly Listening[];
  /** Puts the rows of both clusters back. */
  reset(): Promise<void>;
}

/**
 * Starts both. `chunkBytes`: in which pieces the sidecar gets what is said, a way through it for each. `options`: further ones of its database.
 */
export async function startTwins(
  major: PostgresMajor,
  chunkBytes: readonly number[],
  options: Readonly<Record<string, unknown>> = {},
): Promise<Twins> {
  await using stack = new AsyncDisposableStack();
  const [alone, behind] = await Promise.all([startTwin(stack, major), startTwin(stack, major)]);
  const through = new Map<number, number>();
  const sidecars: Listening[] = [];
  for (const bytes of chunkBytes) {
    const far = stack.use(await startSlicer(behind.port, bytes));
    const sidecar = stack.use(await startListening({ to: far.port, options }));
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

async function startTwin(stack: AsyncDisposableStack, major: PostgresMajor): Promise<PostgresServer> {
  const server = stack.use(await startPostgres({ major, settings: { autovacuum: 'off', max_connections: '40' } }));
  await initialiseDatabase({ connectionString: server.url('postgres') });
  await server.run('postgres', SCHEMA);
  return server;
}

async function openOwner(stack: AsyncDisposableStack, server: PostgresServer): Promise<pg.Client> {
  const owner = new pg.Client({ connectionString: server.url('postgres') });
  owner.on('error', () => undefined);
  await owner.connect();
  stack.defer(() => owner.end());
  return owner;
}
