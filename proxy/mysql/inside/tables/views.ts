/** What reads a view that may change rows is treated like a call of the functions that the view calls. */
import type { CodedError } from '../../../../src/contract/errors.ts';
import type { AskedTable } from '../../catalog-sql.ts';
import type { FoundView } from '../../facts/view-facts.ts';
import type { ParsedStatement } from '../../parse.ts';
import { namedTables } from '../../text/named-tables.ts';
import { refuse, type Refused } from '../../undo/refusal.ts';
import type { Context } from '../context.ts';

/** How often something is asked for one statement: once for each view within a view, and for the databases of both. */
const LEARNINGS_MAX = 20;

/** What a statement may read, as views are looked for. `isMoved`: it was prepared while a database was selected that nobody tells: it may be any. */
export function readBy(
  { settings }: Pick<Context, 'settings'>,
  { source, span }: ParsedStatement,
  isMoved: boolean,
): readonly AskedTable[] {
  const selected = isMoved ? '' : settings.database;
  return namedTables(source, span).flatMap(({ database = selected, table }) =>
    database === undefined ? [] : [{ database, table }],
  );
}

/** Has the views of the selected database asked for, where they are not known, and waits for nothing. */
export function expectViews({ settings: { database }, parts: { views } }: Pick<Context, 'settings' | 'parts'>): void {
  const names = database === undefined ? [] : [{ database, table: '' }];
  if (views.find(names) === 'unknown') views.learn(names).catch(() => undefined);
}

/** Undefined where no view among these names changes rows when it is read. What cannot be looked up is refused. Never rejects. */
export function refuseViews(
  { parts: { views } }: Pick<Context, 'parts'>,
  names: readonly AskedTable[],
): Refused | undefined | Promise<Refused | undefined> {
  if (names.length === 0) return undefined;
  const found = views.find(names);
  if (found === 'none') return undefined;
  return found === 'unknown' ? learnViews(views, names) : refuseView(found);
}

async function learnViews(
  views: Context['parts']['views'],
  names: readonly AskedTable[],
): Promise<Refused | undefined> {
  for (let asked = 0; asked < LEARNINGS_MAX; asked += 1) {
    try {
      await views.learn(names);
    } catch (error) {
      const { message, hint = '' } = error as CodedError;
      return unknown(message, hint);
    }
    const found = views.find(names);
    if (found !== 'unknown') return found === 'none' ? undefined : refuseView(found);
  }
  return unknown('there are too many views within views');
}

function refuseView({ database, table, why, isHidden }: FoundView): Refused {
  const what = `a statement that reads ${database}.${table}, ${why}`;
  if (isHidden !== true) return refuse(`${what} and may change rows,`);
  return refuse(
    `${what},`,
    'Run "atomesh db init --finisher" with the account of the second phase, or as an administrator GRANT SELECT, SHOW VIEW ' +
      'on the database and REFERENCES on *.* to the account itself; it counts within a second or a few.',
  );
}

function unknown(reason: string, hint = ''): Refused {
  const message = `the views of this statement cannot be looked up: ${reason}`;
  const refusal = { code: '58000', message, hint: `${hint} Nothing was changed; trying again is safe.`.trim() };
  return { kind: 'refuse', refusal, escalates: false };
}
