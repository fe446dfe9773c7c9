/** Sends the request of a workflow to the application once more, from the coordinator's word instead of a client's. */
import { Pool } from 'undici';
import type { StoredRequest } from './stored-request.ts';
import type { RecordedAnswer } from './step.ts';

export interface ApplicationOptions {
  /** `http://host:port` or `https://host:port` */
  readonly origin: string;
  /** In front of every path. */
  readonly basePath: string;
  /** How long the application may take to begin its answer, and between two pieces of it, in milliseconds. */
  readonly timeoutMs: number;
  /** Bodies of answers are kept up to this size. */
  readonly bodyBytesMax: number;
}

export interface Application {
  /** The application's answer with `headers` in place of the request's own. Rejects when there is none, or `signal` is aborted. */
  send(request: StoredRequest, headers: readonly string[], signal: AbortSignal): Promise<RecordedAnswer>;
  close(): Promise<void>;
}

/** What describes a connection or a message's framing, and is another one's here. */
const OWN_FRAMING =
  /^(?:connection|keep-alive|transfer-encoding|te|trailer|upgrade|expect|content-length|proxy-connection)$/i;

/** The application behind the sidecar, over connections of its own. */
export function openApplication({ origin, basePath, timeoutMs, bodyBytesMax }: ApplicationOptions): Application {
  const pool = new Pool(origin, { pipelining: 1, headersTimeout: timeoutMs, bodyTimeout: timeoutMs });
  return {
    async send({ method, path, body }, headers, signal) {
      const answer = await pool.request({
        method,
        path: basePath + path,
        headers: withoutFraming(headers),
        // A length of nothing means something for POST and the like only, where undici adds it by itself.
        ...(body.byteLength === 0 ? {} : { body }),
        responseHeaders: 'raw',
        signal,
      });
      const kept = await collected(answer.body, bodyBytesMax);
      const raw: unknown = answer.headers;
      return {
        status: answer.statusCode,
        headers: withoutFraming(Array.isArray(raw) ? raw.map(String) : []),
        ...(kept === undefined ? {} : { body: kept }),
      };
    },
    close: () => pool.destroy(),
  };
}

/** The whole body; undefined, after reading no more of it, when it is too long. */
async function collected(body: AsyncIterable<Buffer>, bytesMax: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > bytesMax) return undefined; // leaving the loop gives the connection up
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The headers without those that a message of our own has anyway. */
export function withoutFraming(headers: readonly string[]): string[] {
  const result: string[] = [];
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = headers[index] ?? '';
    if (!OWN_FRAMING.test(name)) result.push(name, headers[index + 1] ?? '');
  }
  return result;
}
