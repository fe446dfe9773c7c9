/** Whether two sessions have heard the same, and all that may differ between one with a sidecar and one without. */
import { isDeepStrictEqual } from 'node:util';
import type { About, Question } from './asking.ts';
import type { Heard } from './client.ts';
import type { Settings } from './settings.ts';
import type { Action } from './play.ts';

/** What a session has heard of a statement. */
interface Told {
  readonly heard: Heard | undefined;
  /** To the questions behind it. */
  readonly answers: readonly Heard[];
}

/** Duplicate entries, rows that refer or are referred to, and checks: which of them a statement meets first depends on its plan. */
const CONSTRAINTS: ReadonlySet<number> = new Set([1062, 1451, 1452, 3819, 4025]);

/** What is not compared of a statement. */
interface Loose {
  /**
   * How often a server warns of a condition depends on its plan; under NO_ZERO_DATE it warns of the keys that we write into the condition; and
   * where no row exists an upsert runs as a plain INSERT, without what there is to say of assignments that are not carried out. Of a parameter
   * that the character set of the connection does not have MySQL warns where it is written into the text.
   */
  readonly isWarned: boolean;
  /** How often it counts a row that a join matches several times and leaves as it was depends on its plan. */
  readonly isCountedByPlan: boolean;
  /** It passes and may have changed the session's settings: these are asked for, and nobody knows any more what there was to say of it. */
  readonly isForgotten: boolean;
}

function looseOf({ step: { sql, isPrepared } }: StatementAction, { modes, collation }: Settings): Loose {
  const says = (pattern: RegExp): boolean => sql.some((part) => typeof part === 'string' && pattern.test(part));
  const isCountedByPlan = says(/^UPDATE .*(?: JOIN |, .* c SET)/);
  return {
    isWarned:
      isCountedByPlan ||
      (isPrepared && collation.startsWith('latin1')) ||
      modes.some((mode) => mode.startsWith('NO_ZERO')) ||
      says(/ (?:ON DUPLICATE|WHERE) /),
    isCountedByPlan,
    isForgotten: says(/^(?:SET|DO) /),
  };
}

/** What is known of a session. */
interface Known {
  /** Nothing has been refused so far that may have said LAST_INSERT_ID(…) before it was taken back, which nobody can take back. */
  readonly knowsIds: boolean;
  /** What runs as it came, because its local transaction is prepared, has the settings asked for behind it, and its errors are rolled back. */
  readonly way: 'escalates' | 'captures';
}

type StatementAction = Extract<Action, { readonly kind: 'statement' }>;

/** What differs between a session with a sidecar and one without, as a text; undefined when nothing does. */
export function unlike(
  own: Told,
  twin: Told,
  action: StatementAction,
  settings: Settings,
  { knowsIds, way }: Known,
): string | undefined {
  const loose = looseOf(action, settings);
  if (!areAlike(own.heard, twin.heard, loose, settings)) return both(own.heard, twin.heard);
  // COMMIT stands between a statement alone and what is asked, where it does not commit by itself.
  const isRightBehind = !action.isAlone || settings.autocommit;
  for (const [index, question] of action.step.asks.entries()) {
    const [answer, wanted] = [own.answers[index], twin.answers[index]];
    // What failed when it was prepared is not remembered, but what came before it.
    const isUnprepared = action.step.isPrepared && own.heard?.kind === 'error';
    if ((loose.isForgotten || isUnprepared) && !question.about.every((about) => about === 'ids')) return undefined;
    // Not told behind a captured change: FOUND_ROWS(). And a connection is closed behind what was prepared. What comes next is about this one.
    if (answer === undefined || wanted === undefined || answer.kind === 'refused') return undefined;
    if (index === 0 && isRightBehind && way === 'captures' && !agrees(own.heard, question, answer))
      return `${question.sql}${both(answer, own.heard)}`;
    const isLeftOut: Readonly<Record<About, boolean>> = {
      ids: !knowsIds,
      // Two errors may be of two constraints. And behind a count of warnings, which a SELECT of ours tells, or behind COMMIT there are none any more.
      warnings:
        way === 'escalates' ||
        index > 0 ||
        !isRightBehind ||
        loose.isWarned ||
        !isDeepStrictEqual(own.heard, twin.heard),
      counts: way === 'escalates' || (loose.isCountedByPlan && settings.countsFound),
      // Otherwise it is about a reading before, which may have been one of ours.
      'rows-found': index > 0 || !isRightBehind || own.heard?.kind !== 'rows',
    };
    if (question.about.some((about) => isLeftOut[about])) continue;
    if (!isDeepStrictEqual(ofNoSide(answer), ofNoSide(wanted))) return `${question.sql}${both(answer, wanted)}`;
  }
  return undefined;
}

function both(own: Heard | undefined, twin: Heard | undefined): string {
  return `\n  through us ${JSON.stringify(own)}\n  without us ${JSON.stringify(twin)}`;
}

/** Messages of the server name the databases, which have two names. */
function ofNoSide(heard: Heard): Heard {
  return heard.kind === 'rows' ? { ...heard, rows: heard.rows.map((row) => row.replaceAll('_twin', '')) } : heard;
}

function areAlike(
  heard: Heard | undefined,
  wanted: Heard | undefined,
  { isWarned, isCountedByPlan }: Loose,
  { countsFound }: Settings,
): boolean {
  const isConstraint = (each: Heard | undefined): boolean => each?.kind === 'error' && CONSTRAINTS.has(each.errno);
  const told = (each: Heard | undefined): unknown => {
    if (each?.kind !== 'ok') return each;
    const unwarned = isWarned ? { ...each, warnings: 0, info: each.info.replace(/Warnings: \d+/, '') } : each;
    if (!isCountedByPlan) return unwarned;
    return {
      ...unwarned,
      info: unwarned.info.replace(/matched: \d+/, ''),
      affectedRows: countsFound ? 0 : each.affectedRows,
    };
  };
  return isDeepStrictEqual(told(heard), told(wanted)) || (isConstraint(heard) && isConstraint(wanted));
}

/** An answer about a statement says what the statement's own OK has said. */
function agrees(heard: Heard | undefined, { sql }: Question, answer: Heard): boolean {
  if (heard?.kind !== 'ok' || answer.kind !== 'rows') return true;
  if (sql === 'SHOW WARNINGS') return answer.rows.length > 0 === heard.warnings > 0;
  const first = Number(/\d+/.exec(answer.rows[0] ?? '')?.[0]);
  if (sql.startsWith('SELECT ROW_COUNT()')) return first === heard.affectedRows;
  return !/^SHOW COUNT|^SELECT @@warning_count/.test(sql) || first === heard.warnings;
}
