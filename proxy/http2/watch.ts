/** Finds connections that are dead or that nobody uses. TCP alone takes a quarter of an hour to notice a peer that has vanished. */
import type { Http2Session } from 'node:http2';
import type { Instant } from '../../src/contract/transaction.ts';
import { at, now } from '../../src/platform/clock.ts';

const CHECK_MS = 60_000;
const PING_TIMEOUT_MS = 20_000;

/**
 * Looks at `session` once a minute: after `idle` looks without a stream it is closed; with streams, it has to answer a ping at every
 * look that `ping` divides, or is destroyed, which resets them. The returned function ends the watch.
 */
export function watch(
  session: Http2Session,
  streams: () => number,
  looks: { readonly idle: number; readonly ping: number },
): () => void {
  let count = 0;
  let idle = 0;
  let cancelPing = (): void => undefined;
  let cancelCheck = (): void => undefined;
  const check = (): void => {
    const isUsed = streams() > 0;
    count += 1;
    idle = isUsed ? 0 : idle + 1;
    if (idle >= looks.idle) return session.close();
    if (isUsed && count % looks.ping === 0) {
      cancelPing = at((now() + PING_TIMEOUT_MS) as Instant, () => session.destroy(new Error('the peer is silent')));
      session.ping(cancelPing);
    }
    cancelCheck = at((now() + CHECK_MS) as Instant, check);
  };
  cancelCheck = at((now() + CHECK_MS) as Instant, check);
  return () => {
    cancelPing();
    cancelCheck();
  };
}
