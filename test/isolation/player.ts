/** Plays the steps of a spec in one order: each begins once the one before it has ended, or waits. */
import { setTimeout as pause } from 'node:timers/promises';
import type pg from 'pg';
import type { Gid } from '../../src/contract/transaction.ts';
import type { Mesh } from '../sql-e2e/mesh.ts';
import { commented } from '../sql-e2e/prove.ts';
import { openWire, say, type WireClient } from '../sql-e2e/wire-client.ts';
import { gidsOf, type Order, type Session, type Spec } from './spec.ts';

/** What came of one order. */
export interface Course {
  readonly outcome: string;
  /** Undo records, row locks and claims that are left where nothing is dirty: there must be none. */
  readonly left: number;
}

/** A schema with the tables of the specs, so that several orders can be played at a time. */
export interface Lane {
  readonly mesh: Mesh;
  /** Its name, and that of its sessions. */
  readonly schema: string;
  /** A session past the sidecar that finds its tables. */
  readonly owner: pg.Client;
  /** Connections that orders have left as they found them: by the way, through the sidecar or past it. */
  readonly idle: Readonly<Record<WayTo, WireClient[]>>;
}

/** How a session reaches the database. */
type WayTo = 'sidecar' | 'database';

/** Plays one order in a lane, whose tables hold what they hold at first. */
export async function playOrder(lane: Lane, spec: Spec, order: Order): Promise<Course> {
  const { coordinator } = lane.mesh;
  const gids = new Map<string, Gid>();
  for (const name of gidsOf(spec)) {
    gids.set(name, (await coordinator.begin({ timeoutMs: 30_000, retryIntervalMs: 20 })).gid);
  }
  const players = new Map<string, Player>();
  for (const [name, session] of Object.entries(spec.sessions)) {
    players.set(name, await Player.open(lane, session, gids));
  }
  try {
    for (const name of order) {
      const player = players.get(name);
      if (player === undefined) throw new Error(`there is no session ${name}`);
      await endsOrWaits(lane, player.next());
    }
    await Promise.all([...players.values()].map((player) => player.finished));
  } finally {
    for (const player of players.values()) await player.close();
  }
  const told = [...players].map(([name, player]) => `${name}: ${player.words.join(' ')}`);
  const { rows } = await lane.owner.query<{ look: string | null }>(`SELECT x.look FROM (${spec.look}) AS x (look)`);
  const left = await leftOf(lane, [...gids.values()]);
  return { outcome: [...told, String(rows[0]?.look)].join(' | '), left };
}

/** Undo records, row locks and claims of what is not dirty; those of what is are taken away, for the next order. */
async function leftOf({ mesh, owner }: Lane, gids: readonly Gid[]): Promise<number> {
  const views = await Promise.all(gids.map((gid) => mesh.over(gid)));
  const clean = views.filter(({ needsAttention }) => !needsAttention).map(({ gid }) => gid);
  const { rows } = await owner.query<{ left: string }>(
    `WITH r AS (DELETE FROM atomesh.undo_record WHERE gid = ANY ($1) RETURNING gid), l AS (DELETE FROM atomesh.row_lock WHERE gid = ANY ($1) RETURNING gid),
       c AS (DELETE FROM atomesh.parent_claim WHERE gid = ANY ($1) RETURNING gid)
     SELECT count(*) FILTER (WHERE gid = ANY ($2)) AS left FROM (SELECT gid FROM r UNION ALL SELECT gid FROM l UNION ALL SELECT gid FROM c) AS x`,
    [gids, clean],
  );
  return Number(rows[0]?.left);
}

const DECISION = /^(submit|abort|end) (\S+)$/;

class Player {
  readonly words: string[] = [];
  readonly #lane: Lane;
  readonly #way: WayTo;
  readonly #session: Session;
  readonly #gids: ReadonlyMap<string, Gid>;
  readonly #wire: WireClient;
  #at = 0;
  #hasFailed = false;
  /** A client says the next thing once it has been answered. */
  #tail: Promise<void> = Promise.resolve();

  private constructor(lane: Lane, way: WayTo, session: Session, gids: ReadonlyMap<string, Gid>, wire: WireClient) {
    this.#lane = lane;
    this.#way = way;
    this.#session = session;
    this.#gids = gids;
    this.#wire = wire;
  }

  static async open(lane: Lane, session: Session, gids: ReadonlyMap<string, Gid>): Promise<Player> {
    const way = session.gid === undefined && session.isThrough !== true ? 'database' : 'sidecar';
    return new Player(lane, way, session, gids, lane.idle[way].pop() ?? (await connected(lane, way)));
  }

  get finished(): Promise<void> {
    return this.#tail;
  }

  /** The next step; resolves when it has ended. */
  next(): Promise<void> {
    const step = this.#session.steps[this.#at] ?? '';
    this.#at += 1;
    this.#tail = this.#tail.then(async () => void this.words.push(await this.#play(step)));
    return this.#tail;
  }

  async close(): Promise<void> {
    const isWell = (await this.#wire.ask(say.query('ROLLBACK'))).at(-1) === 'ready I';
    if (isWell) this.#lane.idle[this.#way].push(this.#wire);
    else await this.#wire[Symbol.asyncDispose]();
  }

  #gidOf(name: string): Gid {
    const gid = this.#gids.get(name);
    if (gid === undefined) throw new Error(`there is no global transaction ${name}`);
    return gid;
  }

  async #play(step: string): Promise<string> {
    const [, verb, name = ''] = DECISION.exec(step) ?? [];
    if (verb !== undefined) return await this.#decide(verb, this.#gidOf(name));
    const { gid, protocol } = this.#session;
    const text = gid === undefined ? step : commented(step, this.#gidOf(gid));
    const lines = await this.#wire.ask(...(protocol === 'extended' ? [...say.run(text), say.sync] : [say.query(text)]));
    const word = wordOf(step, lines);
    this.#hasFailed ||= /^(?:[0-9A-Z]{5}|rollback|closed)$/.test(word);
    return word;
  }

  async #decide(verb: string, gid: Gid): Promise<string> {
    const { coordinator } = this.#lane.mesh;
    const isCommit = verb === 'submit' || (verb === 'end' && !this.#hasFailed);
    // The other decision may have come first.
    await (isCommit ? coordinator.submit(gid) : coordinator.abort(gid, {})).catch(() => undefined);
    const { status, needsAttention } = await this.#lane.mesh.over(gid);
    return needsAttention ? 'dirty' : status;
  }
}

async function connected({ mesh, schema }: Lane, way: WayTo): Promise<WireClient> {
  const config = way === 'database' ? { ...mesh.direct, database: mesh.through.database } : mesh.through;
  const wire = await openWire({ ...config, application_name: schema });
  await wire.ask(say.query(`SET search_path = ${schema}`));
  return wire;
}

function wordOf(step: string, lines: readonly string[]): string {
  const error = lines.find((line) => line.startsWith('error'));
  if (error !== undefined) return error.split(' ')[2] ?? 'closed';
  if (lines.length === 0) return 'closed';
  const rows = lines.flatMap((line) => (line.startsWith('row ') ? (JSON.parse(line.slice(4)) as string[]) : []));
  if (rows.length > 0) return rows.join();
  return /^COMMIT/i.test(step) && lines.includes('done ROLLBACK') ? 'rollback' : 'ok';
}

const LOOK_MS = 10;
/** So often in a row nothing may move before a step is taken for one that waits. */
const LOOKS = 5;

/** Resolves when the step has ended, or when nothing moves: no session of the lane works in the database, but for those that wait there. */
async function endsOrWaits({ schema, owner }: Lane, step: Promise<void>): Promise<void> {
  const ended = step.then(() => true);
  for (let looks = 0; looks < LOOKS; looks += 1) {
    if (await Promise.race([ended, pause(LOOK_MS, false)])) return;
    const { rows } = await owner.query(
      `SELECT FROM pg_stat_activity
       WHERE application_name = $1 AND state = 'active' AND wait_event_type IS DISTINCT FROM 'Lock'`,
      [schema],
    );
    if (rows.length > 0) looks = 0;
  }
}
