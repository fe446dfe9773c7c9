/**
 * An answer that waits for the verdict of a gate, with what came of it meanwhile. Over gRPC the outcome is in the trailers, so a
 * unary answer is kept as a whole: nothing of it goes out before its status is known and judged.
 */
import { CodedError } from '../../src/contract/errors.ts';
import type { Gate, HeldAnswer } from '../http/admission.ts';
import { isEndless, type AnswerHead, type RawHead } from '../http/headers.ts';
import { fieldOf } from './head.ts';
import { httpStatusOfGrpc, isGrpc, onlyMessageOf } from './grpc.ts';

export interface Holding {
  /** End-to-end headers, flat. */
  readonly headers: string[];
  readonly chunks: Buffer[];
  /** True when nothing follows the head. */
  readonly isWhole: boolean;
  /** True when the body is to be kept before the verdict is asked for. */
  readonly keepsBody: boolean;
  /** True when the verdict may be asked for although the body is not whole. */
  readonly mayStream: boolean;
  readonly isEnded: boolean;
  readonly failure: Error | undefined;
  /** Keeps a chunk. `ask`: it is more than the gate wants, ask without a body; `refuse`: it is more than can be held. */
  keep(chunk: Buffer): 'more' | 'ask' | 'refuse';
  end(trailers: RawHead): void;
  fail(error: Error): void;
  /** How long to wait for the rest of the body, in milliseconds; `timeoutMs` is how long an answer may take to begin. */
  patienceMs(timeoutMs: number): number;
  /** What the gate gets to see. */
  answer(): Promise<HeldAnswer>;
  /** Why an answer was given up that could not be held as a whole. */
  overflow(): CodedError;
}

/** How long a body may take that a gate wants to have before its verdict. */
const KEEP_MS = 30_000;
/** What gRPC's libraries receive as one message unless told otherwise, with its prefix and some room. */
const GRPC_BYTES_MAX = 4 * 1024 * 1024 + 1024;

/** Holds an answer for `gate`. `toGrpc`: the client speaks gRPC. */
export function holdingOf(gate: Gate, toGrpc: boolean, status: number, head: AnswerHead, isWhole: boolean): Holding {
  if (!toGrpc || status !== 200) return new PlainHolding(gate, status, head, isWhole);
  if (isGrpc(fieldOf(head.headers, 'content-type'))) return new GrpcHolding(gate, head, isWhole);
  // Its client takes it for a failure (PROTOCOL-HTTP2.md, Responses): it must not be judged a success here.
  return new PlainHolding(gate, httpStatusOfGrpc(undefined), head, isWhole);
}

class PlainHolding implements Holding {
  readonly headers: string[];
  readonly chunks: Buffer[] = [];
  readonly isWhole: boolean;
  readonly keepsBody: boolean;
  readonly mayStream: boolean = true;
  isEnded = false;
  failure: Error | undefined = undefined;
  private readonly status: number;
  private readonly keeps: number;
  private bytes = 0;

  constructor(gate: Gate, status: number, head: AnswerHead, isWhole: boolean) {
    this.headers = head.headers;
    this.status = status;
    this.isWhole = isWhole;
    this.isEnded = isWhole;
    this.keeps = gate.keeps ?? 0;
    this.keepsBody = !isWhole && gate.keeps !== undefined && head.length <= gate.keeps && !isEndless(head.headers);
  }

  keep(chunk: Buffer): 'more' | 'ask' {
    this.chunks.push(chunk);
    this.bytes += chunk.byteLength;
    return this.bytes <= this.keeps ? 'more' : 'ask';
  }

  end(): void {
    this.isEnded = true;
  }

  fail(error: Error): void {
    this.failure = error;
  }

  patienceMs(): number {
    return KEEP_MS;
  }

  answer(): Promise<HeldAnswer> {
    const { status, headers, keeps, bytes } = this;
    const isKept = this.isEnded && bytes <= keeps;
    return Promise.resolve({ status, headers, ...(isKept ? { body: Buffer.concat(this.chunks) } : {}) });
  }

  overflow(): CodedError {
    return tooMuch();
  }
}

class GrpcHolding implements Holding {
  readonly headers: string[];
  readonly chunks: Buffer[] = [];
  readonly isWhole: boolean;
  readonly keepsBody: boolean;
  readonly mayStream: boolean = false;
  isEnded = false;
  failure: Error | undefined = undefined;
  private readonly bytesMax: number;
  private readonly keeps: number | undefined;
  private trailers: string[] = [];
  private bytes = 0;

  constructor(gate: Gate, head: AnswerHead, isWhole: boolean) {
    this.headers = head.headers;
    this.isWhole = isWhole;
    this.keepsBody = !isWhole;
    this.isEnded = isWhole;
    this.keeps = gate.keeps;
    this.bytesMax = Math.max(GRPC_BYTES_MAX, gate.keeps ?? 0);
  }

  keep(chunk: Buffer): 'more' | 'refuse' {
    this.chunks.push(chunk);
    this.bytes += chunk.byteLength;
    return this.bytes <= this.bytesMax ? 'more' : 'refuse';
  }

  end(trailers: RawHead): void {
    this.isEnded = true;
    this.trailers = trailers.map(String);
  }

  fail(error: Error): void {
    this.failure = error;
  }

  patienceMs(timeoutMs: number): number {
    return timeoutMs;
  }

  /** The status that the outcome stands for; the trailers beside the headers; as body the one message, where there is one. */
  async answer(): Promise<HeldAnswer> {
    const headers = [...this.headers, ...this.trailers];
    const status = httpStatusOfGrpc(fieldOf(headers, 'grpc-status'));
    const body = await this.message();
    return { status, headers, ...(body === undefined ? {} : { body }) };
  }

  overflow(): CodedError {
    return tooMuch();
  }

  private async message(): Promise<Buffer | undefined> {
    const { keeps, bytes } = this;
    if (keeps === undefined || bytes > keeps) return undefined;
    if (bytes === 0) return Buffer.alloc(0);
    const message = await onlyMessageOf(Buffer.concat(this.chunks), fieldOf(this.headers, 'grpc-encoding'), keeps);
    return Buffer.isBuffer(message) ? message : undefined;
  }
}

function tooMuch(): CodedError {
  return new CodedError('BODY_TOO_LARGE', 'The answer is too long, or takes too long, to be held until it is decided', {
    hint: 'A gRPC method that begins a global transaction, or serves a branch, must be unary and answer within 4 MiB',
  });
}
