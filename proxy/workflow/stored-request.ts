/** The request that a workflow begins with, as the coordinator keeps it: what a later run sends to the application again. */
import { isDeepStrictEqual } from 'node:util';
import type { StatusRange } from '../../src/contract/messages.ts';
import { bodyOf, isTexts, parsed, storedBody, type StoredBody } from './step.ts';

export interface StoredRequest {
  readonly method: string;
  /** With the query, as the application gets it. */
  readonly path: string;
  /** End-to-end headers, flat, as they came. */
  readonly headers: readonly string[];
  readonly body: Buffer;
  /** The application's statuses that commit, as the route said when it began. */
  readonly commitOn: readonly StatusRange[];
}

interface Stored {
  readonly v: 1;
  readonly method: string;
  readonly path: string;
  readonly headers: readonly string[];
  readonly body: StoredBody;
  readonly commitOn: readonly StatusRange[];
  readonly nonce: string;
}

/**
 * The request as the payload of a callback. `nonce`: unique, so that of two that begin a transaction of one gid at once, each with the
 * same request, one is refused.
 */
export function encodeRequest({ body, ...request }: StoredRequest, nonce: string): string {
  const stored: Stored = { v: 1, ...request, body: storedBody(body), nonce };
  return Buffer.from(JSON.stringify(stored)).toString('base64');
}

/** The request, or undefined when `payload` is none that this version writes. */
export function decodeRequest(payload: string | undefined): StoredRequest | undefined {
  const stored = payload === undefined ? undefined : parsed(payload);
  if (stored?.['v'] !== 1) return undefined;
  const { method, path, headers, commitOn } = stored;
  const body = bodyOf(stored['body']);
  if (typeof method !== 'string' || typeof path !== 'string' || body === undefined) return undefined;
  if (!isTexts(headers) || !isRanges(commitOn)) return undefined;
  return { method, path, headers, body, commitOn };
}

function isRanges(value: unknown): value is readonly StatusRange[] {
  const isRange = (one: unknown): boolean => Array.isArray(one) && one.length === 2 && one.every(Number.isInteger);
  return Array.isArray(value) && value.every(isRange);
}

/**
 * In what two requests differ, of method, path, body and the headers called `names`; undefined when they ask for the same. Other headers
 * say who asks and how, and may differ. Values are compared as they came, and never named: they may be secrets.
 */
export function differenceOf(one: StoredRequest, other: StoredRequest, names: readonly string[]): string | undefined {
  if (one.method !== other.method || one.path !== other.path) return 'method or path';
  if (!one.body.equals(other.body)) return 'body';
  const differs = (name: string): boolean => !isDeepStrictEqual(valuesOf(one, name), valuesOf(other, name));
  const name = names.find(differs);
  return name === undefined ? undefined : `header ${name}`;
}

/** All values of the header called `name`, in their order. */
function valuesOf({ headers }: StoredRequest, name: string): readonly string[] {
  const wanted = name.toLowerCase();
  return headers.filter((_, index) => index % 2 === 1 && headers[index - 1]?.toLowerCase() === wanted);
}
