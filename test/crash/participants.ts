/** The branches of the transactions that are cut down: they remember what was asked of them, and may change their mind after a crash. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Participants extends AsyncDisposable {
  readonly url: string;
  /** What was asked for `gid` so far: `confirm 01`. The same again counts once. */
  asked(gid: string): ReadonlySet<string>;
  /** From now on the step of `gid` that was refused succeeds. */
  relent(gid: string): void;
}

/** Starts to answer: 200, and 409 for actions at `/refuse`. */
export async function startParticipants(): Promise<Participants> {
  const asked = new Map<string, Set<string>>();
  const relenting = new Set<string>();
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://participant');
    // DTM's protocol has them in the query, the native one in headers.
    const word = (query: string, header: string): string =>
      searchParams.get(query) ?? String(request.headers[header] ?? '');
    const gid = word('gid', 'atomesh-gid');
    const operation = word('op', 'atomesh-op');
    const known = asked.get(gid) ?? new Set();
    asked.set(gid, known.add(`${operation} ${word('branch_id', 'atomesh-branch')}`));
    request.resume();
    const isRefused = pathname === '/refuse' && operation === 'action' && !relenting.has(gid);
    response.writeHead(isRefused ? 409 : 200).end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: (gid) => asked.get(gid) ?? new Set(),
    relent: (gid) => void relenting.add(gid),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
