/**
 * Which global transaction a command names, and how. The first that is there counts: a query attribute, `SET @atomesh_gid`, a comment
 * (by name, by tracestate, by the traceparent of a request that is being served). Pure. Commands without a clue do not come here.
 */
import { markFromTracestate } from '../../../../src/contract/propagation.ts';
import { parseMark, type Mark } from '../../../../src/contract/transaction.ts';
import { markFromSqlComments, markFromTraceparent, type ServedTraces } from '../../../binding/from-sql-comment.ts';
import { badMark } from '../../../sql/session.ts';
import type { ConnectionAttribute } from '../../wire/handshake.ts';
import { withErrno, type Refusal } from '../refusals.ts';
import { bareText, statementsIn } from './text.ts';

/** `local`: until the local transaction ends, or for one statement; `session`: until changed. `mark` undefined: none from now on. */
export type Claim =
  | { readonly kind: 'none'; readonly reason: 'none' | 'unknown-trace' }
  | { readonly kind: 'mark'; readonly scope: 'local' | 'session'; readonly mark: Mark | undefined }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

/** A command, as far as it can name a gid. */
export interface Claimant {
  readonly text: string;
  /** Query attributes by their names, as texts. */
  readonly attributes: ReadonlyMap<string, string>;
  /** The parameters of a prepared statement: the text of one by its number, from 0; null is NULL; undefined when it is no text. */
  readonly parameter: (index: number) => string | null | undefined;
  /** The text takes a backslash as itself (NO_BACKSLASH_ESCAPES). */
  readonly hasPlainBackslash: boolean;
}

/** The name of the attribute and of the user variable. */
const GID_NAME = 'atomesh_gid';
const NONE: Claim = { kind: 'none', reason: 'none' };
/** `SET @atomesh_gid = 'g'`, alone in its text. Quotes inside a gid there are none. */
const SETTING = /^\s*set\s+@atomesh_gid\s*:?=\s*(?:'([^'"\\]*)'|"([^'"\\]*)"|(\?)|(null))\s*;?\s*$/i;
/** The variable, in all forms that name it; it is looked for where literals are blank. */
const VARIABLE = /@\s*(?:atomesh_gid(?![\w$])|[`'"])/i;
const NAMED = /@\s*[`'"]?atomesh_gid/i;
/** What changes a variable: an assignment behind it, or INTO ahead of it. */
const CHANGED = /@\s*[`'"]?atomesh_gid[`'"]?\s*(?::=|=)|\binto\b[^;]*@\s*[`'"]?atomesh_gid/i;

/** A text that may have more than one statement. */
const SEVERAL = /;\s*[^\s;]/;

/** What a command names. */
export function claimOf(claimant: Claimant, traces: ServedTraces): Claim {
  return fromAttributes(claimant.attributes, traces) ?? fromVariable(claimant) ?? fromComment(claimant, traces);
}

/** What the attributes of a connection name, for the whole session; undefined when nothing. */
export function claimOfConnection(attributes: readonly ConnectionAttribute[] | undefined): Claim | undefined {
  const named = attributes?.find(([name]) => name.toString('latin1') === GID_NAME);
  return named && claimed(named[1].toString('utf8'), 'session');
}

function fromAttributes(attributes: ReadonlyMap<string, string>, traces: ServedTraces): Claim | undefined {
  const gid = attributes.get(GID_NAME);
  if (gid !== undefined) return claimed(gid, 'local');
  const state = markFromTracestate(attributes.get('tracestate') ?? '');
  if (state !== undefined) return { kind: 'mark', scope: 'local', mark: state };
  const parent = markFromTraceparent(attributes.get('traceparent') ?? '', traces);
  if (parent === undefined) return undefined;
  return parent === 'ambiguous'
    ? { kind: 'refused', refusal: ambiguousTrace }
    : { kind: 'mark', scope: 'local', mark: parent };
}

function fromVariable({ text, parameter, hasPlainBackslash }: Claimant): Claim | undefined {
  if (!NAMED.test(text)) return undefined;
  const bare = bareText(text, { hasPlainBackslash, keepsLiterals: true });
  const [, single, double, place, nothing] = SETTING.exec(bare) ?? [];
  const value = place === undefined ? (single ?? double) : parameter(0);
  if (nothing !== undefined || value === null) return { kind: 'mark', scope: 'session', mark: undefined };
  if (value !== undefined) return claimed(value, 'session');
  if (place !== undefined) return { kind: 'refused', refusal: hiddenGid };
  const outside = bareText(text, { hasPlainBackslash, keepsLiterals: false });
  return VARIABLE.test(outside) && CHANGED.test(bare) ? { kind: 'refused', refusal: hiddenGid } : undefined;
}

/** A comment in front of a statement, or at its end, counts for the whole text, of however many statements that is. */
function fromComment({ text, hasPlainBackslash }: Claimant, traces: ServedTraces): Claim {
  const others = SEVERAL.test(text) ? statementsIn(text, hasPlainBackslash) : [];
  const found = markFromSqlComments([text, ...others], traces);
  switch (found?.kind) {
    case 'mark':
      return { kind: 'mark', scope: 'local', mark: found.mark };
    case 'malformed':
      return { kind: 'refused', refusal: withErrno(badMark(found.text)) };
    case 'contradictory':
      return { kind: 'refused', refusal: contradictoryComments };
    case 'ambiguous':
      return { kind: 'refused', refusal: ambiguousTrace };
    case undefined:
      return text.includes('traceparent') ? { kind: 'none', reason: 'unknown-trace' } : NONE;
  }
}

function claimed(text: string, scope: 'local' | 'session'): Claim {
  if (text === '') return { kind: 'mark', scope, mark: undefined };
  const mark = parseMark(text);
  if (mark === undefined) return { kind: 'refused', refusal: withErrno(badMark(text)) };
  return { kind: 'mark', scope, mark };
}

/** ER_NOT_SUPPORTED_YET. */
const hiddenGid: Refusal = {
  errno: 1235,
  code: '0A000',
  message: '@atomesh_gid is set in a way that cannot be followed',
  hint: "Set it alone, by a literal or a parameter: SET @atomesh_gid = '…'.",
};

/** ER_CANT_CHANGE_TX_CHARACTERISTICS, as the SQLSTATE of a transaction state that does not allow it. */
const contradictoryComments: Refusal = {
  errno: 1568,
  code: '25001',
  message: 'the comments of this statement name different global transactions, or different operations',
  hint: 'Name one, once.',
};

const ambiguousTrace: Refusal = {
  errno: 1568,
  code: '25001',
  message:
    'several requests of the trace of this statement are being served: to which of them it belongs cannot be told',
  hint: 'Pass the value of the atomesh-gid header on to the database, in a comment, a query attribute or @atomesh_gid, or tracestate beside traceparent.',
};
