/** The login of a client at the sidecar: SCRAM-SHA-256, with channel binding where the listener has TLS. */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { secretBytes } from '../../../src/platform/random.ts';
import { decodeSaslInitialResponse, encodeAuthentication, type SaslInitialResponse } from '../wire/authentication.ts';
import type { ProtocolFault } from '../wire/body.ts';
import { encodeError } from '../wire/error.ts';
import { FRONTEND } from '../wire/frames.ts';
import type { Account } from './accounts.ts';
import { endPointHash } from './end-point.ts';
import { nextFrame } from './frame-source.ts';
import { NONCE_BYTES } from './scram.ts';
import { mechanismsFor, ServerLogin, type LoginRefusal, type ServerStep } from './server-login.ts';

export type AskedClient =
  /** `proof` is the last message of the exchange, which is yet to be sent: the client believes it is in once it has it. */
  | { readonly kind: 'proved'; readonly proof: Buffer }
  /** `error` is what the client is to hear; `reason` is for the log, and holds no secret. */
  | { readonly kind: 'refused'; readonly error: Buffer; readonly reason: string }
  | { readonly kind: 'gone' };

/** PG source: PG_MAX_SASL_MESSAGE_LENGTH, and the name of the mechanism with its length. */
const RESPONSE_BYTES_MAX = 1024 + 64;
/** An honest exchange has two turns, or three when the client does not begin it. */
const TURNS_MAX = 4;
const KIND = { kind: 'authentication' } as const;

/** Asks who the client is. The socket is left unread behind its last answer. Whoever calls has a deadline, and destroys the socket then. */
export async function askClient(client: Socket, user: string, account: Account): Promise<AskedClient> {
  const binding = client instanceof TLSSocket ? endPointHash(client.getX509Certificate()) : undefined;
  const login = new ServerLogin({
    verifier: account.verifier,
    isMock: account.kind === 'unknown',
    nonce: secretBytes(NONCE_BYTES).toString('base64'),
    binding,
  });
  let request = encodeAuthentication({ ...KIND, method: 'sasl', mechanisms: mechanismsFor(binding) });
  for (let turn = 0; turn < TURNS_MAX; turn += 1) {
    client.write(request);
    const frame = await nextFrame(client, RESPONSE_BYTES_MAX);
    if (frame.kind === 'closed') return { kind: 'gone' };
    if (frame.kind === 'broken' || frame.type !== FRONTEND.authenticationResponse)
      return broken('expected SASL response');
    const step = answer(login, turn, frame.body);
    switch (step.kind) {
      case 'fault':
        return broken(step.message);
      case 'refused':
        return refused(user, account, step.why);
      case 'verified':
        return { kind: 'proved', proof: encodeAuthentication({ ...KIND, method: 'sasl-final', data: step.data }) };
      case 'continue':
        request = encodeAuthentication({ ...KIND, method: 'sasl-continue', data: step.data });
    }
  }
  return broken('too many SASL responses');
}

function answer(login: ServerLogin, turn: number, body: Buffer): ServerStep | ProtocolFault {
  if (turn > 0) return login.receive(body);
  const first: SaslInitialResponse | ProtocolFault = decodeSaslInitialResponse(body);
  return first.kind === 'fault' ? first : login.begin(first.mechanism, first.data);
}

/** The error of the server itself. PG source: auth_failed. */
function refused(user: string, account: Account, why: LoginRefusal): AskedClient {
  if (why.kind === 'wrong-password') {
    const message = `password authentication failed for user "${user}"`;
    const reason =
      account.kind === 'unknown'
        ? 'databases[].auth.clients has no such user'
        : 'the password is not the one of databases[].auth.clients';
    return { kind: 'refused', error: encodeError({ severity: 'FATAL', code: '28P01', message }), reason };
  }
  const { kind: _, ...texts } = why;
  return { kind: 'refused', error: encodeError({ severity: 'FATAL', ...texts }), reason: why.message };
}

function broken(message: string): AskedClient {
  return {
    kind: 'refused',
    error: encodeError({ severity: 'FATAL', code: '08P01', message }),
    reason: message,
  };
}
