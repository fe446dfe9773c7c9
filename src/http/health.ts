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
    const fault = await storeFault(store);
    return fault === undefined ? OK : errorReply(storeFailed(fault));
  }
}

const SHUTTING_DOWN = new CodedError('SHUTTING_DOWN', 'the coordinator is stopping', {
  retry: 'safe',
  hint: 'Send requests to another coordinator, or try again once this one has been started again.',
});

function storeFailed(fault: string): CodedError {
  return new CodedError('STORE_FAILED', fault, {
    retry: 'safe',
    hint: 'Check that the file of the coordinator\'s option "store" can be written and its disk has space; the coordinator\'s log has the details.',
  });
}

async function storeFault(store: Store): Promise<string | undefined> {
  const late = Promise.withResolvers<string>();
  const cancel = at((now() + STORE_ANSWERS_MS) as Instant, () =>
    late.resolve(`the store has not answered for ${STORE_ANSWERS_MS} ms`),
  );
  try {
    return await Promise.race([store.read(PROBE).then(() => undefined), late.promise]);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    cancel();
  }
}
