/** A client that runs statements the way a sidecar does, without any wire of ours: it plans, asks facts, binds, and runs the capture. */
import pg from 'pg';
import type { SharedFacts } from '../../proxy/postgres/facts/shared-facts.ts';
import { loadParser } from '../../proxy/postgres/parse.ts';
import { createPlanner } from '../../proxy/postgres/plan.ts';
import type { PlannedStatement } from '../../proxy/sql/planner.ts';
import type { Refusal, StatementPlan } from '../../proxy/sql/statement.ts';

export interface Answer {
  readonly command: string;
  readonly count: number | null;
  readonly names: readonly string[];
  readonly types: readonly number[];
  readonly rows: readonly (readonly unknown[])[];
}

export type Outcome =
  | { readonly kind: 'ran'; readonly answer: Answer; readonly plan: StatementPlan }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

const TEXT: pg.CustomTypesConfig = { getTypeParser: () => (value: unknown) => value };

export interface CapturedSession extends AsyncDisposable {
  readonly client: pg.Client;
  /** The plan of the only statement in the text. */
  plan(text: string): Promise<StatementPlan>;
  plans(text: string): Promise<readonly StatementPlan[]>;
  /** The text of each statement as the planner found it. */
  ranges(text: string): Promise<readonly string[]>;
  /** Runs one statement inside the gid; opens a local transaction if none is open. */
  run(text: string, parameters?: readonly unknown[]): Promise<Outcome>;
  begin(gid: string, committed?: readonly string[]): Promise<void>;
  commit(): Promise<void>;
  rollback(): Promise<void>;
  /** Drops what the planner knows of the catalogue. */
  forget(): Promise<void>;
  /** What the catalogue was asked since this was last called: a letter for each question, n for names and f for facts. */
  asked(): string;
}

export async function openCapturedSession(
  url: string,
  options: {
    readonly resource?: string;
    readonly maxRows?: number;
    readonly mode?: 'undo' | 'none';
    readonly capture?: 'statements' | 'triggers';
    /** What it shares with other sessions. */
    readonly shared?: SharedFacts;
  } = {},
): Promise<CapturedSession> {
  await loadParser();
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  const settings = new Map<string, string>();
  // The driver keeps no parameter status; the protocol layer beneath it does.
  const connection = (client as unknown as { connection: NodeJS.EventEmitter }).connection;
  connection.on('parameterStatus', (message: { parameterName: string; parameterValue: string }) => {
    settings.set(message.parameterName, message.parameterValue);
  });
  await client.connect();
  const { mode = 'undo', maxRows = 1000, capture = 'statements' } = options;
  const planner = createPlanner({ mode, maxRows, carriesBarrier: true, capture }, options.shared);
  let asked = '';
  let gid = '';
  let committedGids: readonly string[] = [];
  let entered = false;
  const planned = async (text: string): Promise<readonly PlannedStatement[]> => {
    // What an EXECUTE runs is asked first, and then what that needs: its names, and perhaps their facts.
    for (let round = 0; round < 6; round += 1) {
      const found = planner.plan(text, settings, 0, 'undo');
      if (found.kind === 'plans') return found.plans;
      const { sql, parameters } = found;
      asked += found.about === 'names' ? 'n' : 'f';
      const { rows } = await client.query({ text: sql, values: [...parameters], rowMode: 'array', types: TEXT });
      planner.learn(rows as (string | null)[][], 0);
    }
    throw new Error('the facts did not suffice');
  };
  const session: CapturedSession = {
    client,
    async plan(text) {
      const [first] = await session.plans(text);
      if (first === undefined) throw new Error('no statement');
      return first;
    },
    async plans(text) {
      return (await planned(text)).map(({ plan }) => plan);
    },
    async ranges(text) {
      const bytes = Buffer.from(text);
      return (await planned(text)).map(({ start, length }) => bytes.toString('utf8', start, start + length));
    },
    async begin(newGid, committed = []) {
      gid = newGid;
      committedGids = committed;
      entered = false;
      await client.query('BEGIN');
    },
    async run(text, parameters = []) {
      const plan = await session.plan(text);
      if (plan.kind === 'refuse') return { kind: 'refused', refusal: plan.refusal };
      if (plan.kind !== 'capture') {
        return { kind: 'ran', plan, answer: answerOf(await query(client, text, parameters)) };
      }
      const { capture } = plan;
      const own = capture.ownParameters.map((parameter) => {
        if (parameter === 'gid') return gid;
        if (parameter === 'resource') return options.resource ?? 'shop/db';
        return parameter === 'committed-gids' ? [...committedGids] : (settings.get('TimeZone') ?? '');
      });
      const sql = entered ? capture.sqlWhenEntered : capture.sql;
      const result = answerOf(await query(client, sql, [...parameters, ...own]));
      entered = true;
      if (capture.returnsRows) return { kind: 'ran', plan, answer: { ...result, command: capture.command } };
      const count = Number(result.rows[0]?.[0]);
      return { kind: 'ran', plan, answer: { command: capture.command, count, names: [], types: [], rows: [] } };
    },
    async commit() {
      await client.query('COMMIT');
    },
    async rollback() {
      await client.query('ROLLBACK');
    },
    async forget() {
      planner.forget();
    },
    asked() {
      const since = asked;
      asked = '';
      return since;
    },
    async [Symbol.asyncDispose]() {
      await client.end();
    },
  };
  return session;
}

/** Runs a statement and gives every value as its text. */
export async function query(
  client: pg.Client,
  text: string,
  parameters: readonly unknown[] = [],
): Promise<pg.QueryArrayResult> {
  return await client.query({ text, values: [...parameters], rowMode: 'array', types: TEXT });
}

export function answerOf(result: pg.QueryArrayResult): Answer {
  return {
    command: result.command,
    count: result.rowCount,
    names: result.fields.map((field) => field.name),
    types: result.fields.map((field) => field.dataTypeID),
    rows: result.rows as unknown[][],
  };
}

/** Every row of the tables as text, in a fixed order. */
export async function dump(client: pg.Client, tables: readonly string[]): Promise<Record<string, readonly string[]>> {
  const all: Record<string, readonly string[]> = {};
  for (const table of tables) {
    const { rows } = await query(client, `SELECT x.*::text AS image FROM ${table} AS x ORDER BY 1`);
    all[table] = rows.map((row) => String((row as unknown[])[0]));
  }
  return all;
}
