/** From a request of DTM's protocol to a transaction that can be begun: pure, and the only place that knows DTM's defaults. */
import type { NewStep, NewTransaction } from '../contract/new-transaction.ts';
import { parseGid, type BranchId, type Gid, type Protocol } from '../contract/transaction.ts';
import { readDelay, readOrder, readWorkflow, type Read } from './custom-data.ts';
import { readHeaders } from './headers.ts';
import type { DtmTransaction } from './service.ts';
import type { TargetCheck } from './target.ts';

/** What a request means where it is silent, in milliseconds. Workflows have longer ones of their own (`src/engine/start.ts`). */
export interface DtmDefaults {
  readonly timeoutToFailMs: number;
  readonly retryIntervalMs: number;
  readonly requestTimeoutMs: number;
}

/** The subscribers of a topic by its name; undefined when there is no such topic, or nobody in it. */
export type Subscribers = ReadonlyMap<string, readonly string[]>;

const TOPIC = 'topic://';
/** Steps with those that topics make of them: no coordinator may allow more (`limits.branches`), and each takes memory before that is known. */
const STEPS_MAX = 100_000;
const MS_MAX = 365 * 86_400_000;
const MODES: ReadonlySet<string> = new Set(['saga', 'tcc', 'xa', 'msg', 'workflow'] satisfies NewTransaction['mode'][]);
const PROTOCOLS: ReadonlySet<string> = new Set(['http', 'grpc', 'json-rpc'] satisfies Protocol[]);

/** The gid when it has a gid's form. */
export function readGid(text: string): Read<Gid> {
  const gid = parseGid(text);
  if (gid !== undefined) return { ok: true, value: gid };
  if (text === '') return refuse('key required: gid is empty');
  return refuse(
    `gid: expected 1 to 128 characters of A-Z a-z 0-9 . _ : { } -, found ${JSON.stringify(text.slice(0, 60))}`,
  );
}

/** The mode that `transType` names. */
export function readMode(transType: string): Read<NewTransaction['mode']> {
  if (MODES.has(transType)) return { ok: true, value: transType as NewTransaction['mode'] };
  return refuse(`unknow trans type: ${transType.slice(0, 60)}`);
}

/** The topics that the steps name, each once. */
export function topicsOf({ transType, steps }: DtmTransaction): readonly string[] {
  if (transType !== 'msg') return [];
  const topics = new Set<string>();
  for (const { action } of steps) if (action?.startsWith(TOPIC) === true) topics.add(action.slice(TOPIC.length));
  return [...topics];
}

/**
 * What `request` asks for. Answers why it cannot be: a gid or URL of the wrong form, a step without its payload, an order that leads
 * nowhere, a topic that nobody has subscribed to.
 */
export function readNewTransaction(
  request: DtmTransaction,
  defaults: DtmDefaults,
  targetFault: TargetCheck,
  subscribers: Subscribers,
): Read<NewTransaction> {
  const gid = readGid(request.gid);
  if (!gid.ok) return gid;
  const mode = readMode(request.transType);
  if (!mode.ok) return mode;
  const protocol = readProtocol(request.protocol);
  if (!protocol.ok) return protocol;
  const headers = readHeaders(request.branchHeaders, isGrpcAnywhere(request, protocol.value));
  if (!headers.ok) return headers;
  const parts = PARTS[mode.value](request, subscribers);
  if (!parts.ok) return parts;
  const common = {
    gid: gid.value,
    mode: mode.value,
    protocol: protocol.value,
    ...headers.value,
    ...durationsOf(request, mode.value, defaults),
    ...(request.customData === '' ? {} : { customData: request.customData }),
  };
  const transaction: NewTransaction = { ...common, ...parts.value };
  const fault = firstTargetFault(transaction, targetFault);
  return fault === undefined ? { ok: true, value: transaction } : refuse(fault);
}

type Parts = Pick<NewTransaction, 'steps' | 'identity' | 'order' | 'retryLimit' | 'delayMs' | 'callback'>;

/**
 * What belongs to each mode. The identity is what takes effect: two requests that differ in patience, headers or `wait_result` only
 * ask for the same, and a message is the same before and after its topics are looked up.
 */
const PARTS: Readonly<
  Record<NewTransaction['mode'], (request: DtmTransaction, subscribers: Subscribers) => Read<Parts>>
> = {
  saga: (request) => {
    const { steps, payloads, protocol, customData } = request;
    const fault = payloadsFault(request);
    if (fault !== undefined) return refuse(fault);
    const order = readOrder(customData, steps.length);
    if (!order.ok) return order;
    const identity = JSON.stringify([
      protocol || 'http',
      steps.map(actionAndCompensation),
      payloads,
      order.value ?? null,
    ]);
    return {
      ok: true,
      value: {
        identity,
        steps: steps.map(({ action, compensate }, index) => ({
          ...stepOf(branchIdOf(index + 1), action, payloads[index]),
          ...(compensate === undefined || compensate === '' ? {} : { compensate }),
        })),
        ...(order.value === undefined ? {} : { order: order.value }),
        ...retryLimitOf(request),
      },
    };
  },
  msg: (request, subscribers) => {
    const { steps, payloads, protocol, queryPrepared } = request;
    const fault = payloadsFault(request);
    if (fault !== undefined) return refuse(fault);
    const delay = readDelay(request.customData);
    if (!delay.ok) return delay;
    const expanded = stepsOfMessage(request, subscribers);
    if (!expanded.ok) return expanded;
    return {
      ok: true,
      value: {
        identity: JSON.stringify([protocol || 'http', steps.map(({ action }) => action ?? ''), payloads]),
        steps: expanded.value,
        // Of a message DTM looks at the field itself, not at custom_data (svr/trans_type_msg.go:94).
        ...(request.concurrent ? { order: expanded.value.map(() => []) } : {}),
        ...(delay.value > 0 ? { delayMs: milliseconds(delay.value) } : {}),
        ...(queryPrepared === '' ? {} : { callback: { url: queryPrepared } }),
      },
    };
  },
  tcc: () => ({ ok: true, value: { identity: '', steps: [] } }),
  xa: () => ({ ok: true, value: { identity: '', steps: [] } }),
  workflow: ({ customData, queryPrepared }) => {
    const workflow = readWorkflow(customData);
    if (!workflow.ok) return workflow;
    const { name, data } = workflow.value;
    return {
      ok: true,
      value: {
        identity: JSON.stringify([name, data]),
        steps: [],
        ...(queryPrepared === ''
          ? {}
          : { callback: { url: queryPrepared, name, ...(data === '' ? {} : { payload: data }) } }),
      },
    };
  },
};

/** A step for each subscriber of a topic; a single one has the step's own number, several have numbers below it. */
function stepsOfMessage({ steps, payloads }: DtmTransaction, subscribers: Subscribers): Read<readonly NewStep[]> {
  const expanded: NewStep[] = [];
  for (const [index, { action }] of steps.entries()) {
    const payload = payloads[index];
    if (action?.startsWith(TOPIC) !== true) {
      expanded.push(stepOf(branchIdOf(index + 1), action, payload));
      continue;
    }
    const urls = subscribers.get(action.slice(TOPIC.length)) ?? [];
    if (urls.length === 0) return refuse('topic not found');
    if (expanded.length + urls.length > STEPS_MAX) return refuse(`steps: more than ${STEPS_MAX} with all subscribers`);
    for (const [place, url] of urls.entries()) {
      const id = urls.length === 1 ? branchIdOf(index + 1) : `${branchIdOf(index + 1)}-${twoDigits(place + 1)}`;
      expanded.push(stepOf(id as BranchId, url, payload));
    }
  }
  return { ok: true, value: expanded };
}

/** Zero and less mean none; what is more than anybody will count to must still be a number when it is stored. */
function retryLimitOf({ retryLimit = 0 }: DtmTransaction): Pick<NewTransaction, 'retryLimit'> {
  return retryLimit > 0 ? { retryLimit: Math.min(retryLimit, Number.MAX_SAFE_INTEGER) } : {};
}

function stepOf(id: BranchId, action: string | undefined, payload: string | undefined): NewStep {
  return {
    id,
    ...(action === undefined || action === '' ? {} : { action }),
    ...(payload === undefined || payload === '' ? {} : { payload }),
  };
}

function actionAndCompensation(step: DtmTransaction['steps'][number]): readonly [string, string] {
  return [step.action ?? '', step.compensate ?? ''];
}

/** DTM numbers steps with at least two digits (svr/trans_type_saga.go, `%02d`). */
function branchIdOf(number: number): BranchId {
  return twoDigits(number) as BranchId;
}

function twoDigits(number: number): string {
  return String(number).padStart(2, '0');
}

/** DTM's words for a step without its payload are Go's own. */
function payloadsFault({ steps, payloads }: DtmTransaction): string | undefined {
  if (payloads.length >= steps.length) return undefined;
  return `index out of range [${payloads.length}] with length ${payloads.length}: payloads must have one entry for each step`;
}

function readProtocol(text: string): Read<Protocol> {
  if (text === '') return { ok: true, value: 'http' };
  if (PROTOCOLS.has(text)) return { ok: true, value: text as Protocol };
  return refuse(`protocol: expected one of ${[...PROTOCOLS].join(', ')}, found ${JSON.stringify(text.slice(0, 60))}`);
}

/** The scheme of a target counts more than the protocol (dtmsvr, trans_status.go:131). */
function isGrpcAnywhere({ steps }: DtmTransaction, protocol: Protocol): boolean {
  const isGrpc = (target = ''): boolean => /^grpcs?:/i.test(target);
  return protocol === 'grpc' || steps.some(({ action, compensate }) => isGrpc(action) || isGrpc(compensate));
}

function durationsOf(
  { timeoutToFail, retryInterval, requestTimeout }: DtmTransaction,
  mode: NewTransaction['mode'],
  defaults: DtmDefaults,
): Pick<NewTransaction, 'timeoutMs' | 'retryIntervalMs' | 'requestTimeoutMs'> {
  const isWorkflow = mode === 'workflow';
  const timeoutMs = given(timeoutToFail) ?? (mode === 'saga' || isWorkflow ? undefined : defaults.timeoutToFailMs);
  const requestTimeoutMs = given(requestTimeout) ?? (isWorkflow ? undefined : defaults.requestTimeoutMs);
  const retryIntervalMs = given(retryInterval) ?? (isWorkflow ? undefined : firstPauseMs(timeoutToFail, defaults));
  return {
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(retryIntervalMs === undefined ? {} : { retryIntervalMs }),
    ...(requestTimeoutMs === undefined ? {} : { requestTimeoutMs }),
  };
}

/** Who has little time is asked again sooner (svr/trans_status.go:229). */
function firstPauseMs(timeoutToFail: number | undefined, defaults: DtmDefaults): number {
  return Math.min(defaults.retryIntervalMs, given(timeoutToFail) ?? defaults.retryIntervalMs);
}

/** Zero and less mean that nothing was asked for. */
function given(seconds: number | undefined): number | undefined {
  return seconds !== undefined && seconds > 0 ? milliseconds(seconds) : undefined;
}

function milliseconds(seconds: number): number {
  return Math.max(1, Math.min(MS_MAX, Math.round(seconds * 1000)));
}

function firstTargetFault({ steps, protocol, callback }: NewTransaction, targetFault: TargetCheck): string | undefined {
  for (const { id, action = '', compensate = '' } of steps) {
    const fault = targetFault(action, protocol) ?? targetFault(compensate, protocol);
    if (fault !== undefined) return `step ${id}: ${fault}`;
  }
  const fault = callback === undefined ? undefined : targetFault(callback.url, protocol);
  return fault === undefined ? undefined : `query_prepared: ${fault}`;
}

function refuse(message: string): { readonly ok: false; readonly message: string } {
  return { ok: false, message };
}
