/** What a statement gives for a column: a value that can be written once more, or something that only the server knows. */
import type { Source, Span } from '../text/span.ts';

/**
 * A parameter of the client: null, or what is known of it. `text`: its text, where it is a number or a short text in ASCII; undefined
 * where it is anything else.
 */
export type ParameterValue = null | { readonly text: string | undefined };

export type GivenValue =
  /** The same whenever it is evaluated, and not NULL as far as is known. `text`: as written, or that of the parameter, if it is one token. */
  | { readonly kind: 'constant'; readonly text: string | undefined }
  | { readonly kind: 'null' }
  | { readonly kind: 'default' }
  /** Evaluated again it may be another value. */
  | { readonly kind: 'unknown' };

/** Functions, and words of constants, whose value depends on their arguments alone. */
const STEADY: ReadonlySet<string> = new Set(
  'unhex,hex,uuid_to_bin,bin_to_uuid,inet_aton,inet6_aton,lower,upper,concat,trim,replace,abs,md5,sha1,sha2,cast,convert,as,binary,char,signed,unsigned,integer,using,utf8mb4,date,time,timestamp,datetime,str_to_date'.split(
    ',',
  ),
);

/** True for a plain zero: in an AUTO_INCREMENT column it is the wish for the next number. */
export function isZero(value: GivenValue): boolean {
  return value.kind === 'constant' && (value.text === '0' || value.text === '0e0');
}

/** What a span of a row of VALUES is. */
export function givenValue(
  { tokens, text }: Source,
  { from, to }: Span,
  parameters: readonly ParameterValue[],
): GivenValue {
  const [first, ...others] = tokens.slice(from, to);
  if (first === undefined) return { kind: 'unknown' };
  if (others.length === 0) {
    if (first.kind === 'parameter') return parameterValue(parameters[numberOf(tokens, from)]);
    if (first.kind === 'word' && first.text === 'null') return { kind: 'null' };
    if (first.kind === 'word' && first.text === 'default') return { kind: 'default' };
  }
  // A TIME that becomes a DATETIME is one of the current day.
  const isOfToday =
    others.length > 1 && [first, ...others].some(({ kind, text: word }) => kind === 'word' && word === 'time');
  const isSteady =
    !isOfToday &&
    [first, ...others].every((token) => {
      if (token.kind === 'word') return token.text.startsWith('_') || STEADY.has(token.text);
      if (token.kind === 'operator') return ['(', ')', ',', '-', '+'].includes(token.text);
      return token.kind === 'string' || token.kind === 'number' || token.kind === 'parameter';
    });
  if (!isSteady) return { kind: 'unknown' };
  const isOne = others.length === 0 || (others.length === 1 && first.text === '-');
  return { kind: 'constant', text: isOne ? text.slice(first.start, tokens[to - 1]?.end) : undefined };
}

function parameterValue(value: ParameterValue | undefined): GivenValue {
  if (value === undefined) return { kind: 'unknown' };
  return value === null ? { kind: 'null' } : { kind: 'constant', text: value.text };
}

function numberOf(tokens: Source['tokens'], place: number): number {
  let number = 0;
  for (let at = 0; at < place; at += 1) {
    if (tokens[at]?.kind === 'parameter') number += 1;
    if (tokens[at]?.kind === 'operator' && tokens[at]?.text === ';') number = 0;
  }
  return number;
}
