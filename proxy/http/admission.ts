/**
 * What a listener does with a request, decided by its head alone, whatever version of HTTP it came by. HTTP/1 and HTTP/2 share the
 * decisions and the gates; how bytes are carried is their own.
 */
import { CodedError } from '../../src/contract/errors.ts';
import type { OperationOf } from '../branch/barrier.ts';
import type { RetryRule } from '../routes/route.ts';

/** The head of a request. */
export interface RequestHead {
  readonly method: string;
  /** As it came: origin-form, absolute-form, or `*`; of HTTP/2 the `:path`. */
  readonly target: string;
  /**
   * End-to-end headers (RFC 9110 §7.6.1), flat: name, value, name, value, …; of HTTP/2 without pseudo-headers. Host is among them
   * only where the next hop is to get the caller's.
   */
  readonly headers: string[];
  /** The authority of the tunnel (CONNECT) or of the connection (`:authority`) that the request came through, where that names its destination. */
  readonly authority?: string | undefined;
  /**
   * The whole body, kept so that it can still be sent on: asked for by routes that need it. A `CodedError` (LENGTH_REQUIRED,
   * BODY_TOO_LARGE) when its length is not known or above the limit: then nothing has been read. BAD_REQUEST when the client left
   * before it was whole. Asked again, it gives the same.
   */
  body(bytesMax: number): Promise<Buffer | CodedError>;
}

/** A request that is to be sent on. */
export interface Passage {
  /** `http://host:port` of where it goes, as `URL.origin` has it. */
  readonly origin: string;
  readonly path: string;
  readonly headers: string[];
  /** Stands between the answer and the client. */
  readonly gate?: Gate;
  /** Called once when the exchange is over, however it ends. */
  readonly ended?: () => void;
  /**
   * The other side is not interrupted when the client leaves once it has the whole request: its answer is waited for as ever, and goes
   * past the gate, which is not told of the leaving.
   */
  readonly outlivesClient?: boolean;
  /** How long the other side may take to begin its answer, in milliseconds and per try, where a route says so. */
  readonly timeoutMs?: number;
  /** Whoever sets it vouches that a repetition does no harm; see `proxy/http/retry.ts`. */
  readonly retry?: RetryRule;
}

/** An answer that is given without asking the other side. */
export interface OwnAnswer {
  readonly status: number;
  /** Flat. What they say of the length of the body is replaced by its true length. */
  readonly headers: readonly string[];
  readonly body: Buffer;
  /** An answer to HEAD: the length is that of a body which is not there (RFC 9110 §9.3.2), and stays what the headers say. */
  readonly isOfHead?: boolean;
}

/** An answer as a gate gets to see it. */
export interface HeldAnswer {
  readonly status: number;
  /** End-to-end headers, flat. */
  readonly headers: readonly string[];
  /** The whole body, when the gate keeps bodies and this one was not too long for it. */
  readonly body?: Buffer;
}

/** What to do with an answer that was held back. */
export type Verdict =
  | { readonly kind: 'pass'; readonly headers: readonly string[] }
  | { readonly kind: 'replace'; readonly error: CodedError; readonly headers: readonly string[] }
  | { readonly kind: 'answer'; readonly answer: OwnAnswer };

/** An error in place of an answer, or of another error. */
export type Replacement = Extract<Verdict, { readonly kind: 'replace' }>;

/** Stands between an answer and the client: nothing of the answer goes out before the verdict. `answered` or `failed` is called once at most. */
export interface Gate {
  /** Up to so many bytes of a body are kept for `answered`; a longer one, or one that does not end in time, is streamed as without it. */
  readonly keeps?: number;
  /** The other side answers. Never rejects. */
  answered(answer: HeldAnswer): Promise<Verdict>;
  /** It did not answer, or broke off inside a body that was to be kept. Resolves with headers for the error that the client gets, or with another error. Never rejects. */
  failed(error: CodedError): Promise<readonly string[] | Replacement>;
  /**
   * Called whenever the request goes out: `interrupt` ends the wait for its answer, and `failed` hears the error. It does nothing once the
   * answer is whole.
   */
  interruptible?(interrupt: (error: CodedError) => void): void;
  /** The client left before it had the whole answer, of a passage that does not outlive it, perhaps after `answered` or `failed` was called. */
  clientLeft(): void;
}

/** What becomes of a request. */
export type Admission =
  | { readonly kind: 'pass'; readonly passage: Passage }
  | { readonly kind: 'answer'; readonly answer: OwnAnswer }
  | { readonly kind: 'refuse'; readonly error: CodedError };

/** Decides at once where no route and no gid is involved: such a request awaits nothing. Never rejects. */
export type Admit = (head: RequestHead) => Admission | Promise<Admission>;

/** Hands on what was decided, at once when that is known at once. A decision that rejects, against its word, is a refusal. */
export function whenAdmitted(admission: Admission | Promise<Admission>, settle: (admission: Admission) => void): void {
  if (!(admission instanceof Promise)) return settle(admission);
  void admission.then(settle, (cause: unknown) => {
    const error = new CodedError('INTERNAL', 'The request could not be served', { retry: 'ask', cause });
    settle({ kind: 'refuse', error });
  });
}

/** What stands at the end of a request that is sent on. */
export interface Ending {
  readonly gate?: Gate;
  readonly ended?: () => void;
}

/** Serves branch operations that callers ask for. */
export interface OperationDesk {
  /**
   * Answers the operation, or has the application called: `pass` makes the passage to it, with the mark of the operation in all
   * carriers and the trace bound to it, for as long as the exchange runs. Where `pass` refuses, because there is no room for another
   * trace, it has told the gate (`clientLeft`) and called `ended`. Never rejects.
   */
  admit(operation: OperationOf, pass: (ending: Ending) => Admission): Promise<Admission>;
}
