/** A mesh whose connections to and from the sidecar's database listener go through cutting relays. */
import type pg from 'pg';
import { startSidecar } from '../../proxy/proxy.ts';
import { startMesh, type Mesh } from '../sql-e2e/mesh.ts';
import { DATA, SCHEMA, TABLES, type Flow } from './flows.ts';
import { openCuttingRelay, type CuttingRelay } from './relay.ts';

export interface Stage extends AsyncDisposable {
  readonly mesh: Mesh;
  /** Between the sidecar and the database: of the client's session, and of the second phase. */
  readonly server: CuttingRelay;
  /** Between the client and the sidecar, by the mode of the database. */
  readonly client: Readonly<Record<Flow['mode'], CuttingRelay>>;
  /** How a client gets through the relay. */
  through(mode: Flow['mode']): pg.ClientConfig;
  /** Puts all rows back as they were at first, there and in the twin. */
  reset(): Promise<void>;
}

/** Starts all of it. */
export async function openStage(): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const ports: Record<string, number> = {};
  let server: CuttingRelay | undefined;
  const mesh = stack.use(
    await startMesh({
      major: 18,
      schema: `${SCHEMA} ${DATA}`,
      tables: TABLES,
      lockTimeoutMs: 5_000,
      database: { escalate: 'xa' },
      async startSidecar(options, log) {
        const database = options.databases.find((each) => each.engine !== 'mysql');
        if (database === undefined) throw new Error('the mesh has a database');
        server = await openCuttingRelay(Number(new URL(database.upstream).port));
        const upstream = `postgres://127.0.0.1:${server.port}/shop`;
        const undo = { ...database, upstream };
        const xa = { ...undo, name: 'shop-xa', mode: 'xa' as const };
        const sidecar = await startSidecar({ ...options, databases: [undo, xa] }, log);
        Object.assign(ports, sidecar.ports.databases);
        return sidecar;
      },
    }),
  );
  if (server === undefined) throw new Error('the sidecar was not started');
  stack.use(server);
  const relays = {
    undo: stack.use(await openCuttingRelay(ports['shop'] ?? 0)),
    xa: stack.use(await openCuttingRelay(ports['shop-xa'] ?? 0)),
  } as const;
  const disposal = stack.move();
  return {
    mesh,
    server,
    client: relays,
    through: (mode) => ({ ...mesh.through, port: relays[mode].port }),
    async reset() {
      await Promise.all([mesh.owner, mesh.twin].map((client) => client.query(DATA)));
    },
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  };
}
