/** One HTTP request on one connection, as the examples make them: nothing is kept that a killed server could break later. */
import { request } from 'node:http';

export interface Answer {
  readonly status: number;
  /** The parsed JSON body; the text itself when it is no JSON. */
  readonly body: unknown;
}

export interface CallOptions {
  /** Sent as JSON. */
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
  /** How long the whole exchange may take, in milliseconds. Default 5,000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

const ANSWER_BYTES_MAX = 8 * 1024 * 1024;

/** Resolves with whatever the server answers; rejects when no whole answer came in time. */
export function call(method: string, url: string, options: CallOptions = {}): Promise<Answer> {
  const text = options.body === undefined ? '' : JSON.stringify(options.body);
  const deadline = AbortSignal.timeout(options.timeoutMs ?? 5000);
  return new Promise((resolve, reject) => {
    const outgoing = request(url, {
      method,
      agent: false,
      signal: options.signal === undefined ? deadline : AbortSignal.any([options.signal, deadline]),
      headers: {
        ...options.headers,
        ...(text === '' ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
      },
    });
    outgoing.once('error', reject);
    outgoing.once('response', (incoming) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      incoming.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes > ANSWER_BYTES_MAX) incoming.destroy(new Error(`${url} answers more than ${ANSWER_BYTES_MAX} bytes`));
      });
      incoming.once('error', reject);
      incoming.once('end', () => {
        resolve({ status: incoming.statusCode ?? 0, body: parsed(Buffer.concat(chunks).toString()) });
      });
    });
    outgoing.end(text);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
