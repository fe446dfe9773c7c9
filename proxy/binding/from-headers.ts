/** Which global transaction an HTTP message belongs to, and how a message is marked as belonging to one. */
import type { IncomingHttpHeaders } from 'node:http';
import {
  BAGGAGE_KEY,
  BRANCH_HEADER,
  gidFromBaggage,
  gidFromTracestate,
  newTraceparent,
  OPERATION_HEADER,
  parseTraceparent,
  TRACESTATE_KEY,
  withBaggage,
  withoutBaggage,
  withoutTracestate,
  withTracestate,
} from '../../src/contract/propagation.ts';
import { parseGid, type Gid } from '../../src/contract/transaction.ts';
import type { SidecarOptions } from '../options.ts';

/** What the headers say. `fault`: they name a gid that is none, or two different ones; the text is for the caller. */
export type HeaderBinding =
  | { readonly kind: 'none' }
  | { readonly kind: 'bound'; readonly gid: Gid }
  | { readonly kind: 'fault'; readonly message: string };

/** Reads and writes the carriers of a gid. Header lists are flat: name, value, name, value, … as `rawHeaders` has them. */
export interface Carriers {
  /** A quick look: false when no carrier can be there. */
  mayBeIn(headers: IncomingHttpHeaders): boolean;
  /**
   * The gid of the message: the configured header, its aliases, tracestate, baggage. An empty header counts as absent
   * (programs that copy a header often send it empty); what does not parse in tracestate or baggage counts as absent too.
   */
  read(headers: readonly string[]): HeaderBinding;
  /**
   * The same headers with `gid` in all carriers (header, tracestate, baggage), and with a `traceparent`: a new one when there
   * is none or not exactly one valid, because tracing SDKs drop a tracestate that comes without. `traceId` is that of the result.
   */
  set(headers: readonly string[], gid: Gid): { readonly headers: string[]; readonly traceId: string };
  /** The same headers without any carrier of ours, and without the headers that name a branch. */
  strip(headers: readonly string[]): string[];
}

/** `newId` makes 16 random hexadecimal digits. */
export function openCarriers(propagation: SidecarOptions['propagation'], newId: () => string): Carriers {
  const header = propagation.header.toLowerCase();
  const aliases = propagation.aliases.map((alias) => alias.toLowerCase()).filter((alias) => alias !== header);
  const explicit = new Set([header, ...aliases]);
  const ours = new Set([...explicit, BRANCH_HEADER, OPERATION_HEADER]);

  return {
    mayBeIn(headers) {
      if (headers[header] !== undefined) return true;
      for (const alias of aliases) if (headers[alias] !== undefined) return true;
      return (
        listHas(headers['tracestate'], `${TRACESTATE_KEY}=`) ||
        listHas(headers['baggage'], BAGGAGE_KEY) ||
        headers[BRANCH_HEADER] !== undefined ||
        headers[OPERATION_HEADER] !== undefined
      );
    },

    read(headers) {
      const found = new Map<Gid, string>();
      for (const [name, value] of pairs(headers)) {
        if (!explicit.has(name) || value === '') continue;
        const gid = parseGid(value);
        if (gid === undefined) return { kind: 'fault', message: `the header ${name} does not carry a gid` };
        if (!found.has(gid)) found.set(gid, name);
      }
      const fromTracestate = gidFromTracestate(listOf(headers, 'tracestate') ?? '');
      if (fromTracestate !== undefined && !found.has(fromTracestate)) found.set(fromTracestate, 'tracestate');
      const fromBaggage = gidFromBaggage(listOf(headers, 'baggage') ?? '');
      if (fromBaggage !== undefined && !found.has(fromBaggage)) found.set(fromBaggage, 'baggage');
      if (found.size > 1) return { kind: 'fault', message: `${[...found.values()].join(' and ')} name different gids` };
      const [gid] = found.keys();
      return gid === undefined ? { kind: 'none' } : { kind: 'bound', gid };
    },

    set(headers, gid) {
      const result: string[] = [];
      const parents: string[] = [];
      for (let index = 0; index + 1 < headers.length; index += 2) {
        const name = headers[index] ?? '';
        const value = headers[index + 1] ?? '';
        const lower = name.toLowerCase();
        if (lower === 'traceparent') parents.push(value);
        else if (lower !== header && lower !== 'tracestate' && lower !== 'baggage') result.push(name, value);
      }
      const [only = '', second] = parents;
      const parent = second === undefined ? parseTraceparent(only) : undefined;
      const traceId = parent?.traceId ?? newId() + newId();
      const tracestate = parent === undefined ? undefined : listOf(headers, 'tracestate');
      result.push(header, gid);
      result.push('traceparent', parent === undefined ? newTraceparent(traceId, newId()) : only);
      // W3C Trace Context §3.3: a tracestate without a valid traceparent means nothing, so only ours starts the new trace.
      result.push('tracestate', withTracestate(tracestate, gid));
      result.push('baggage', withBaggage(listOf(headers, 'baggage'), gid));
      return { headers: result, traceId };
    },

    strip: (headers) => withoutCarriers(headers, ours),
  };
}

/** The trace id of the message when it has exactly one valid `traceparent`. */
export function traceIdOf(headers: IncomingHttpHeaders): string | undefined {
  const value = headers['traceparent'];
  return typeof value === 'string' ? parseTraceparent(value)?.traceId : undefined;
}

function withoutCarriers(headers: readonly string[], ours: ReadonlySet<string>): string[] {
  const result: string[] = [];
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = headers[index] ?? '';
    const value = headers[index + 1] ?? '';
    const lower = name.toLowerCase();
    if (ours.has(lower)) continue;
    const kept =
      lower === 'tracestate' ? withoutTracestate(value) : lower === 'baggage' ? withoutBaggage(value) : value;
    if (kept !== '' || value === '') result.push(name, kept);
  }
  return result;
}

function listHas(value: string | string[] | undefined, text: string): boolean {
  return value !== undefined && value.includes(text);
}

/** All lines of a list header as one list, in their order (RFC 9110 §5.3), or undefined when there is none. */
function listOf(headers: readonly string[], wanted: string): string | undefined {
  const values = [...pairs(headers)].filter(([name]) => name === wanted).map(([, value]) => value);
  return values.length === 0 ? undefined : values.join(',');
}

function* pairs(headers: readonly string[]): Generator<readonly [name: string, value: string]> {
  for (let index = 0; index + 1 < headers.length; index += 2) {
    yield [(headers[index] ?? '').toLowerCase(), headers[index + 1] ?? ''];
  }
}
