/** One HTTP request over the global `fetch`: with a deadline, a largest answer, and one repetition over a connection just closed. */
import type { Instant } from '../contract/transaction.ts';
import { at, now } from '../platform/clock.ts';

export interface HttpRequest {
  readonly method: string;
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array<ArrayBuffer>;
  /** For the whole exchange, its repetition included. */
  readonly timeoutMs: number;
  readonly answerBytesMax: number;
  /** False: it is not safe to send it twice. Default true. */
  readonly mayRepeat?: boolean;
}

/** How the request ended. `late` and `lost` leave open whether it took effect. */
export type HttpEnd =
  | { readonly kind: 'answered'; readonly status: number; readonly contentType: string; readonly body: Buffer }
  | { readonly kind: 'late' }
  | { readonly kind: 'lost'; readonly error: Error };

/**
 * Sends `request` and waits for the whole answer; never rejects. When the other side closed the connection before it
 * answered, as happens to a kept-alive one, the request is sent once more. Redirects are not followed.
 */
export async function fetchAnswer(request: HttpRequest): Promise<HttpEnd> {
  const deadline = new AbortController();
  const cancel = at((now() + request.timeoutMs) as Instant, () => deadline.abort());
  try {
    const first = await once(request, deadline.signal);
    const isRepeated = first.kind === 'lost' && first.mayRepeat && request.mayRepeat !== false;
    return isRepeated ? await once(request, deadline.signal) : first;
  } finally {
    cancel();
  }
}

type Once = Exclude<HttpEnd, { readonly kind: 'lost' }> | { kind: 'lost'; error: Error; mayRepeat: boolean };

async function once({ method, url, headers, body, answerBytesMax }: HttpRequest, signal: AbortSignal): Promise<Once> {
  let response: Response | undefined;
  try {
    response = await fetch(url, {
      method,
      signal,
      redirect: 'manual',
      ...(headers === undefined ? {} : { headers }),
      ...(body === undefined ? {} : { body }),
    });
    const received = await read(response, answerBytesMax);
    const contentType = response.headers.get('content-type') ?? '';
    return { kind: 'answered', status: response.status, contentType, body: received };
  } catch (thrown) {
    if (signal.aborted) return { kind: 'late' };
    const error = rootOf(thrown);
    return { kind: 'lost', error, mayRepeat: response === undefined && isReset(error) };
  }
}

async function read(response: Response, bytesMax: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    // Leaving the loop cancels the stream, and with it the connection.
    if (bytes > bytesMax) throw new Error(`the answer is larger than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** `fetch` says "fetch failed" and puts what happened into `cause`. */
function rootOf(thrown: unknown): Error {
  if (!(thrown instanceof Error)) return new Error(String(thrown));
  return thrown.cause instanceof Error ? thrown.cause : thrown;
}

/** undici's UND_ERR_SOCKET is "other side closed"; the others are the kernel's words for the same. */
function isReset(error: Error): boolean {
  const code = 'code' in error ? error.code : undefined;
  return code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE';
}
