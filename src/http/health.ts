/** The probes: is the process alive, and should it get traffic. Both are answered without a token. */
import { CodedError } from '../contract/errors.ts';
import type { Gid, Instant } from '../contract/transaction.ts';
import { at, now } from '../platform/clock.ts';
import type { Store } from '../runner/ports.ts';
import type { Reply, Route } from './routes.ts';
import { errorReply } from './v1.ts';

/** A store that has not answered by then is not ready. */
const STORE_ANSWERS_MS = 2000;
const PROBE = 'readyz' as Gid;
const OK: Reply = { status: 200, text: 'ok\n', contentType: 'text/plain' };

/** `/livez` (the event loop turns) and `/readyz` (`store` answers, and `isDraining` is false). */
export function healthRoutes(store: Store, isDraining: () => boolean): readonly Route[] {
  return [
    { method: 'GET', path: '/livez', isOpen: true, handle: () => OK },
    { method: 'GET', path: '/readyz', isOpen: true, handle: readyz },
  ];

  async function readyz(): Promise<Reply> {
    if (isDraining()) return errorReply(SHUTTING_DOWN);
    return (await answers(store)) ? OK : errorReply(STORE_FAILED);
  }
}

const SHUTTING_DOWN = new CodedError('SHUTTING_DOWN', 'the coordinator is stopping', {
  retry: 'safe',
  hint: 'Send requests to another coordinator, or try again once this one has been started again.',
});

/** Anybody may ask, so what the store itself said is for the log: it may name hosts and users. */
const STORE_FAILED = new CodedError(
  'STORE_FAILED',
  `the store does not answer within ${STORE_ANSWERS_MS} ms, or fails`,
  {
    retry: 'safe',
    hint: 'Check that what the coordinator\'s option "store" names can be reached and has space; the coordinator\'s log has the details.',
  },
);

async function answers(store: Store): Promise<boolean> {
  const late = Promise.withResolvers<false>();
  const cancel = at((now() + STORE_ANSWERS_MS) as Instant, () => late.resolve(false));
  try {
    return await Promise.race([store.read(PROBE).then(() => true), late.promise]);
  } catch {
    return false;
  } finally {
    cancel();
  }
}
