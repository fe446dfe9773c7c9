/**
 * From the JSON of DTM's clients to requests. Tolerant where they differ: null and absent are the same, unknown fields are passed
 * over, names are taken in any case (as Go's decoder does), and an empty list stands for an empty object (PHP writes both so).
 * Hand-written, because every transaction comes this way.
 */
import type { DtmBranch, DtmTransaction } from '../../dtm/service.ts';

/** What was read, or what is wrong with it, in the words of Go's decoder. */
export type Read<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly message: string };

type Draft = { -readonly [Key in keyof DtmTransaction]: DtmTransaction[Key] };

/** Puts a value that is not null into the draft; answers the type that was expected when it is another. */
type Setter = (draft: Draft, value: unknown) => string | undefined;

const FIELDS: ReadonlyMap<string, Setter> = new Map<string, Setter>([
  ['gid', text((draft, value) => (draft.gid = cleaned(value)))],
  ['trans_type', text((draft, value) => (draft.transType = value))],
  ['steps', setSteps],
  ['payloads', setPayloads],
  ['query_prepared', text((draft, value) => (draft.queryPrepared = value))],
  ['protocol', text((draft, value) => (draft.protocol = value))],
  ['custom_data', text((draft, value) => (draft.customData = value))],
  ['rollback_reason', text((draft, value) => (draft.rollbackReason = value))],
  ['req_extra', texts((draft, value) => (draft.reqExtra = value))],
  ['branch_headers', texts((draft, value) => (draft.branchHeaders = value))],
  ['wait_result', flag((draft, value) => (draft.waitResult = value))],
  ['concurrent', flag((draft, value) => (draft.concurrent = value))],
  ['timeout_to_fail', number((draft, value) => (draft.timeoutToFail = value))],
  ['request_timeout', number((draft, value) => (draft.requestTimeout = value))],
  ['retry_interval', number((draft, value) => (draft.retryInterval = value))],
  ['retry_limit', number((draft, value) => (draft.retryLimit = value))],
]);

/** Reads a transaction from a JSON text. */
export function readTransaction(body: string): Read<DtmTransaction> {
  const parsed = parseObject(body);
  return parsed.ok ? transactionOf(parsed.value) : parsed;
}

/** Reads a transaction from a JSON object. */
export function transactionOf(value: Readonly<Record<string, unknown>>): Read<DtmTransaction> {
  const draft: Draft = {
    gid: '',
    transType: '',
    steps: [],
    payloads: [],
    queryPrepared: '',
    protocol: '',
    customData: '',
    rollbackReason: '',
    reqExtra: {},
    waitResult: false,
    timeoutToFail: undefined,
    requestTimeout: undefined,
    retryInterval: undefined,
    retryLimit: undefined,
    concurrent: false,
    branchHeaders: {},
  };
  let legacy: readonly string[] = [];
  for (const key of Object.keys(value)) {
    const item = value[key];
    if (item === null) continue;
    const name = FIELDS.has(key) ? key : key.toLowerCase();
    const expected = FIELDS.get(name)?.(draft, item);
    if (expected !== undefined) return refuse(`${mismatch(item)} field .${name} of type ${expected}`);
    if (name === 'steps') legacy = legacyPayloads(item);
  }
  if (legacy.length > 0) draft.payloads = [...draft.payloads, ...legacy];
  return { ok: true, value: draft };
}

/** Reads a branch from a JSON text: an object of texts only. */
export function readBranchRequest(body: string): Read<DtmBranch> {
  const parsed = parseObject(body);
  return parsed.ok ? branchOf(parsed.value) : parsed;
}

/** Reads a branch from a JSON object. What belongs to no branch as such is `data`. */
export function branchOf(value: Readonly<Record<string, unknown>>): Read<DtmBranch> {
  const known: Record<string, string> = { gid: '', trans_type: '', branch_id: '', op: '', data: '' };
  const data: Record<string, string> = {};
  for (const [key, item] of Object.entries(value)) {
    if (item !== null && typeof item !== 'string') return refuse(`${mismatch(item)} value of type string`);
    const name = key.toLowerCase();
    (Object.hasOwn(known, name) ? known : data)[name] = item ?? '';
  }
  const { gid = '', trans_type = '', branch_id = '', op = '', data: payload = '' } = known;
  return {
    ok: true,
    value: { gid: cleaned(gid), transType: trans_type, branchId: branch_id, op, data, payload: base64(payload) },
  };
}

/** Parses a JSON object. */
export function parseObject(body: string): Read<Readonly<Record<string, unknown>>> {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (cause) {
    if (body.trim() === '') return refuse('unexpected end of JSON input');
    return refuse(`invalid JSON: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  if (isObject(value)) return { ok: true, value };
  return isEmptyList(value) ? { ok: true, value: {} } : refuse(`${mismatch(value)} value of type object`);
}

/** DTM takes these out of gids and statuses (svr/api_http.go:82). */
function cleaned(text: string): string {
  return text.replace(/[\n\r;]/g, '');
}

function setSteps(draft: Draft, value: unknown): string | undefined {
  if (!Array.isArray(value)) return isEmptyObject(value) ? undefined : '[]map[string]string';
  const steps: { readonly action?: string; readonly compensate?: string }[] = [];
  for (const item of value as readonly unknown[]) {
    const step = textsOf(item ?? {});
    if (step === undefined) return '[]map[string]string';
    const { action = '', compensate = '' } = step;
    steps.push({ ...(action === '' ? {} : { action }), ...(compensate === '' ? {} : { compensate }) });
  }
  draft.steps = steps;
  return undefined;
}

/** Old clients send the payload within the step (svr/trans_class.go:24). */
function legacyPayloads(value: unknown): readonly string[] {
  if (!Array.isArray(value)) return [];
  return (value as readonly unknown[]).flatMap((step) => {
    const data = isObject(step) ? step['data'] : undefined;
    return typeof data === 'string' && data !== '' ? [base64(data)] : [];
  });
}

function setPayloads(draft: Draft, value: unknown): string | undefined {
  if (!Array.isArray(value)) return isEmptyObject(value) ? undefined : '[]string';
  const payloads: string[] = [];
  for (const item of value as readonly unknown[]) {
    if (item !== null && typeof item !== 'string') return '[]string';
    payloads.push(base64(item ?? ''));
  }
  draft.payloads = payloads;
  return undefined;
}

function text(set: (draft: Draft, value: string) => void): Setter {
  return (draft, value) => {
    if (typeof value !== 'string') return 'string';
    set(draft, value);
    return undefined;
  };
}

function flag(set: (draft: Draft, value: boolean) => void): Setter {
  return (draft, value) => {
    if (typeof value !== 'boolean') return 'bool';
    set(draft, value);
    return undefined;
  };
}

function number(set: (draft: Draft, value: number) => void): Setter {
  return (draft, value) => {
    if (typeof value !== 'number') return 'int64';
    set(draft, value);
    return undefined;
  };
}

function texts(set: (draft: Draft, value: Readonly<Record<string, string>>) => void): Setter {
  return (draft, value) => {
    const found = isEmptyList(value) ? {} : textsOf(value);
    if (found === undefined) return 'map[string]string';
    set(draft, found);
    return undefined;
  };
}

/** The object when it holds texts only; null counts as empty. */
function textsOf(value: unknown): Readonly<Record<string, string>> | undefined {
  if (!isObject(value)) return isEmptyList(value) ? {} : undefined;
  const found: Record<string, string> = {};
  for (const [key, item] of Object.entries(value)) {
    if (item !== null && typeof item !== 'string') return undefined;
    // `__proto__` must become a key like any other.
    Object.defineProperty(found, key, { value: item ?? '', enumerable: true, writable: true, configurable: true });
  }
  return found;
}

function base64(text: string): string {
  return text === '' ? '' : Buffer.from(text).toString('base64');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

function isEmptyObject(value: unknown): boolean {
  return isObject(value) && Object.keys(value).length === 0;
}

function mismatch(value: unknown): string {
  const kind =
    value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value === 'boolean' ? 'bool' : typeof value;
  return `json: cannot unmarshal ${kind} into Go`;
}

function refuse(message: string): { readonly ok: false; readonly message: string } {
  return { ok: false, message };
}
