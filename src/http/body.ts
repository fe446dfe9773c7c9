/** Reads the body of a request, up to a limit. */
import type { IncomingMessage } from 'node:http';

/** The body's text; or why there is none: `too large`, or `gone` because the client went away. */
export type Body =
  | { readonly kind: 'read'; readonly text: string }
  | { readonly kind: 'too large' }
  | { readonly kind: 'gone' };

/**
 * Reads at most `bytesMax`. `onWanted` is called before the first byte is waited for (to answer `Expect: 100-continue`),
 * and not at all when the length that the client states is too large already. How long it takes is bounded by the
 * server's request timeout. After `too large` the rest of the body is still to be drained.
 */
export function readBody(request: IncomingMessage, bytesMax: number, onWanted: () => void): Promise<Body> {
  const stated = request.headers['content-length'];
  if (stated !== undefined && Number(stated) > bytesMax) return Promise.resolve({ kind: 'too large' });
  if (stated === '0') return Promise.resolve({ kind: 'read', text: '' });
  onWanted();
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > bytesMax) {
        chunks.length = 0;
        resolve({ kind: 'too large' });
      } else {
        chunks.push(chunk);
      }
    });
    request.on('end', () => {
      const [first] = chunks;
      resolve({
        kind: 'read',
        text: (first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks)).toString(),
      });
    });
    request.on('close', () => resolve({ kind: 'gone' }));
  });
}
