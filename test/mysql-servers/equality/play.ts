/** Carries a batch out, statement by statement, and tells it as SQL. */
import { merged } from '../../rollback-equality/merged.ts';
import type { Client, Heard, Value } from './client.ts';
import type { Batch, Local, Step } from './grammar.ts';
import { inDatabases } from './tables.ts';

export type Action =
  | { readonly kind: 'begin'; readonly session: 0 | 1 }
  | { readonly kind: 'control'; readonly session: 0 | 1; readonly sql: string }
  | {
      readonly kind: 'statement';
      readonly session: 0 | 1;
      readonly step: Step & { readonly kind: 'statement' };
      readonly isAlone: boolean;
    };

/** Names of the two databases, the first of which is the session's own. */
export type Databases = readonly [string, string];

function actionsOf(session: 0 | 1, { isBlock, end, steps }: Local): readonly Action[] {
  const inner = steps.flatMap((step): readonly Action[] => {
    if (step.kind === 'statement') return [{ kind: 'statement', session, step, isAlone: !isBlock }];
    return isBlock ? [{ kind: 'control', session, sql: `${step.verb} ${step.name}` }] : [];
  });
  return isBlock ? [{ kind: 'begin', session }, ...inner, { kind: 'control', session, sql: end }] : inner;
}

/** The actions of both sessions in one line. */
export function lineUp({ sessions, order }: Batch): readonly Action[] {
  return merged(
    order,
    sessions[0].flatMap((local) => actionsOf(0, local)),
    sessions[1].flatMap((local) => actionsOf(1, local)),
  );
}

/** A statement with its values as literals, or as parameters. */
export function render(
  { sql, isPrepared, isQualified }: Step & { readonly kind: 'statement' },
  databases: Databases,
  modes: readonly string[],
): { readonly sql: string; readonly values: readonly Value[] | undefined } {
  const values: Value[] = [];
  const parts = sql.map((part) => {
    if (typeof part === 'string') return inDatabases(isQualified ? part : part.replaceAll('@0@.', ''), databases);
    if (!isPrepared) return literal(part.value, modes);
    values.push(part.value);
    return '?';
  });
  return { sql: parts.join(''), values: isPrepared ? values : undefined };
}

function literal(value: Value, modes: readonly string[]): string {
  if (typeof value !== 'string') return value === null ? 'NULL' : String(value);
  const escaped = modes.includes('NO_BACKSLASH_ESCAPES') ? value : value.replaceAll('\\', '\\\\');
  return `'${escaped.replaceAll("'", "''")}'`;
}

/** Does one action; what is heard, if it is a statement. */
export async function act(
  client: Client,
  action: Action,
  databases: Databases,
  modes: readonly string[],
): Promise<Heard | undefined> {
  if (action.kind === 'begin') await client.begin();
  else if (action.kind === 'control') await client.control(action.sql);
  else {
    const { sql, values } = render(action.step, databases, modes);
    return client.run(sql, values, action.isAlone);
  }
  return undefined;
}

/** Asks what is asked behind a statement; one answer for each question, or none where none can be had. */
export async function ask(client: Client, action: Action): Promise<readonly Heard[]> {
  const heard: Heard[] = [];
  if (action.kind !== 'statement') return heard;
  for (const { sql } of action.step.asks) {
    const answer = await client.ask?.(sql, action.isAlone);
    if (answer !== undefined) heard.push(answer);
  }
  return heard;
}

/** The batch as a script that a person can run. */
export function tell(batch: Batch, databases: Databases): string {
  const lines = lineUp(batch).map((action) => {
    const where = `-- session ${action.session + 1}${batch.isTwoGids && action.session === 1 ? ', a gid of its own' : ''}`;
    if (action.kind === 'begin') return `BEGIN; ${where}`;
    if (action.kind === 'control') return `${action.sql}; ${where}`;
    const { sql } = render({ ...action.step, isPrepared: false }, databases, batch.settings.modes);
    const asked = action.step.asks.map((each) => ` ${each.sql};`).join('');
    return `${sql};${asked} ${where}${action.step.isPrepared ? ', prepared' : ''}${action.isAlone ? ', alone' : ''}`;
  });
  return [`-- ${JSON.stringify(batch.settings)}`, ...lines].join('\n');
}
