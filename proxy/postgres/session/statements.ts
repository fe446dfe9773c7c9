/** The prepared statements and portals of one client session, as far as a global transaction needs to know them. */
import type { StatementPlan } from '../../sql/statement.ts';
import { gidFromSqlComment, type CommentGid } from '../../binding/from-sql-comment.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import type { Bind } from '../wire/bind.ts';
import { decodeParse } from '../wire/parse.ts';
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
  readonly isMarked: boolean;
  /** True when another text had been prepared under this name and not closed: the server may have kept that one. */
  readonly isDoubtful: boolean;
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
  /** The gid that the session had when it was bound: what stands behind the portal is right for no other. */
  readonly gid: Gid | undefined;
}

/** Both, by name. */
export interface Statements {
  readonly byName: Map<string, Statement>;
  readonly portals: Map<string, Portal>;
  /** How many statements are marked or not prepared: while there are none, a Bind need not be looked at. */
  marked: number;
}

/** An empty set. */
export function noStatements(): Statements {
  return { byName: new Map(), portals: new Map(), marked: 0 };
}

/** Names of settings know no case; `set_config` may get the name as a parameter. */
const MARK = /atomesh|traceparent|set_config/i;
const GID_SETTING = /"?atomesh"?\s*\.\s*"?gid/i;
const NAME_AS_PARAMETER = /set_config"?\s*\(\s*\$/i;

/** True when a statement's bytes hold a word that a gid can come with. A search, no parse: it runs for each text that passes. */
export function isMarked(bytes: Buffer): boolean {
  return MARK.test(bytes.toString('latin1'));
}

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
export function remember(statements: Statements, frame: Buffer, body: Buffer): Statement | ProtocolFault {
  const parse = decodeParse(body);
  if (parse.kind === 'fault') return parse;
  const name = parse.statement.toString('latin1');
  const text = parse.text.toString('utf8');
  const old = name === '' ? undefined : statements.byName.get(name);
  const statement: Statement = {
    name,
    frame: Buffer.from(frame),
    text,
    types: parse.parameterTypes,
    isMarked: isMarked(parse.text),
    isDoubtful: old !== undefined && (old.isDoubtful || old.text !== text),
    isPrepared: true,
  };
  forget(statements, statement.name);
  statements.byName.set(statement.name, statement);
  if (statement.isMarked) statements.marked += 1;
  return statement;
}

/** Forgets a closed statement. */
export function forget(statements: Statements, name: string): void {
  const old = statements.byName.get(name);
  if (old === undefined) return;
  statements.byName.delete(name);
  if (old.isMarked || !old.isPrepared) statements.marked -= 1;
}

/** Notes whether the server has a statement. */
export function setPrepared(statements: Statements, statement: Statement, isPrepared: boolean): void {
  if (statement.isPrepared === isPrepared) return;
  statement.isPrepared = isPrepared;
  if (!statement.isMarked) statements.marked += isPrepared ? -1 : 1;
}

/** The gid that a marked statement's comments name. */
export function gidOfStatement(
  statement: Statement,
  gidOfTrace: (traceId: string) => Gid | undefined,
): CommentGid | undefined {
  return statement.isMarked ? gidFromSqlComment(statement.text, gidOfTrace) : undefined;
}
