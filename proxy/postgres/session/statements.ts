/**
 * The prepared statements and portals of one client session, as far as a global transaction needs to know them. What is remembered
 * is a part of what the server has: it is bounded, and inside a global transaction the server is asked for the rest. Only that a
 * statement may name a gid is never forgotten: see `hasLostClues`.
 */
import { isSameMark, markOf, type SessionState } from '../../sql/session.ts';
import type { StatementPlan } from '../../sql/statement.ts';
import { markFromSqlComment, type CommentMark, type ServedTraces } from '../../binding/from-sql-comment.ts';
import { hasClue } from '../../binding/gid-clues.ts';
import type { Mark } from '../../../src/contract/transaction.ts';
import { quoteName } from '../identifier.ts';
import { preparedStatement } from '../undo/text/prepared.ts';
import type { Bind } from '../wire/bind.ts';
import { decodeParse, encodeParse } from '../wire/parse.ts';
import type { ProtocolFault } from '../wire/body.ts';

/** A statement that the client prepared. Names are kept byte for byte, as latin1. */
export interface Statement {
  readonly name: string;
  /** The client's whole Parse frame. */
  readonly frame: Buffer;
  readonly text: string;
  /** The types that the client gave, 0 for those that the server shall infer. */
  readonly types: readonly number[];
  /** True when the text may name a gid: such a statement never runs unseen. */
  readonly hasClue: boolean;
  /** True while the server has not said that this is what it has under the name: it may have kept an older statement. */
  isDoubtful: boolean;
  /** True when that older statement may name a gid. */
  mayHideClue: boolean;
  /** True when the server has it: the first Parse of an unnamed statement that will be captured is not sent. */
  isPrepared: boolean;
}

/** A portal that the client bound while its session belonged to a global transaction. */
export interface Portal {
  readonly statement: Statement;
  readonly bind: Bind;
  /** The client's whole Bind frame. */
  readonly frame: Buffer;
  readonly plan: StatementPlan;
  /** The mark that the session had when it was bound: what stands behind the portal is right for no other. */
  readonly mark: Mark | undefined;
  /** A capturing statement has run in it: what is left are its rows. */
  hasRun: boolean;
}

/** Both, by name. */
export interface Statements {
  /** In the order of their last preparation, or use inside a global transaction. */
  readonly byName: Map<string, Statement>;
  readonly portals: Map<string, Portal>;
  /** How many statements have a clue or not prepared: while there are none, a Bind need not be looked at. */
  withClue: number;
  /** What the named ones take. */
  bytes: number;
  /** A statement with a clue was forgotten that the server may still have: any that is not remembered may be the one. */
  hasLostClues: boolean;
}

/** More than drivers keep: pgJDBC 256, psycopg 100, Rails 1000 a connection. */
const STATEMENTS_MAX = 2_000;
const BYTES_MAX = 4 * 1024 * 1024;
/** What a statement takes beside its name and text, roughly. */
const OVERHEAD_BYTES = 300;

const NOT_ASCII = /[^\0-\x7f]/;

/** An empty set. */
export function noStatements(): Statements {
  return { byName: new Map(), portals: new Map(), withClue: 0, bytes: 0, hasLostClues: false };
}

const GID_SETTING = /"?atomesh"?\s*\.\s*"?gid/i;
const NAME_AS_PARAMETER = /set_config"?\s*\(\s*\$/i;

/** True when a text names the setting `atomesh.gid`. */
export function namesGidSetting(sql: string): boolean {
  return GID_SETTING.test(sql);
}

/** True when a statement sets the gid under a name that only its parameters show, which no plan can know. */
export function namesGidByParameter(statement: Statement, values: readonly (Buffer | null)[]): boolean {
  return (
    NAME_AS_PARAMETER.test(statement.text) &&
    values.some((value) => value !== null && namesGidSetting(value.toString('utf8')))
  );
}

/** Remembers the statement of a whole Parse frame, in the place of an older one of that name. */
export function remember(statements: Statements, body: Buffer): Statement | ProtocolFault {
  const parse = decodeParse(body);
  if (parse.kind === 'fault') return parse;
  const name = parse.statement.toString('latin1');
  const old = name === '' ? undefined : statements.byName.get(name);
  const statement = new Remembered(name, parse.text, parse.parameterTypes);
  if (name !== '') {
    // Until the server has said so, it may have kept an older one of this name, remembered or not.
    statement.isDoubtful = true;
    statement.mayHideClue = old === undefined ? statements.hasLostClues : old.hasClue && old.text !== statement.text;
    statement.hasClue ||= statement.mayHideClue;
  }
  keep(statements, statement);
  return statement;
}

/** A row of pg_prepared_statements: text, the types of the parameters as an array, prepared by SQL or not. Parameter: the name. */
export const PREPARED_SQL =
  'SELECT statement, parameter_types::pg_catalog.oid[]::pg_catalog.text, from_sql FROM pg_catalog.pg_prepared_statements ' +
  'WHERE name OPERATOR(pg_catalog.=) $1';

/** Remembers a statement as the server has it, by the rows of `PREPARED_SQL`; undefined when the server has none of that name. */
export function recall(
  statements: Statements,
  name: string,
  rows: readonly (readonly (string | null)[])[],
): Statement | undefined {
  const [text, types, fromSql] = rows[0] ?? [];
  if (text === undefined || text === null) {
    forget(statements, name);
    return undefined;
  }
  const own = fromSql === 't' ? textOfPrepared(name, text) : text;
  const statement = new Remembered(name, Buffer.from(own), [...(types ?? '').matchAll(/\d+/g)].map(Number));
  keep(statements, statement);
  return statement;
}

/** What a statement runs that was prepared by SQL. One whose text does not tell is what an EXECUTE of it is. */
function textOfPrepared(latin1: string, text: string): string {
  const name = Buffer.from(latin1, 'latin1').toString('utf8');
  const statement = preparedStatement(name, { statement: text, fromSql: true });
  return statement === undefined
    ? `EXECUTE ${quoteName(name)}`
    : statement.source.slice(statement.start, statement.end);
}

/**
 * The portal that an Execute names in a session of that state. `unknown`: none was bound here, and what the server has under the name may
 * run. `foreign`: nobody knows what stands behind it, or it was bound for another mark.
 */
export function portalFor({ portals }: Statements, name: Buffer, state: SessionState): Portal | 'unknown' | 'foreign' {
  const portal = portals.get(name.toString('latin1'));
  const mark = markOf(state);
  // In a failed block nothing runs.
  if (portal === undefined) return mark === undefined || state.block === 'failed' ? 'unknown' : 'foreign';
  const { kind } = portal.plan;
  return isSameMark(portal.mark, mark) || kind === 'control' || kind === 'set-gid' ? portal : 'foreign';
}

/** Notes that a statement is used, so that others are forgotten before it. */
export function touch(statements: Statements, statement: Statement): void {
  statements.byName.delete(statement.name);
  statements.byName.set(statement.name, statement);
}

/** Forgets a closed statement. */
export function forget(statements: Statements, name: string): void {
  const old = statements.byName.get(name);
  if (old === undefined) return;
  statements.byName.delete(name);
  statements.bytes -= bytesOf(old);
  if (old.hasClue || !old.isPrepared) statements.withClue -= 1;
}

/** The client deallocated a statement by SQL, and which one was not seen: only those stay of which it matters that they are there. */
export function forgetClueless(statements: Statements): void {
  for (const [name, statement] of statements.byName) {
    if (name !== '' && !statement.hasClue) forget(statements, name);
  }
}

/** The client deallocated all its statements, but may have prepared some of these behind: DISCARD ALL often goes ahead of more. */
export function forgetNamed(statements: Statements): void {
  for (const [name, statement] of statements.byName) if (name !== '') lose(statements, statement);
}

/** Notes whether the server has a statement. */
export function setPrepared(statements: Statements, statement: Statement, isPrepared: boolean): void {
  if (statement.isPrepared === isPrepared) return;
  statement.isPrepared = isPrepared;
  if (!statement.hasClue) statements.withClue += isPrepared ? -1 : 1;
}

/** The server has answered the Parse of a statement: it has it, and nothing else under its name; or it has refused or skipped it. */
export function settle(statements: Statements, statement: Statement, isPrepared: boolean): void {
  if (!isPrepared) lose(statements, statement);
  else if (statements.byName.get(statement.name) === statement) statement.isDoubtful = false;
}

/** Forgets a statement that the server may still have. */
export function lose(statements: Statements, statement: Statement): void {
  statements.hasLostClues ||= statement.hasClue;
  forget(statements, statement.name);
}

/** The mark that the comments of a statement name, when its text may name one. */
export function markOfStatement(statement: Statement, traces: ServedTraces): CommentMark | undefined {
  return statement.hasClue ? markFromSqlComment(statement.text, traces) : undefined;
}

function keep(statements: Statements, statement: Statement): void {
  forget(statements, statement.name);
  statements.byName.set(statement.name, statement);
  statements.bytes += bytesOf(statement);
  if (statement.hasClue) statements.withClue += 1;
  // One that is as large as many is not worth their place.
  if (bytesOf(statement) > BYTES_MAX / 4) lose(statements, statement);
  for (const [name, oldest] of statements.byName) {
    if (statements.byName.size <= STATEMENTS_MAX && statements.bytes <= BYTES_MAX) break;
    if (name !== '') lose(statements, oldest);
  }
}

/** The unnamed statement is one, and the server does not tell it: it is kept whatever its size. */
function bytesOf(statement: Statement): number {
  if (statement.name === '') return 0;
  return OVERHEAD_BYTES + (statement instanceof Remembered ? statement.name.length + statement.bytes.length : 0);
}

/** Kept as compactly as bytes can be, since most statements never run inside a global transaction. */
class Remembered implements Statement {
  readonly name: string;
  /** The text's bytes, as latin1. */
  readonly bytes: string;
  readonly types: readonly number[];
  hasClue: boolean;
  isDoubtful = false;
  mayHideClue = false;
  isPrepared = true;
  #text: string | undefined;

  constructor(name: string, text: Buffer, types: readonly number[]) {
    this.name = name;
    this.bytes = text.toString('latin1');
    this.types = types;
    this.hasClue = hasClue(text);
  }

  get text(): string {
    this.#text ??= NOT_ASCII.test(this.bytes) ? Buffer.from(this.bytes, 'latin1').toString('utf8') : this.bytes;
    return this.#text;
  }

  get frame(): Buffer {
    return encodeParse({
      kind: 'parse',
      statement: Buffer.from(this.name, 'latin1'),
      text: Buffer.from(this.bytes, 'latin1'),
      parameterTypes: this.types,
    });
  }
}
