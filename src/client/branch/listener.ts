/** Branch operations as a listener of `node:http`, which is also a handler of Express and its kin. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { CodedError } from '../../contract/errors.ts';
import type { Instant } from '../../contract/transaction.ts';
import { at, now } from '../../platform/clock.ts';
import { type BranchReply, type BranchRequest, replying } from './serve.ts';

export interface ListenerOptions {
  /** The largest request body. Default 1 MiB. */
  readonly bodyBytesMax?: number;
  /** How long the body may take to arrive. Default 10,000. */
  readonly bodyMs?: number;
}

const BODY_BYTES_MAX = 1024 * 1024;
const BODY_MS = 10_000;

/**
 * A listener that answers each request with what `serve` makes of it, such as
 * `createServer(branchListener((request) => serveBranch(request, transfer)))`. A body that the framework has read already
 * (`request.body`) is taken as it is. Never rejects.
 */
export function branchListener(
  serve: (request: BranchRequest) => Promise<BranchReply>,
  { bodyBytesMax = BODY_BYTES_MAX, bodyMs = BODY_MS }: ListenerOptions = {},
): (request: IncomingMessage & { readonly body?: unknown }, response: ServerResponse) => Promise<void> {
  return async (request, response) => {
    const answer = await readAndServe(request, serve, bodyBytesMax, bodyMs);
    // Nobody is left to hear it; the coordinator asks again.
    if (response.destroyed) return;
    response.writeHead(answer.status, answer.headers).end(answer.body);
  };
}

async function readAndServe(
  request: IncomingMessage & { readonly body?: unknown },
  serve: (request: BranchRequest) => Promise<BranchReply>,
  bytesMax: number,
  bodyMs: number,
): Promise<BranchReply> {
  const { headers, url: query = '' } = request;
  if (request.body !== undefined) return serve({ query, headers, body: request.body });
  const cancel = at((now() + bodyMs) as Instant, () => request.destroy(new Error(`no whole body within ${bodyMs} ms`)));
  let body: Buffer;
  try {
    body = await read(request, bytesMax);
  } catch (error) {
    return replying(() => Promise.reject(error), {});
  } finally {
    cancel();
  }
  return serve({ query, headers, body });
}

async function read(request: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // A request that is too large is still answered, so its connection stays.
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    const buffer = chunk as Buffer;
    bytes += buffer.length;
    if (bytes > bytesMax) {
      throw new CodedError('BODY_TOO_LARGE', `the request is larger than ${bytesMax} bytes`, {
        hint: 'Send less, or raise bodyBytesMax.',
      });
    }
    chunks.push(buffer);
  }
  return Buffer.concat(chunks);
}
