/** Ranges of the tokens of a text, and what is found in them outside of parentheses. */
import { assert } from '../../../src/platform/assert.ts';
import type { Server, Token } from './tokens.ts';

/** A text of a client with its tokens. Each character of `text` stands for one byte. */
export interface Source {
  readonly text: string;
  readonly tokens: readonly Token[];
  /** Undefined where it is not known. */
  readonly server?: Server | undefined;
}

/** Tokens from `from` up to, but not with, `to`. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** True when there is no token in it. */
export function isEmpty({ from, to }: Span): boolean {
  return to <= from;
}

/** Where the text of a span begins and ends, in bytes. It has a token. */
export function placesOf({ tokens }: Source, span: Span): { readonly start: number; readonly end: number } {
  const first = tokens[span.from];
  const last = tokens[span.to - 1];
  assert(first !== undefined && last !== undefined && !isEmpty(span), 'a span has a token');
  return { start: first.start, end: last.end };
}

/** The client's own text of a span. */
export function textOf(source: Source, span: Span): string {
  const { start, end } = placesOf(source, span);
  return source.text.slice(start, end);
}

/** True when the token at the place is this word, as a keyword: not quoted, and not a name behind a dot. */
export function isWord({ tokens }: Source, place: number, ...words: readonly string[]): boolean {
  const token = tokens[place];
  return token?.kind === 'word' && words.includes(token.text) && tokens[place - 1]?.text !== '.';
}

/** True when the token at the place is this operator. */
export function isOperator({ tokens }: Source, place: number, operator: string): boolean {
  const token = tokens[place];
  return token?.kind === 'operator' && token.text === operator;
}

/** The place of the first of these words outside of parentheses; the end of the span when there is none. */
export function findWord(source: Source, span: Span, ...words: readonly string[]): number {
  return findOutside(source, span, (place) => isWord(source, place, ...words));
}

/** The parts of a span between commas outside of parentheses. */
export function splitAtCommas(source: Source, span: Span): readonly Span[] {
  const parts: Span[] = [];
  let { from } = span;
  for (;;) {
    const comma = findOutside(source, { from, to: span.to }, (place) => isOperator(source, place, ','));
    parts.push({ from, to: comma });
    if (comma === span.to) return parts;
    from = comma + 1;
  }
}

/** The place behind the parenthesis that closes the one at `place`; undefined where it is none, or is not closed within the span. */
export function behindParenthesis(source: Source, place: number, to: number): number | undefined {
  if (!isOperator(source, place, '(')) return undefined;
  let depth = 0;
  for (let at = place; at < to; at += 1) {
    if (isOperator(source, at, '(')) depth += 1;
    if (isOperator(source, at, ')')) depth -= 1;
    if (depth === 0) return at + 1;
  }
  return undefined;
}

/** True when every parenthesis in the span is opened and closed within it. */
export function isBalanced(source: Source, span: Span): boolean {
  let depth = 0;
  for (let at = span.from; at < span.to && depth >= 0; at += 1) {
    if (isOperator(source, at, '(')) depth += 1;
    if (isOperator(source, at, ')')) depth -= 1;
  }
  return depth === 0;
}

/** How many parameters the client's text has in front of a place, and within a span: their numbers, from 0. */
export function parametersIn({ tokens }: Source, { from, to }: Span): readonly number[] {
  const numbers: number[] = [];
  let number = 0;
  for (let at = 0; at < to; at += 1) {
    if (tokens[at]?.kind === 'operator' && tokens[at]?.text === ';') number = 0;
    if (tokens[at]?.kind !== 'parameter') continue;
    if (at >= from) numbers.push(number);
    number += 1;
  }
  return numbers;
}

function findOutside(source: Source, span: Span, matches: (place: number) => boolean): number {
  let depth = 0;
  for (let at = span.from; at < span.to; at += 1) {
    if (depth === 0 && matches(at)) return at;
    if (isOperator(source, at, '(')) depth += 1;
    if (isOperator(source, at, ')')) depth -= 1;
  }
  return span.to;
}
