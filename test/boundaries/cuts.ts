/** Plays a flow, cuts one of its connections, decides the global transaction, and judges what is left. */
import { setTimeout as pause } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { until } from '../../examples/support/until.ts';
import type { Direction } from '../../proxy/postgres/wire/frames.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { NOTHING_LEFT, type Outcome } from '../sql-e2e/mesh.ts';
import { openWire } from '../sql-e2e/wire-client.ts';
import { HOLD, type Flow } from './flows.ts';
import type { Manner, Plan, Watch } from './relay.ts';
import type { Stage } from './stage.ts';

/** Which connection: the client's to the sidecar, its session's to the database, or the second phase's to the database. */
export type Link = 'client' | 'session' | 'second phase';

export interface Cut {
  readonly link: Link;
  readonly direction: Direction;
  readonly after: number;
  readonly isInside: boolean;
  readonly manner: Manner;
}

/** Messages that went through, by link and direction. */
export type Counts = Readonly<Record<Link, Watch['counts']>>;

export interface Played {
  /** What is wrong; undefined when nothing is. */
  readonly fault: string | undefined;
  readonly isReached: boolean;
  readonly counts: Counts;
  /** What has become of the changes. */
  readonly effect: Effect;
}

export type Effect = 'all' | 'none';

/** The second phase's connections call themselves so. */
const SECOND_PHASE = 'atomesh second phase';
const RESOURCES = { undo: 'orders/shop', xa: 'orders/shop-xa' } as const;

/** A second phase that was cut is asked for again after this long. */
const RETRY_MS = 10;

let played = 0;

/** The rows after the flow, as the same flow leaves them without a sidecar. */
export async function effectOf(stage: Stage, flow: Flow): Promise<Rows> {
  await stage.reset();
  await using wire = await openWire(stage.mesh.direct);
  for (const step of flow.steps) {
    const lines = await wire.ask(...step('no-such-gid'));
    if (lines.some((line) => line.startsWith('error'))) throw new Error(`${flow.name}: ${lines.join(' / ')}`);
  }
  return await stage.mesh.dump(stage.mesh.twin);
}

export type Rows = Awaited<ReturnType<Stage['mesh']['dump']>>;

/** The rows of both ends that a flow may have. */
export interface Ends {
  readonly none: Rows;
  readonly all: Rows;
}

/** Plays it once; the rows must be `ends.none` before, and `reset` is needed when they are `all` behind. */
export async function play(
  stage: Stage,
  flow: Flow,
  ends: Ends,
  outcome: Outcome,
  cut: Cut | undefined,
): Promise<Played> {
  const { mesh } = stage;
  played += 1;
  const application = `cut ${played}`;
  const { gid } = await mesh.coordinator.begin({ timeoutMs: 30_000, retryIntervalMs: RETRY_MS });
  const holder = flow.meetsHolder === true ? await hold(stage) : undefined;
  const watches = watch(stage, flow, application, cut);
  const watched = cut === undefined ? undefined : watches[cut.link];
  const over = new AbortController();
  const released = holder === undefined ? undefined : release(stage, holder, watches.session, over.signal);
  await using wire = await openWire({ ...stage.through(flow.mode), application_name: application });
  const told = await talk(wire, flow, gid, cut?.manner === 'stall' ? watched?.reached : undefined);
  over.abort();
  await (outcome === 'commit' ? mesh.coordinator.submit(gid) : mesh.coordinator.abort(gid, {}));
  // What stalls a second phase may have stalled the client before.
  if (watched !== undefined && (cut?.link !== 'second phase' || watched.isReached)) watched.end();
  await released;
  await wire[Symbol.asyncDispose]();
  const ended = await secondPhase(stage, gid, cut, watched);
  await gone(stage, application);
  for (const each of Object.values(watches)) each.end();
  const { fault, effect } = await judge(stage, { flow, gid, ends, outcome, told, ended });
  return {
    fault,
    effect,
    isReached: watched?.isReached ?? true,
    counts: {
      client: watches.client.counts,
      session: watches.session.counts,
      'second phase': watches['second phase'].counts,
    },
  };
}

const NEVER: Omit<Plan, 'application'> = { direction: 'frontend', after: Infinity, isInside: false, manner: 'rst' };

function watch(stage: Stage, flow: Flow, application: string, cut: Cut | undefined): Readonly<Record<Link, Watch>> {
  const plan = (link: Link): Omit<Plan, 'application'> => (cut?.link === link ? cut : NEVER);
  return {
    client: stage.client[flow.mode].watch({ ...plan('client'), application }),
    session: stage.server.watch({ ...plan('session'), application }),
    'second phase': stage.server.watch({ ...plan('second phase'), application: SECOND_PHASE }),
  };
}

interface Told {
  /** The answers to the last step that was sent. */
  readonly lines: readonly string[];
  /** Whether that was the last step of all. */
  readonly isLast: boolean;
}

/** Says the flow until it is over, the connection is, or it stalls. */
async function talk(
  wire: Awaited<ReturnType<typeof openWire>>,
  flow: Flow,
  gid: Gid,
  stalled: Promise<void> | undefined,
): Promise<Told> {
  let lines: readonly string[] = [];
  for (const [index, step] of flow.steps.entries()) {
    const answers = wire.ask(...step(gid));
    const answered = await Promise.race([answers, ...(stalled === undefined ? [] : [stalled])]);
    // The answers will not come before the relay ends what stalls; then nobody waits for them.
    answers.catch(() => undefined);
    lines = answered ?? wire.answers.take();
    const isLast = index === flow.steps.length - 1;
    if (isLast || answered === undefined || wire.answers.isClosed || lines.some(isError)) return { lines, isLast };
  }
  return { lines, isLast: true };
}

function isError(line: string): boolean {
  return line.startsWith('error');
}

/** Another global transaction takes a row of the flow. */
async function hold(stage: Stage): Promise<Gid> {
  const gid = await stage.mesh.begin();
  await using wire = await openWire({ ...stage.mesh.through });
  const lines = await wire.ask({ kind: 'query', text: Buffer.from(`${HOLD} /*atomesh_gid='${gid}'*/`) });
  if (lines.some(isError)) throw new Error(`the row could not be taken: ${lines.join(' / ')}`);
  return gid;
}

/** Rolls the holder back once the flow has met its row, or has come to its end before. */
async function release(stage: Stage, holder: Gid, session: Watch, over: AbortSignal): Promise<void> {
  await until('the row is met', async () => (session.errors > 0 ? true : undefined), { signal: over }).catch(
    () => undefined,
  );
  await stage.mesh.end(holder, 'rollback');
}

/** Waits for the end of the global transaction; a second phase that stalls is cut for good first. */
async function secondPhase(stage: Stage, gid: Gid, cut: Cut | undefined, watched: Watch | undefined): Promise<string> {
  const over = stage.mesh.over(gid).then(({ status }) => status);
  if (cut?.link === 'second phase' && cut.manner === 'stall') {
    await Promise.race([watched?.reached, over]);
    watched?.end();
  }
  return await over;
}

/** Waits until the database has no session of that name, and none in a local transaction. */
async function gone(stage: Stage, application: string): Promise<void> {
  const deadline = performance.now() + GONE_MS_MAX;
  let left: readonly object[] = [];
  while (performance.now() < deadline) {
    ({ rows: left } = await stage.mesh.twin.query<object>(
      `SELECT application_name, state, wait_event, query FROM pg_stat_activity
       WHERE application_name = $1 OR (datname = 'shop' AND state IN ('active', 'idle in transaction', 'idle in transaction (aborted)'))`,
      [application],
    ));
    if (left.length === 0) return;
    await pause(LOOK_MS);
  }
  throw new Error(`sessions go on: ${JSON.stringify(left)}`);
}

const GONE_MS_MAX = 10_000;
/** A longer pause would be most of the time that a cut takes. */
const LOOK_MS = 4;

interface End {
  readonly flow: Flow;
  readonly gid: Gid;
  readonly ends: Ends;
  readonly outcome: Outcome;
  readonly told: Told;
  readonly ended: string;
}

async function judge(stage: Stage, end: End): Promise<{ readonly fault: string | undefined; readonly effect: Effect }> {
  const { flow, gid, ends, outcome, told, ended } = end;
  const rows = await stage.mesh.dump();
  const effect = isDeepStrictEqual(rows, ends.all) ? 'all' : 'none';
  const saw = `${outcome}: ${ended}, client told ${told.lines.join(' / ')}${told.isLast ? '' : ' …'}`;
  const wrong = (what: string): { fault: string; effect: Effect } => ({ fault: `${what} (${saw})`, effect });
  if (effect === 'none' && !isDeepStrictEqual(rows, ends.none)) return wrong(`half done: ${JSON.stringify(rows)}`);
  if (ended !== (outcome === 'commit' ? 'succeed' : 'failed')) return wrong('did not end as decided');
  if (outcome === 'rollback' && effect === 'all') return wrong('rolled back, and the changes are there');
  const isTold = told.isLast && told.lines.at(-1) === 'ready I' && !told.lines.some(isError);
  if (isTold && outcome === 'commit' && effect === 'none') return wrong('told that it is done, and nothing is');
  const isRefused = told.lines.some((line) => line.startsWith('error ERROR'));
  if (isRefused && effect === 'all') return wrong('told that it failed, and it is done');
  if (!told.isLast && effect === 'all') return wrong('done, and the end was never asked for');
  const left = await leftBehind(stage, flow, gid, outcome);
  return left === undefined ? { fault: undefined, effect } : wrong(left);
}

async function leftBehind(stage: Stage, flow: Flow, gid: Gid, outcome: Outcome): Promise<string | undefined> {
  const { mesh } = stage;
  const left = await mesh.leftovers();
  if (left !== NOTHING_LEFT) return `left behind: ${left}`;
  const view = await mesh.coordinator.read(gid);
  const wanted =
    (view?.branches.length ?? 0) === 0
      ? ''
      : `${RESOURCES[flow.mode]} ${outcome === 'commit' ? 'committed' : 'rolled_back'}`;
  let found: Traces = { states: '', prepared: '' };
  // The state of a branch that was refused is taken back beside the answer to the client.
  await until('only that is left', async () => {
    found = await traces(stage, gid);
    return found.states === wanted && found.prepared === '' ? true : undefined;
  }).catch(() => undefined);
  if (found.prepared !== '') return `left prepared: ${found.prepared}`;
  return found.states === wanted ? undefined : `states ${found.states} and not ${wanted}`;
}

interface Traces {
  readonly states: string;
  readonly prepared: string;
}

async function traces({ mesh }: Stage, gid: Gid): Promise<Traces> {
  const { rows } = await mesh.owner.query<Traces>(
    `SELECT (SELECT coalesce(string_agg(resource || ' ' || state, ', '), '') FROM atomesh.branch_state WHERE gid = $1) AS states,
       (SELECT coalesce(string_agg(gid, ', '), '') FROM pg_prepared_xacts) AS prepared`,
    [gid],
  );
  return rows[0] ?? { states: 'unknown', prepared: '' };
}
