/** Carries a batch out on real sessions, statement by statement, and tells it as SQL. */
import pg from 'pg';
import type { Batch, Local, Sql, Step } from './grammar.ts';
import { merged } from './merged.ts';

/** What a statement has come to. */
export type Outcome =
  | { readonly kind: 'ran'; readonly command: string; readonly count: number | null; readonly rows: readonly string[] }
  | { readonly kind: 'failed'; readonly code: string }
  /** By the sidecar, because it cannot capture it. */
  | { readonly kind: 'refused'; readonly message: string };

/** The statements of a batch in the order in which they ran, with what they came to. */
export type Outcomes = readonly { readonly text: string; readonly outcome: Outcome }[];

type Action =
  | { readonly kind: 'control'; readonly session: 0 | 1; readonly text: string }
  | {
      readonly kind: 'statement';
      readonly session: 0 | 1;
      readonly step: Step & { kind: 'statement' };
      readonly isBlock: boolean;
    };

function actionsOf(session: 0 | 1, { isBlock, end, steps }: Local): readonly Action[] {
  const inner = steps.flatMap((step): readonly Action[] => {
    if (step.kind === 'statement') return [{ kind: 'statement', session, step, isBlock }];
    return isBlock ? [{ kind: 'control', session, text: `${step.verb} ${step.name}` }] : [];
  });
  if (!isBlock) return inner;
  return [{ kind: 'control', session, text: 'BEGIN' }, ...inner, { kind: 'control', session, text: end }];
}

/** The actions of both sessions in one line. */
function lineUp({ sessions, order }: Batch): readonly Action[] {
  return merged(
    order,
    sessions[0].flatMap((local) => actionsOf(0, local)),
    sessions[1].flatMap((local) => actionsOf(1, local)),
  );
}

/** A statement with its values as literals, or as parameters. NULL is always written out. */
function render(sql: Sql, protocol: 'simple' | 'extended'): { readonly text: string; readonly values: string[] } {
  const values: string[] = [];
  const text = sql.map((part) => {
    if (typeof part === 'string') return part;
    if (part.value === null) return 'NULL';
    if (protocol === 'simple') return literal(part.value);
    values.push(part.value);
    return `$${values.length}`;
  });
  return { text: text.join(''), values };
}

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** The batch as a script that a person can run. */
export function tell(batch: Batch): string {
  return lineUp(batch)
    .map((action) => {
      const where = `-- session ${action.session + 1}${batch.isTwoGids && action.session === 1 ? ', a gid of its own' : ''}`;
      if (action.kind === 'control') return `${action.text}; ${where}`;
      const guard = action.isBlock && action.step.isGuarded ? ', within a savepoint' : '';
      return `${render(action.step.sql, 'simple').text}; ${where}, ${action.step.protocol}${guard}`;
    })
    .join('\n');
}

/** Texts as the server sends them. */
const TEXTS: pg.CustomTypesConfig = { getTypeParser: () => (text: unknown) => text };
const GUARD = 'guard';

/**
 * Runs all of the batch; a local transaction that is still open at the end is rolled back. `given`: what the statements came to
 * elsewhere; those that were refused there are not sent here, so that what follows meets the same state.
 */
export async function runBatch(
  sessions: readonly [pg.Client, pg.Client],
  batch: Batch,
  given?: Outcomes,
): Promise<Outcomes> {
  const outcomes: { text: string; outcome: Outcome }[] = [];
  for (const action of lineUp(batch)) {
    const client = sessions[action.session];
    if (action.kind === 'control') {
      await client.query(action.text).catch(() => undefined);
      continue;
    }
    const { step, isBlock } = action;
    const { text, values } = render(step.sql, step.protocol);
    const before = given?.[outcomes.length]?.outcome;
    const isGuarded = isBlock && step.isGuarded;
    if (isGuarded) await client.query(`SAVEPOINT ${GUARD}`).catch(() => undefined);
    let outcome: Outcome;
    if (before?.kind === 'refused') {
      if (isBlock) await client.query('SELECT 1 / 0').catch(() => undefined);
      outcome = before;
    } else {
      outcome = await run(client, text, values, step.protocol);
    }
    if (isGuarded) {
      await client.query(outcome.kind === 'ran' ? `RELEASE ${GUARD}` : `ROLLBACK TO ${GUARD}`).catch(() => undefined);
    }
    outcomes.push({ text, outcome });
  }
  for (const client of sessions) await client.query('ROLLBACK');
  return outcomes;
}

async function run(
  client: pg.Client,
  text: string,
  values: string[],
  queryMode: 'simple' | 'extended',
): Promise<Outcome> {
  // `queryMode` is in the driver and not in its types.
  const config = { text, values, rowMode: 'array' as const, types: TEXTS, queryMode };
  try {
    const { command, rowCount, rows } = await client.query(config);
    return { kind: 'ran', command, count: rowCount, rows: rows.map((row) => JSON.stringify(row)).toSorted() };
  } catch (error) {
    if (!(error instanceof pg.DatabaseError)) throw error;
    if (isRefusal(error)) return { kind: 'refused', message: error.message };
    return { kind: 'failed', code: error.code ?? '' };
  }
}

/** Ours: a statement that cannot be captured, or a row that another global transaction holds. */
function isRefusal({ code, message, schema }: pg.DatabaseError): boolean {
  return (code === '0A000' && message.includes('inside a global transaction')) || schema === 'atomesh';
}
