/** Which global transaction an HTTP message belongs to, and how a message is marked as belonging to one. */
import {
  BAGGAGE_KEY,
  BRANCH_HEADER,
  GID_HEADER,
  markFromBaggage,
  linkedTracestate,
  markFromTracestate,
  newTraceparent,
  OPERATION_HEADER,
  parseTraceparent,
  TRACESTATE_KEY,
  withBaggage,
  withoutBaggage,
  withoutTracestate,
  withTracestate,
  type Traceparent,
} from '../../src/contract/propagation.ts';
import { markText, parseMark, type Gid, type Mark } from '../../src/contract/transaction.ts';
import type { SidecarOptions } from '../options.ts';

/** What the headers say. `fault`: they name a gid that is none, or two different ones; the text is for the caller. */
export type HeaderBinding =
  | { readonly kind: 'none' }
  | { readonly kind: 'bound'; readonly mark: Mark }
  | { readonly kind: 'fault'; readonly message: string };

/** Reads and writes the carriers of a mark. Header lists are flat: name, value, name, value, … as `rawHeaders` has them. */
export interface Carriers {
  /** A quick look: false when no carrier can be there, and no header that names a branch. */
  mayBeIn(headers: readonly string[]): boolean;
  /**
   * The mark of the message: the configured header, its aliases, tracestate, baggage. An empty header counts as absent
   * (programs that copy a header often send it empty); what does not parse in tracestate or baggage counts as absent too.
   * From `outside`, a mark says nothing but its gid: what somebody else serves is not what is served here. From `inside`, the
   * application, a bare gid beside a mark of the same gid is a carrier that it has set itself: the mark counts.
   */
  read(headers: readonly string[], from: 'inside' | 'outside'): HeaderBinding;
  /**
   * The same headers with `mark` in all carriers (header, aliases that are there, tracestate, baggage), and with a `traceparent`: a
   * new one when there is none or not exactly one valid, because tracing SDKs drop a tracestate that comes without. `traceId` is
   * that of the result.
   */
  set(headers: readonly string[], mark: Mark): { readonly headers: string[]; readonly traceId: string };
  /**
   * The same in a trace of its own, whatever the headers say: for a request that begins. What comes from outside in the trace that it
   * had belongs to others as well. A field `o:` in our entry of the tracestate says which trace that was; other entries end with it.
   */
  begin(headers: readonly string[], mark: Mark): { readonly headers: string[]; readonly traceId: string };
  /** Headers of no mark, in a trace of their own likewise. */
  restart(headers: readonly string[]): string[];
  /** The same headers without any carrier of ours, and without the headers that name a branch. */
  strip(headers: readonly string[]): string[];
}

const TRACE_HEADERS: ReadonlySet<string> = new Set(['traceparent', 'tracestate', 'baggage']);

/** `newId` makes 16 random hexadecimal digits. */
export function openCarriers(propagation: SidecarOptions['propagation'], newId: () => string): Carriers {
  const header = propagation.header.toLowerCase();
  // The coordinator's own calls carry the usual name, whatever the services here have agreed on.
  const names = [...propagation.aliases, GID_HEADER].map((alias) => alias.toLowerCase());
  const aliases = new Set(names.filter((alias) => alias !== header));
  const explicit = new Set([header, ...aliases]);
  const ours = new Set([...explicit, BRANCH_HEADER, OPERATION_HEADER]);
  const lengths = new Set([...ours, 'tracestate', 'baggage'].map((name) => name.length));

  function marked(headers: readonly string[], mark: Mark, traceparent: string, tracestate: string): string[] {
    const text = markText(mark);
    const result: string[] = [];
    for (let index = 0; index + 1 < headers.length; index += 2) {
      const name = headers[index] ?? '';
      const value = headers[index + 1] ?? '';
      const lower = name.toLowerCase();
      if (aliases.has(lower)) result.push(name, value === '' ? '' : text);
      else if (lower !== header && !TRACE_HEADERS.has(lower)) result.push(name, value);
    }
    result.push(header, text, 'traceparent', traceparent, 'tracestate', tracestate);
    result.push('baggage', withBaggage(listOf(headers, 'baggage'), mark));
    return result;
  }

  return {
    mayBeIn(headers) {
      for (let index = 0; index + 1 < headers.length; index += 2) {
        const name = headers[index] ?? '';
        // Most names of a usual head are told apart by their length.
        if (lengths.has(name.length) && isCarrier(name.toLowerCase(), headers[index + 1] ?? '', ours)) return true;
      }
      return false;
    },

    read(headers, from) {
      const found: Found[] = [];
      for (const [name, value] of pairs(headers)) {
        if (!explicit.has(name) || value === '') continue;
        const mark = parseMark(value);
        if (mark === undefined) return { kind: 'fault', message: `the header ${name} does not carry a gid` };
        found.push({ place: name, mark });
      }
      const fromTracestate = markFromTracestate(listOf(headers, 'tracestate') ?? '');
      if (fromTracestate !== undefined) found.push({ place: 'tracestate', mark: fromTracestate });
      const fromBaggage = markFromBaggage(listOf(headers, 'baggage') ?? '');
      if (fromBaggage !== undefined) found.push({ place: 'baggage', mark: fromBaggage });
      return agreed(found, from);
    },

    set(headers, mark) {
      const parent = parentOf(headers);
      if (parent === undefined) {
        // W3C Trace Context §3.3: a tracestate without a valid traceparent means nothing, so only ours starts the new trace.
        const traceId = newId() + newId();
        const traceparent = newTraceparent(traceId, newId());
        return { headers: marked(headers, mark, traceparent, withTracestate(undefined, mark)), traceId };
      }
      const tracestate = withTracestate(listOf(headers, 'tracestate'), mark);
      return { headers: marked(headers, mark, parent.text, tracestate), traceId: parent.traceId };
    },

    begin(headers, mark) {
      const outside = parentOf(headers);
      const traceId = newId() + newId();
      const traceparent = newTraceparent(traceId, newId(), outside?.sampled);
      return { headers: marked(headers, mark, traceparent, linkedTracestate(outside, mark)), traceId };
    },

    restart(headers) {
      const outside = parentOf(headers);
      const rest = headers.filter((_, index) => !/^trace(?:parent|state)$/i.test(headers[index - (index % 2)] ?? ''));
      rest.push('traceparent', newTraceparent(newId() + newId(), newId(), outside?.sampled));
      if (outside !== undefined) rest.push('tracestate', linkedTracestate(outside));
      return rest;
    },

    strip: (headers) => withoutCarriers(headers, ours),
  };
}

/** The trace id of the message when it has exactly one valid `traceparent`. */
export function traceIdOf(headers: readonly string[]): string | undefined {
  return parentOf(headers)?.traceId;
}

/** What the only `traceparent` says, with its text; undefined when there are several, or none that is valid. */
function parentOf(headers: readonly string[]): (Traceparent & { readonly text: string }) | undefined {
  let only: string | undefined;
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = headers[index] ?? '';
    if (name.length !== 11 || name.toLowerCase() !== 'traceparent') continue;
    if (only !== undefined) return undefined;
    only = headers[index + 1] ?? '';
  }
  const parent = only === undefined ? undefined : parseTraceparent(only);
  return only === undefined || parent === undefined ? undefined : { ...parent, text: only };
}

/** The values of the header `wanted` (in lower case), in their order. */
export function valuesOf(headers: readonly string[], wanted: string): string[] {
  return [...pairs(headers)].filter(([name]) => name === wanted).map(([, value]) => value);
}

/** A mark, and the carrier that it came in. */
interface Found {
  readonly place: string;
  readonly mark: Mark;
}

function agreed(found: readonly Found[], from: 'inside' | 'outside'): HeaderBinding {
  const gids = new Map<Gid, string>();
  const operations = new Map<string, Found>();
  for (const one of found) {
    if (!gids.has(one.mark.gid)) gids.set(one.mark.gid, one.place);
    if (one.mark.operation !== undefined && !operations.has(markText(one.mark)))
      operations.set(markText(one.mark), one);
  }
  if (gids.size > 1) return { kind: 'fault', message: `${[...gids.values()].join(' and ')} name different gids` };
  const [gid] = gids.keys();
  if (gid === undefined) return { kind: 'none' };
  if (from === 'outside') return { kind: 'bound', mark: { gid } };
  const [whole, another] = operations.values();
  if (whole === undefined) return { kind: 'bound', mark: { gid } };
  if (another === undefined) return { kind: 'bound', mark: whole.mark };
  return { kind: 'fault', message: `${whole.place} and ${another.place} name different operations` };
}

function isCarrier(name: string, value: string, ours: ReadonlySet<string>): boolean {
  if (name === 'tracestate') return value.includes(`${TRACESTATE_KEY}=`);
  if (name === 'baggage') return value.includes(BAGGAGE_KEY);
  return ours.has(name);
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

/** All lines of a list header as one list, in their order (RFC 9110 §5.3), or undefined when there is none. */
function listOf(headers: readonly string[], wanted: string): string | undefined {
  const values = valuesOf(headers, wanted);
  return values.length === 0 ? undefined : values.join(',');
}

function* pairs(headers: readonly string[]): Generator<readonly [name: string, value: string]> {
  for (let index = 0; index + 1 < headers.length; index += 2) {
    yield [(headers[index] ?? '').toLowerCase(), headers[index + 1] ?? ''];
  }
}
