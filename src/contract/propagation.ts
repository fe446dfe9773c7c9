/**
 * How a mark (a gid, inside one service with the operation that is being served) travels in HTTP headers: the names, and the
 * pure reading and writing of each carrier. Nothing here ever rejects: a trace header that does not parse counts as absent.
 */
import { markText, parseMark, type Mark } from './transaction.ts';

/** The default header that carries a gid, or a mark. */
export const GID_HEADER = 'atomesh-gid';
/**
 * On answers: `committed` or `rolled-back`; `pending` when nothing is decided and the stored request is run again (workflows); absent when
 * the outcome is not known.
 */
export const OUTCOME_HEADER = 'atomesh-outcome';
/** On calls of a branch: which branch of the gid is meant. */
export const BRANCH_HEADER = 'atomesh-branch';
/** On calls of a branch: which operation is asked for. */
export const OPERATION_HEADER = 'atomesh-op';
/** On answers to branch operations: what the barrier said in place of, or against, the application. */
export const BARRIER_HEADER = 'atomesh-barrier';
/** On every error that Atomesh itself makes: `sidecar` or `coordinator`. An application's own errors do not have it. */
export const ERROR_SOURCE_HEADER = 'atomesh-error-source';
/** Our key in the W3C `tracestate` header; the value is `g:<mark>`. */
export const TRACESTATE_KEY = 'atomesh';
/** Our key in the W3C `baggage` header; the value is the percent-encoded mark. */
export const BAGGAGE_KEY = 'atomesh.gid';

/** W3C Trace Context §3.3.1.1: a tracestate has at most 32 list-members. */
const TRACESTATE_MEMBERS_MAX = 32;
/** W3C Baggage §3.3.2: at most 64 list-members and 8,192 bytes must be passed on; what is beyond may be dropped. */
const BAGGAGE_MEMBERS_MAX = 64;
const BAGGAGE_BYTES_MAX = 8192;

/** The parts of a `traceparent` that matter here. */
export interface Traceparent {
  /** 32 lower-case hexadecimal digits, not all zero. */
  readonly traceId: string;
  /** 16 lower-case hexadecimal digits, not all zero. */
  readonly parentId: string;
  readonly sampled: boolean;
}

/**
 * The `tracestate` of a new trace: our entry alone, which says in a field `o:` from which trace outside of the transaction the request
 * came. Empty without either.
 */
export function linkedTracestate(outside: Traceparent | undefined, mark?: Mark): string {
  const fields = [
    ...(mark === undefined ? [] : [`g:${markText(mark)}`]),
    ...(outside === undefined ? [] : [`o:${outside.traceId}-${outside.parentId}`]),
  ];
  return fields.length === 0 ? '' : `${TRACESTATE_KEY}=${fields.join(';')}`;
}

/**
 * `value` with our entry leftmost, as W3C Trace Context §3.5 asks of whoever changes an entry. An older entry of ours goes,
 * and so does what does not fit into 32 members, from the right. Every character of a mark is allowed in a tracestate value.
 */
export function withTracestate(value: string | undefined, mark: Mark): string {
  const others = membersOf(value).filter((member) => keyOf(member) !== TRACESTATE_KEY);
  return [`${TRACESTATE_KEY}=g:${markText(mark)}`, ...others.slice(0, TRACESTATE_MEMBERS_MAX - 1)].join(',');
}

/** `value` without our entry; empty when nothing is left. */
export function withoutTracestate(value: string): string {
  return membersOf(value)
    .filter((member) => keyOf(member) !== TRACESTATE_KEY)
    .join(',');
}

/** The mark in our tracestate entry, or undefined. Fields beside `g:` (separated by `;`) are left to later versions. */
export function markFromTracestate(value: string): Mark | undefined {
  const member = membersOf(value).find((member) => keyOf(member) === TRACESTATE_KEY);
  const field = member
    ?.slice(TRACESTATE_KEY.length + 1)
    .split(';')
    .find((field) => field.startsWith('g:'));
  return field === undefined ? undefined : parseMark(field.slice(2).trimEnd());
}

/** `value` with our member first, an older one of ours dropped, cut from the right to the limits of W3C Baggage. */
export function withBaggage(value: string | undefined, mark: Mark): string {
  let baggage = `${BAGGAGE_KEY}=${encodeURIComponent(markText(mark))}`;
  let count = 1;
  for (const member of membersOf(value)) {
    if (keyOf(member) === BAGGAGE_KEY) continue;
    if (count === BAGGAGE_MEMBERS_MAX || baggage.length + 1 + member.length > BAGGAGE_BYTES_MAX) break;
    baggage += `,${member}`;
    count += 1;
  }
  return baggage;
}

/** `value` without our member; empty when nothing is left. */
export function withoutBaggage(value: string): string {
  return membersOf(value)
    .filter((member) => keyOf(member) !== BAGGAGE_KEY)
    .join(',');
}

/** The mark in our baggage member (properties after `;` are ignored), or undefined. */
export function markFromBaggage(value: string): Mark | undefined {
  const member = membersOf(value).find((member) => keyOf(member) === BAGGAGE_KEY);
  if (member === undefined) return undefined;
  const [encoded = ''] = member.slice(member.indexOf('=') + 1).split(';');
  try {
    return parseMark(decodeURIComponent(encoded.trim()));
  } catch {
    return undefined; // not percent-encoding: not ours to judge
  }
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** W3C Trace Context §3.2. A later version may have more after the flags; version ff and all-zero ids are invalid. */
export function parseTraceparent(text: string): Traceparent | undefined {
  const [, version, traceId, parentId, flags, rest] = TRACEPARENT.exec(text.trim()) ?? [];
  if (traceId === undefined || parentId === undefined || flags === undefined) return undefined;
  if (version === 'ff' || (version === '00' && rest !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(parentId)) return undefined;
  return { traceId, parentId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

/**
 * A `traceparent` of version 00, marked as sampled unless somebody else has decided: with parent-based sampling, the default of the SDKs,
 * an unsampled parent would switch off an application's tracing for this request.
 */
export function newTraceparent(traceId: string, parentId: string, sampled: boolean = true): string {
  return `00-${traceId}-${parentId}-${sampled ? '01' : '00'}`;
}

/** The members of a comma-separated header, trimmed; what has no key and value is left out. */
function membersOf(value: string | undefined): string[] {
  if (value === undefined) return [];
  return value
    .split(',')
    .map((member) => member.trim())
    .filter((member) => member.indexOf('=') > 0);
}

function keyOf(member: string): string {
  return member.slice(0, member.indexOf('=')).trimEnd();
}
