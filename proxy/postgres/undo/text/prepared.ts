/** Statements that the client prepared by SQL: which one an EXECUTE runs, and with which arguments. */
import { parse, type ParsedStatement } from '../../parse.ts';
import { child, text, unwrap } from '../../tree.ts';

/** What the server has under a name (a row of pg_prepared_statements). */
export interface PreparedFacts {
  /** The text that it was prepared with: that of a Parse message, or a whole text of SQL with PREPARE in it. */
  readonly statement: string;
  /** The oids of its parameters' types, those that the server inferred too. */
  readonly types: readonly number[];
  /** Prepared by SQL, and not by a Parse message. */
  readonly fromSql: boolean;
}

/** The statement behind the name; undefined where the text does not say for certain which one it is. */
export function preparedStatement(
  name: string,
  { statement, fromSql }: Pick<PreparedFacts, 'statement' | 'fromSql'>,
): ParsedStatement | undefined {
  // Whether a backslash was a character like any other when the text was read, nothing tells any more.
  if (fromSql && statement.includes('\\')) return undefined;
  const parsed = parse(statement);
  if (parsed.kind !== 'parsed') return undefined;
  const [only, ...others] = parsed.statements.flatMap((each) => (fromSql ? (innerOf(each, name) ?? []) : each));
  return others.length === 0 ? only : undefined;
}

/** The statement that a PREPARE of this name prepares. */
function innerOf({ kind, node, source, start, end }: ParsedStatement, name: string): ParsedStatement | undefined {
  const inner = kind === 'PrepareStmt' && text(node, 'name') === name ? unwrap(child(node, 'query')) : undefined;
  if (inner === undefined) return undefined;
  const tokens = source.tokensWithin(start, end);
  // AS stands once before the statement: the list of types has none.
  const as = tokens.findIndex((token) => token.isKeyword && token.text === 'as');
  const first = tokens[as + 1];
  return first === undefined ? undefined : { ...inner, start: first.start, end, source };
}

/** The arguments of an EXECUTE as they were written, without the parentheses; undefined when there are none. */
export function argumentsOf({ source, start, end }: ParsedStatement): string | undefined {
  const tokens = source.tokensWithin(start, end);
  const open = tokens.find((token) => token.text === '(');
  const close = tokens.at(-1);
  return open === undefined || close === undefined ? undefined : source.slice(open.end, close.start);
}
