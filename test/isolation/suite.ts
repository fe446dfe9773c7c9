/** Plays specs as tests, each in every order. */
import anyTest, { type TestFn } from 'ava';
import pg from 'pg';
import type { PostgresMajor } from '../../examples/support/postgres-server.ts';
import { LOCKS_OFF } from '../bank/locks-off.ts';
import { startMesh, type Mesh } from '../sql-e2e/mesh.ts';
import { playOrder, type Lane } from './player.ts';
import { ordersOf, type Spec } from './spec.ts';
import { DATA, SCHEMA } from './specs.ts';

const test = anyTest as TestFn<{ mesh: Mesh; lanes: readonly Lane[] }>;

const LANES = 4;
/** Longer than anything here waits, but for what waits for itself. */
const LOCK_TIMEOUT_MS = 10_000;

/** How often orders are played for every outcome to be seen: SERIALIZABLE may refuse more than it must, for what other lanes do. */
const ROUNDS = 10;

/** What came of orders: each outcome with those that led to it. */
type Seen = Map<string, readonly string[]>;

/** Plays all orders, and adds what came of them. */
async function playAll(lanes: readonly Lane[], spec: Spec, seen: Seen = new Map()): Promise<Seen> {
  const orders = [...ordersOf(spec)];
  const play = async (lane: Lane): Promise<void> => {
    for (let order = orders.pop(); order !== undefined; order = orders.pop()) {
      await lane.owner.query(DATA);
      const { outcome, left } = await playOrder(lane, spec, order);
      const told = left === 0 ? outcome : `${outcome} | ${left} left behind`;
      seen.set(told, [...(seen.get(told) ?? []), order.join(' ')]);
    }
  };
  await Promise.all(lanes.map(play));
  return seen;
}

/** Outcomes that are not permitted, and the orders that led to them. */
function others(spec: Spec, seen: Seen): readonly (readonly [string, readonly string[]])[] {
  return [...seen].filter(([outcome]) => !(outcome in spec.permitted));
}

/** Outcomes that are permitted, and that no order led to though it could. */
function missing(spec: Spec, seen: Seen): readonly (readonly [string, string])[] {
  return Object.entries(spec.permitted).filter(([outcome, why]) => !why.startsWith('maybe') && !seen.has(outcome));
}

/** What only row locks can keep. */
const KEPT_BY_LOCKS: readonly RegExp[] = [
  /^a statement waits for the rollback/,
  /^a rollback takes nothing back/,
  /^the key of a deleted row/,
  /^a locking read/,
  /^a key is not changed before/,
];

export interface Suite {
  /** Of the server. */
  readonly major: PostgresMajor;
  /** Of the database. In XA local locks are held until the end, so that not everything that is permitted comes to pass. */
  readonly mode: 'undo' | 'xa';
  readonly specs: readonly Spec[];
  /** Further options of the database. */
  readonly database?: Readonly<Record<string, unknown>>;
  /** The beginnings of rules that only row locks can keep. */
  readonly kept?: readonly RegExp[];
}

/** Declares a test for each of the specs; and in undo mode, that every outcome is seen, and one test that breaks some of the rules. */
export function declareSpecs({ major, mode, specs, database, kept = KEPT_BY_LOCKS }: Suite): void {
  test.before(async (t) => {
    t.timeout(60_000);
    const schemas = Array.from({ length: LANES }, (_, index) => `lane_${index}`);
    const mesh = await startMesh({
      major,
      schema: schemas.map((name) => `CREATE SCHEMA ${name}; SET search_path = ${name}; ${SCHEMA}`).join(' '),
      tables: [],
      lockTimeoutMs: LOCK_TIMEOUT_MS,
      database: { mode, ...database },
    });
    const lanes: Lane[] = [];
    t.context = { mesh, lanes };
    for (const schema of schemas) {
      const owner = new pg.Client({ ...mesh.through, port: mesh.server.port, options: `-c search_path=${schema}` });
      await owner.connect();
      lanes.push({ mesh, schema, owner, idle: { sidecar: [], database: [] } });
    }
  });
  test.after.always(async (t) => {
    for (const { owner, idle } of t.context.lanes ?? []) {
      for (const wire of [...idle.sidecar, ...idle.database]) await wire[Symbol.asyncDispose]();
      await owner.end();
    }
    await t.context.mesh?.[Symbol.asyncDispose]();
  });

  for (const spec of specs) {
    test.serial(spec.rule, async (t) => {
      const seen = await playAll(t.context.lanes, spec);
      t.deepEqual(others(spec, seen), [], 'outcomes that are not permitted, and the orders that led to them');
      if (mode === 'xa') return;
      for (let round = 1; round < ROUNDS && missing(spec, seen).length > 0; round += 1) {
        await playAll(t.context.lanes, spec, seen);
      }
      t.deepEqual(others(spec, seen), [], 'outcomes of orders played again that are not permitted');
      t.deepEqual(missing(spec, seen), [], 'outcomes that no order led to');
    });
  }

  if (mode === 'xa' || kept.length === 0) return;
  test.serial('without row locks these rules are broken, and it is seen', async (t) => {
    await t.context.mesh.owner.query(LOCKS_OFF.postgres);
    for (const beginning of kept) {
      const spec = specs.find(({ rule }) => beginning.test(rule));
      if (spec === undefined) return t.fail(`there is no rule ${beginning.source}`);
      t.not(others(spec, await playAll(t.context.lanes, spec)).length, 0, spec.rule);
    }
  });
}
