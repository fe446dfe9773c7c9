/**
 * The recorded form of what a workflow's program has done: the calls it made, with their answers, and its own answer. Each record
 * is a step at the coordinator; its data says everything, its name only keeps it apart from the others.
 */
import { createHash } from 'node:crypto';
import type { StepView } from '../../src/contract/messages.ts';

/** What must be the same for a recorded answer to be the answer of a call. */
export interface CallIdentity {
  readonly method: string;
  /** Scheme, authority, path and query of where it goes. */
  readonly url: string;
  /** Of the request's body; empty without one. */
  readonly hash: string;
}

/** An answer as it is given again. Headers flat: name, value, name, value, … */
export interface RecordedAnswer {
  readonly status: number;
  readonly headers: readonly string[];
  /** Absent where it was too long, or had no end: of a program's own answer only. */
  readonly body?: Buffer;
}

/** A call and its place among those that are the same, from 1. */
export interface PlacedCall extends CallIdentity {
  readonly occurrence: number;
}

/**
 * - `started`: a call that may not be repeated was about to go out.
 * - `tried`: the program has heard an answer to a call that is none for good. It is no answer to a later run, which makes the call again;
 *   but it says that the program came this way.
 * - `finished`: a call was answered for good.
 * - `answer`: the program has ended, and this is what it answered.
 */
export type Step =
  | { readonly kind: 'started' | 'tried'; readonly call: PlacedCall }
  | { readonly kind: 'finished'; readonly call: PlacedCall; readonly answer: RecordedAnswer }
  | ({ readonly kind: 'answer' } & ProgramEnd);

/** How a program ended: what it answered, and what that means for its transaction. */
export interface ProgramEnd {
  readonly answer: RecordedAnswer;
  readonly commits: boolean;
  /** The run that ended so; later ones carry it out. */
  readonly run: number;
}

/** The form that is stored; `v` tells it from what later versions may write. */
interface Stored {
  readonly v: 1;
  readonly kind: Step['kind'];
  readonly call?: PlacedCall;
  readonly answer?: StoredAnswer;
  readonly commits?: boolean;
  readonly run?: number;
}

interface StoredAnswer {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body?: StoredBody;
}

/** As text where nothing is lost by it, which most bodies are; otherwise in base64. */
export type StoredBody = { readonly text: string } | { readonly base64: string };

/** The name of a call is a branch's resource too, which has at most 200 characters (`EnlistRequest`). */
const URL_CHARACTERS_MAX = 100;
const METHOD_CHARACTERS_MAX = 20;
const HASH_CHARACTERS = 16;

/** 128 bits of SHA-256: bodies are compared, not kept. */
export function hashOf(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex').slice(0, 32);
}

/**
 * `2:POST http://bank/out 5f2b…`: the name of a call, unique in its transaction, and the same in every run whatever the order of the
 * calls. At most 200 characters; what is cut off is told apart by its hash.
 */
export function callName({ method, url, hash, occurrence }: PlacedCall): string {
  const where = url.length <= URL_CHARACTERS_MAX ? url : `${url.slice(0, URL_CHARACTERS_MAX)}~${hashOf(url)}`;
  const what = hash === '' ? '' : ` ${hash.slice(0, HASH_CHARACTERS)}`;
  return `${occurrence}:${method.slice(0, METHOD_CHARACTERS_MAX)} ${where}${what}`;
}

/** The step as the coordinator keeps it. */
export function encodeStep(step: Step): StepView {
  const stored: Stored = {
    v: 1,
    kind: step.kind,
    ...(step.kind === 'answer' ? { commits: step.commits, run: step.run } : { call: step.call }),
    ...('answer' in step ? { answer: storedAnswer(step.answer) } : {}),
  };
  return { step: nameOf(step), data: Buffer.from(JSON.stringify(stored)).toString('base64') };
}

/** The step, or undefined when `data` is none that this version writes. */
export function decodeStep({ data }: StepView): Step | undefined {
  const stored = parsed(data);
  if (stored?.['v'] !== 1) return undefined;
  const call = callOf(stored['call']);
  const answer = answerOf(stored['answer']);
  switch (stored['kind']) {
    case 'started':
    case 'tried':
      return call && { kind: stored['kind'], call };
    case 'finished':
      return call && answer && { kind: 'finished', call, answer };
    case 'answer': {
      const { commits, run } = stored;
      if (answer === undefined || typeof commits !== 'boolean' || !isCount(run)) return undefined;
      return { kind: 'answer', answer, commits, run };
    }
    default:
      return undefined;
  }
}

function nameOf(step: Step): string {
  switch (step.kind) {
    case 'started':
    case 'tried':
      return `${callName(step.call)} ${step.kind}`;
    case 'finished':
      return callName(step.call);
    case 'answer':
      return 'answer';
  }
}

/** The form in which a body is stored: at most four thirds of it, whatever is in it. */
export function storedBody(body: Buffer): StoredBody {
  const text = body.toString();
  const isShort = JSON.stringify(text).length <= (body.byteLength * 4) / 3 + 2;
  return isShort && Buffer.from(text).equals(body) ? { text } : { base64: body.toString('base64') };
}

/** The body, or undefined when `stored` is none. */
export function bodyOf(stored: unknown): Buffer | undefined {
  if (!isObject(stored)) return undefined;
  if (typeof stored['text'] === 'string') return Buffer.from(stored['text']);
  return typeof stored['base64'] === 'string' ? Buffer.from(stored['base64'], 'base64') : undefined;
}

function storedAnswer({ status, headers, body }: RecordedAnswer): StoredAnswer {
  return { status, headers, ...(body === undefined ? {} : { body: storedBody(body) }) };
}

/** The object that `data` (JSON in base64) holds, or undefined. */
export function parsed(data: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(data, 'base64').toString());
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function callOf(value: unknown): PlacedCall | undefined {
  if (!isObject(value)) return undefined;
  const { method, url, hash, occurrence } = value;
  const isCall =
    typeof method === 'string' && typeof url === 'string' && typeof hash === 'string' && isCount(occurrence);
  return isCall ? { method, url, hash, occurrence } : undefined;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value);
}

function answerOf(value: unknown): RecordedAnswer | undefined {
  if (!isObject(value)) return undefined;
  const { status, headers, body: stored } = value;
  if (typeof status !== 'number' || !isTexts(headers)) return undefined;
  const body = bodyOf(stored);
  return { status, headers, ...(body === undefined ? {} : { body }) };
}

/** True for a list of texts. */
export function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
