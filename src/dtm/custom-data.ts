/** What clients of DTM put into `custom_data`, a JSON text: the order of a saga, the delay of a message, the workflow to run. */
import { orderFault } from '../engine/order.ts';

/** A number as JSON and Go's decoder write it. */
const INDEX = /^(?:0|[1-9][0-9]{0,8})$/;
/** Go's encoding of bytes in JSON; some clients leave the padding out or take the URL's alphabet. */
const BASE64 = /^[A-Za-z0-9+/_-]*={0,2}$/;

/** What was read, or what is wrong with it. */
export type Read<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly message: string };

/**
 * A saga's order: for each of its `count` steps the steps before it; undefined: one after another. The text is
 * `{"concurrent":true,"orders":{"2":[0,1]}}`, with indexes from 0 (cli/trans_saga.go). Orders that can never be carried out, because
 * steps wait for each other in a circle, are refused: DTM takes them and never ends.
 */
export function readOrder(customData: string, count: number): Read<readonly (readonly number[])[] | undefined> {
  const read = objectOf(customData);
  if (!read.ok) return read;
  const { concurrent, orders } = read.value;
  if (concurrent !== true) return { ok: true, value: undefined };
  const order: (readonly number[])[] = Array.from({ length: count }, () => []);
  for (const [key, before] of Object.entries(recordOf(orders))) {
    const index = INDEX.test(key) ? Number(key) : count;
    if (index >= count) return refuse(`orders: there is no step ${JSON.stringify(key.slice(0, 20))}`);
    // Go writes an empty list so.
    const steps = before ?? [];
    if (!isListOfNumbers(steps)) return refuse(`orders: expected a list of steps for step ${index}`);
    order[index] = [...new Set(steps)];
  }
  const fault = orderFault(order, count);
  return fault === undefined ? { ok: true, value: order } : refuse(`orders: ${fault}`);
}

/** A message's delay in seconds, 0 when there is none. The text is `{"delay":10}` (cli/trans_msg.go). */
export function readDelay(customData: string): Read<number> {
  const read = objectOf(customData);
  if (!read.ok) return read;
  const { delay } = read.value;
  if (delay === undefined || delay === null) return { ok: true, value: 0 };
  if (typeof delay !== 'number' || !Number.isFinite(delay))
    return refuse('custom_data.delay: expected a number of seconds');
  return { ok: true, value: Math.max(0, delay) };
}

/** A workflow's name, and its input in base64. The text is `{"name":"trip","data":"…"}` (wf/imp.go). */
export function readWorkflow(customData: string): Read<{ readonly name: string; readonly data: string }> {
  const read = objectOf(customData);
  if (!read.ok) return read;
  const { name, data } = read.value;
  if (!isTextOrNothing(name)) return refuse('custom_data.name: expected a text');
  if (!isTextOrNothing(data) || !BASE64.test(data ?? '')) return refuse('custom_data.data: expected base64');
  return { ok: true, value: { name: name ?? '', data: data ?? '' } };
}

function isListOfNumbers(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'number');
}

function isTextOrNothing(value: unknown): value is string | null | undefined {
  return value === undefined || value === null || typeof value === 'string';
}

function objectOf(text: string): Read<Readonly<Record<string, unknown>>> {
  if (text === '') return { ok: true, value: {} };
  try {
    return { ok: true, value: recordOf(JSON.parse(text)) };
  } catch (cause) {
    return refuse(`custom_data: not JSON (${cause instanceof Error ? cause.message : String(cause)})`);
  }
}

/** Some clients send an empty list or null where there is nothing in an object. */
function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function refuse(message: string): { readonly ok: false; readonly message: string } {
  return { ok: false, message };
}
