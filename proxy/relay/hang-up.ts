/** Ends a client's connection so that the last bytes arrive and nobody can keep it open. */
import type { Socket } from 'node:net';
import type { Instant } from '../../src/contract/transaction.ts';
import { at, now } from '../../src/platform/clock.ts';

/** How long the client may take to read the last bytes and to close its side. */
const LINGER_MS = 1000;

/**
 * Sends `last` and the end of the stream, and closes the socket when the client has done the same, after a second at the latest.
 * What the client still sends is read and dropped: a socket that is closed with unread bytes is reset, and a reset can overtake
 * the error that the client should see.
 */
export function hangUp(client: Socket, last?: Buffer): void {
  if (client.destroyed) return;
  client.removeAllListeners('data');
  if (last !== undefined && !client.writableEnded) client.write(last);
  client.end();
  client.resume();
  client.once(
    'close',
    at((now() + LINGER_MS) as Instant, () => client.destroy()),
  );
}
