/** How the sidecar leaves a server that has greeted, because its client has not proved itself. */
import type { Instant } from '../../../src/contract/transaction.ts';
import { at, now } from '../../../src/platform/clock.ts';
import { NATIVE_METHOD } from '../wire/authentication.ts';
import { CAPABILITY } from '../wire/capabilities.ts';
import { encodeClientHello, type Handshake, type HandshakeResponse } from '../wire/handshake.ts';
import { OUTCOME } from '../wire/outcome.ts';
import { ClientLogin } from './client-login.ts';
import { LoginOver, type Leg } from './leg.ts';

/** The name that it gives: nobody's, and one that the server's log is understood by. */
const NOBODY = Buffer.from('atomesh_refused');
/** How long the server may take to refuse it. */
const LEAVE_MS_MAX = 1_000;
/** No login has more requests. */
const REQUESTS_MAX = 16;
const RESERVED_BYTES = 23;
const NOTHING: Buffer = Buffer.alloc(0);

/**
 * Says the login of nobody, which the server refuses. Connections that are cut in the middle of a login are counted, and behind so many the
 * server takes none of the sidecar's host any more: wrong passwords must not bring that about. Nothing of what the client has sent is in it.
 * Source: MySQL documentation, "max_connect_errors". Takes a second at most; whoever calls closes the connection.
 */
export async function takeLeave(leg: Leg, { challenge, plugin }: Handshake): Promise<void> {
  const cancelTimer = at((now() + LEAVE_MS_MAX) as Instant, () => leg.socket.destroy());
  const login = new ClientLogin({ password: NOTHING, isEncrypted: false });
  const { method, answer } = login.first(plugin?.toString('latin1') ?? NATIVE_METHOD, challenge);
  try {
    leg.send(encodeClientHello({ ...NO_CLIENT, authResponse: answer, plugin: Buffer.from(method) }));
    for (let count = 0; count < REQUESTS_MAX; count += 1) {
      const payload = await leg.receive();
      if (payload[0] === OUTCOME.ok || payload[0] === OUTCOME.error) return;
      const step = login.receive(payload);
      if (step.kind === 'failed') return;
      if (step.kind === 'send') leg.send(step.payload);
    }
  } catch (error) {
    if (!(error instanceof LoginOver)) throw error;
  } finally {
    cancelTimer();
  }
}

const NO_CLIENT: Omit<HandshakeResponse, 'authResponse' | 'plugin'> = {
  kind: 'handshake-response',
  capabilities: CAPABILITY.longPassword | CAPABILITY.protocol41 | CAPABILITY.secureConnection | CAPABILITY.pluginAuth,
  maxPacketBytes: 1 << 24,
  charset: 45,
  reserved: Buffer.alloc(RESERVED_BYTES),
  user: NOBODY,
  database: undefined,
  attributes: undefined,
  zstdLevel: undefined,
  trailing: NOTHING,
};
