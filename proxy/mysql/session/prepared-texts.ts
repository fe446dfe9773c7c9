/** What was read of the texts of prepared statements, so that a statement that runs often is read once. */
import { parse, type Parsed } from '../parse.ts';
import type { Said } from './naming/claimants.ts';
import type { Statement } from './statements.ts';
import { prepareText, type PreparedText } from '../text/interpolate.ts';
import type { Lexical } from '../text/tokens.ts';

interface Read {
  readonly lexical: Lexical;
  readonly parsed: Parsed;
  readonly withPlaces: PreparedText;
}

const kept = new WeakMap<Statement, Read>();

/** The statements of what a client has said. */
export function parsedOf({ text, prepared }: Said, lexical: Lexical): Parsed {
  return prepared === undefined ? parse(text.toString('latin1'), lexical) : readOf(prepared.statement, lexical).parsed;
}

/** A prepared statement's text, with the places of its parameters. */
export function withPlaces(statement: Statement, lexical: Lexical): PreparedText {
  return readOf(statement, lexical).withPlaces;
}

function readOf(statement: Statement, lexical: Lexical): Read {
  const known = kept.get(statement);
  if (known?.lexical === lexical) return known;
  const text = statement.text.toString('latin1');
  const read = { lexical, parsed: parse(text, lexical), withPlaces: prepareText(text, lexical) };
  kept.set(statement, read);
  return read;
}
