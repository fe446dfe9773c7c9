/** A database behind two sidecars: one in mode undo that prepares what has no images, and one of another service in mode xa. */
import type pg from 'pg';
import { until } from '../../examples/support/until.ts';
import { sidecarOptions } from '../../proxy/options.ts';
import { startSidecar, type Sidecar } from '../../proxy/proxy.ts';
import type { LockPage } from '../../src/contract/locks.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { openLog } from '../../src/platform/log.ts';
import { startMesh, type Mesh } from '../sql-e2e/mesh.ts';

/** `noted` is captured but for UPDATE; `bump` and `calm` may change rows, as far as anybody knows. */
const SCHEMA = `CREATE TABLE item (id int PRIMARY KEY, qty int, note text UNIQUE);
  CREATE TABLE noted (id int PRIMARY KEY, qty int);
  CREATE TABLE source (id int, qty int);
  CREATE TABLE guarded (id int PRIMARY KEY, qty int);
  CREATE VIEW seen AS SELECT * FROM item;
  CREATE FUNCTION bump(int) RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN $1 + 1; END';
  CREATE FUNCTION calm(int) RETURNS bool LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN true; END';
  CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.qty = NEW.qty + 100; RETURN NEW; END';
  CREATE TRIGGER note BEFORE UPDATE ON noted FOR EACH ROW EXECUTE FUNCTION note();
  INSERT INTO source VALUES (1, 7), (2, 8);`;
const DATA = `DELETE FROM item; DELETE FROM noted; INSERT INTO noted VALUES (1, 10);
  INSERT INTO item SELECT i, i * 10, 'n' || i FROM generate_series(1, 6) i`;
const TABLES = ['item', 'noted'];

export interface Stage extends AsyncDisposable {
  readonly mesh: Mesh;
  readonly ways: Readonly<Record<Mode, { readonly through: pg.ClientConfig; readonly admin: number }>>;
}
/** Of the sidecar that a change comes through. */
export type Mode = 'escalate' | 'xa';
export const MODES: readonly Mode[] = ['escalate', 'xa'];

/** Starts all of it. */
export async function openStage(major: 14 | 18, lockTimeoutMs: number): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const mesh = stack.use(
    await startMesh({ major, schema: SCHEMA, tables: TABLES, lockTimeoutMs, database: { escalate: 'xa' } }),
  );
  const sidecar: Sidecar = await startSidecar(
    sidecarOptions.parse({
      service: 'bills',
      coordinator: { url: `http://127.0.0.1:${mesh.line.port}`, timeout: '2s' },
      control: { listen: '127.0.0.1:0' },
      admin: { listen: '127.0.0.1:0' },
      databases: [
        {
          name: 'shop',
          listen: '127.0.0.1:0',
          upstream: `postgres://127.0.0.1:${mesh.server.port}/shop`,
          credentials: { user: mesh.server.user },
          lockTimeout: `${lockTimeoutMs}ms`,
          mode: 'xa',
        },
      ],
    }),
    openLog('test', 'silent'),
  );
  stack.defer(() => sidecar.close(0));
  const disposal = stack.move();
  return {
    mesh,
    ways: {
      escalate: { through: mesh.through, admin: mesh.admin },
      xa: {
        through: { ...mesh.through, port: sidecar.ports.databases['shop'] ?? 0 },
        admin: sidecar.ports.admin,
      },
    },
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  };
}

/** Puts all rows of both databases back. */
export async function restore({ owner, twin }: Mesh): Promise<void> {
  await Promise.all([owner, twin].map((client) => client.query(DATA)));
}

/** Resolves once a statement that came by the sidecar with that admin listener waits for the gid. */
export async function isWaitedFor(admin: number, gid: Gid): Promise<void> {
  await until('somebody waits', async () => {
    const response = await fetch(`http://127.0.0.1:${admin}/locks?gid=${gid}`);
    const { locks } = (await response.json()) as LockPage;
    return locks.some(({ waiting }) => waiting.length > 0) ? true : undefined;
  });
}
