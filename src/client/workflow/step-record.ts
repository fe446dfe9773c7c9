/** The recorded form of a step: what was asked, so that a changed program is noticed, and what came of it. */
import { createHash } from 'node:crypto';
import { type BranchAnswer, branchAnswer } from '../branch/answer.ts';

/** What a step is, apart from its place: `POST http://bank/out`, `local`, and a hash of what was sent. */
export interface StepIdentity {
  readonly step: string;
  readonly hash?: string;
}

/** What came of a step. */
export type StepEnd =
  | { readonly kind: 'answer'; readonly answer: BranchAnswer }
  /** `json`: the value as JSON text; undefined when there is none. */
  | { readonly kind: 'value'; readonly json: string | undefined }
  | { readonly kind: 'error'; readonly message: string };

export interface StepRecord extends StepIdentity {
  readonly end: StepEnd;
}

interface Stored extends StepIdentity {
  readonly atomesh: 1;
  readonly value?: string;
  readonly error?: string;
  readonly answer?: {
    readonly status: number;
    readonly type: string;
    readonly text?: string;
    readonly base64?: string;
  };
}

/** Bodies are compared, not kept: 128 bits of their hash. */
export function hashOf(body: string | Uint8Array): string {
  return createHash('sha256').update(body).digest('hex').slice(0, 32);
}

/** The record as bytes of UTF-8 text, which is all that DTM's HTTP protocol carries undamaged. */
export function encodeRecord({ step, hash, end }: StepRecord): Uint8Array {
  const stored: Stored = { atomesh: 1, step, ...(hash === undefined ? {} : { hash }), ...storedEnd(end) };
  return Buffer.from(JSON.stringify(stored));
}

function storedEnd(end: StepEnd): Partial<Stored> {
  switch (end.kind) {
    case 'answer': {
      const { status, contentType: type, body } = end.answer;
      const text = end.answer.text();
      const isText = Buffer.from(text).equals(body);
      return { answer: { status, type, ...(isText ? { text } : { base64: Buffer.from(body).toString('base64') }) } };
    }
    case 'value':
      return end.json === undefined ? {} : { value: end.json };
    case 'error':
      return { error: end.message };
  }
}

/** The record, or undefined when `data` is none of ours. */
export function decodeRecord(data: Uint8Array): StepRecord | undefined {
  const stored = parse(data);
  if (stored === undefined) return undefined;
  const { step, hash, answer, error, value } = stored;
  const identity = { step, ...(hash === undefined ? {} : { hash }) };
  if (answer !== undefined) {
    const { status, type, text, base64 } = answer;
    const body = base64 === undefined ? Buffer.from(text ?? '') : Buffer.from(base64, 'base64');
    return { ...identity, end: { kind: 'answer', answer: branchAnswer(status, type, body) } };
  }
  if (error !== undefined) return { ...identity, end: { kind: 'error', message: error } };
  return { ...identity, end: { kind: 'value', json: value } };
}

function parse(data: Uint8Array): Stored | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(data).toString());
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || !('atomesh' in value) || value.atomesh !== 1) return undefined;
  const stored = value as Partial<Record<keyof Stored, unknown>>;
  const isRecord =
    typeof stored.step === 'string' &&
    isTextOrNone(stored.hash) &&
    isTextOrNone(stored.value) &&
    isTextOrNone(stored.error) &&
    (stored.answer === undefined || isAnswer(stored.answer));
  return isRecord ? (value as unknown as Stored) : undefined;
}

function isAnswer(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { status, type, text, base64 } = value as Record<string, unknown>;
  return typeof status === 'number' && typeof type === 'string' && isTextOrNone(text) && isTextOrNone(base64);
}

function isTextOrNone(value: unknown): boolean {
  return value === undefined || typeof value === 'string';
}
