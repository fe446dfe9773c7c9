/** The login of the sidecar at the database, for a session whose client has logged in at the sidecar. */
import { pbkdf2 } from 'node:crypto';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import type { Instant } from '../../../src/contract/transaction.ts';
import { at, now } from '../../../src/platform/clock.ts';
import { secretBytes } from '../../../src/platform/random.ts';
import { decodeAuthentication } from '../wire/authentication.ts';
import { decodeReport, readReport, type ReportTexts } from '../wire/error.ts';
import { BACKEND } from '../wire/frames.ts';
import { decodeNegotiateProtocolVersion, PROTOCOL } from '../wire/startup.ts';
import type { DatabaseLogin } from './accounts.ts';
import { ClientLogin, type ClientStep } from './client-login.ts';
import { endPointHash } from './end-point.ts';
import { nextFrame, type LoginFrame } from './frame-source.ts';
import { preparedPassword } from './saslprep.ts';
import { KEY_BYTES, NONCE_BYTES } from './scram.ts';

export type UpstreamLogin =
  /** The server has let the sidecar in; what it says next is for the client. */
  | { readonly kind: 'in' }
  /** The server has refused. `error` is its message as it came. */
  | { readonly kind: 'refused'; readonly error: Buffer; readonly texts: ReportTexts }
  /** It came to no end. Without a secret. */
  | { readonly kind: 'failed'; readonly reason: string };

/** How long the server may take to let the sidecar in. */
const LOGIN_MS_MAX = 10_000;
/** More than any honest login has: requests, notices, the version. */
const FRAMES_MAX = 32;
/** libpq (fe-connect.c): the largest error of a login. */
const FRAME_BYTES_MAX = 30_000;

const salted = promisify(pbkdf2);

/** Sends the start-up packet and answers the server until it lets the sidecar in. Reads nothing behind that. Takes `withinMs` at most. */
export async function logInUpstream(
  upstream: Socket,
  startup: Buffer,
  role: DatabaseLogin,
  withinMs: number = LOGIN_MS_MAX,
): Promise<UpstreamLogin> {
  let isLate = false;
  const cancelTimer = at((now() + withinMs) as Instant, () => {
    isLate = true;
    upstream.destroy();
  });
  try {
    upstream.write(startup);
    const login = await converse(upstream, role);
    return isLate ? failed(`no answer within ${withinMs / 1000} s`) : login;
  } finally {
    cancelTimer();
  }
}

async function converse(upstream: Socket, role: DatabaseLogin): Promise<UpstreamLogin> {
  const password = role.password?.reveal();
  const login = new ClientLogin({
    user: role.user,
    password,
    isEncrypted: upstream instanceof TLSSocket,
    binding: upstream instanceof TLSSocket ? endPointHash(upstream.getPeerX509Certificate()) : undefined,
    nonce: secretBytes(NONCE_BYTES).toString('base64'),
  });
  for (let count = 0; count < FRAMES_MAX; count += 1) {
    const frame = await nextFrame(upstream, FRAME_BYTES_MAX);
    if (frame.kind === 'closed') return failed('the server closed the connection');
    if (frame.kind === 'broken') return failed('the server sent what is not its protocol');
    const other = beside(frame);
    if (other === 'passed') continue;
    if (other !== undefined) return other;
    const request = decodeAuthentication(frame.body);
    if (request.kind === 'fault') return failed(request.message);
    let step = login.receive(request);
    if (step.kind === 'derive') step = login.derived(await derived(password ?? '', step));
    if (step.kind === 'failed') return step;
    if (step.kind === 'done') return { kind: 'in' };
    if (step.kind === 'send') upstream.write(step.bytes);
  }
  return failed('the server asks and asks');
}

/** What may come beside authentication requests; undefined: it is one. */
function beside(frame: LoginFrame & { readonly kind: 'frame' }): UpstreamLogin | 'passed' | undefined {
  switch (frame.type) {
    case BACKEND.authentication:
      return undefined;
    case BACKEND.notice:
      return 'passed';
    case BACKEND.error: {
      const report = decodeReport('error', frame.body);
      return report.kind === 'fault'
        ? failed(report.message)
        : { kind: 'refused', error: frame.bytes, texts: readReport(report) };
    }
    case BACKEND.negotiateProtocolVersion: {
      // An older minor version is fine: the client has been answered by the sidecar, and older ones have shorter cancel keys only.
      const offer = decodeNegotiateProtocolVersion(frame.body);
      if (offer.kind === 'fault') return failed(offer.message);
      return offer.newest >> 16 === PROTOCOL.major ? 'passed' : failed('the server speaks another protocol than 3');
    }
    default:
      return failed('the server sent what does not belong to a login');
  }
}

function derived(password: string, step: ClientStep & { readonly kind: 'derive' }): Promise<Buffer> {
  return salted(preparedPassword(password), step.salt, step.iterations, KEY_BYTES, 'sha256');
}

function failed(reason: string): UpstreamLogin {
  return { kind: 'failed', reason };
}
