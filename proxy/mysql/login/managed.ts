/**
 * Logins that the sidecar manages: the client proves itself here, and then the sidecar logs in at the server as the account that the
 * configuration says. What the client sends as a proof never reaches the server.
 */
import type { Socket } from 'node:net';
import type { Instant } from '../../../src/contract/transaction.ts';
import { at, now } from '../../../src/platform/clock.ts';
import type { Log } from '../../../src/platform/log.ts';
import { secretBytes } from '../../../src/platform/random.ts';
import type { MysqlDatabaseOptions } from '../../options.ts';
import { serverBroken, type Refusal } from '../session/refusals.ts';
import { upstreamAddress } from '../upstream.ts';
import { CACHING_SHA2_METHOD, NATIVE_METHOD } from '../wire/authentication.ts';
import { CAPABILITY, has, type Capabilities } from '../wire/capabilities.ts';
import type { Handshake, HandshakeResponse } from '../wire/handshake.ts';
import { decodeError, OUTCOME } from '../wire/outcome.ts';
import { createAccounts, type Account, type Role } from './accounts.ts';
import { ClientLogin } from './client-login.ts';
import { LoginOver, type Leg } from './leg.ts';
import { accessDenied, notLetIn } from './refusals.ts';
import { ServerLogin, type Method, type ServerStep } from './server-login.ts';

/** Who asks to be let in. */
export interface Asker {
  readonly user: Buffer;
  readonly address: string;
}

export interface Manager {
  readonly accountOf: (user: Buffer) => Account;
  /** The database of a client that names none; empty: none. */
  readonly database: Buffer;
  /** What a client hears that has not proved itself. The log says more. */
  refused(asker: Asker, account: Account, hasAnswered: boolean): Refusal;
  /** What a client hears of an error that the server has answered the sidecar with; undefined: the error as it came. */
  rejected(error: Buffer): Refusal | undefined;
  /** The same of a login of the sidecar's that came to no end. `reason`: for the log, without a secret. */
  failed(reason: string): Refusal;
}

/** What a session keeps of a login that was managed. */
export interface ManagedSession {
  readonly manager: Manager;
  /** The challenge of the greeting. */
  readonly challenge: Buffer;
  /** The method of the greeting. */
  readonly usual: Method;
  /** Where the client comes from. */
  readonly address: string;
}

/** A client that has proved itself. */
export interface Proof {
  readonly role: Role;
  /** What it is to hear ahead of the OK, once the sidecar is in. */
  readonly welcome: Buffer | undefined;
}

/** What the sidecar needs to log in, whatever its client speaks: answers that may hold NUL, and to be asked for another method. */
export const NEEDED: Capabilities = CAPABILITY.secureConnection | CAPABILITY.pluginAuth;
/** How long the server may take to let the sidecar in. */
const LOGIN_MS_MAX = 10_000;
/** More than any honest login has. */
const REQUESTS_MAX = 16;
const SCRAMBLE_BYTES = 20;
const NOTHING: Buffer = Buffer.alloc(0);

/** Class 28 of the SQLSTATEs: who logs in is not let in. */
const NOT_LET_IN = /^28/;
/**
 * Errors of other classes that speak of the account which the sidecar has: ER_NOT_SUPPORTED_AUTH_MODE, ER_PLUGIN_IS_NOT_LOADED,
 * ER_MUST_CHANGE_PASSWORD_LOGIN, ER_ACCOUNT_HAS_BEEN_LOCKED of MySQL and of MariaDB, ER_SECURE_TRANSPORT_REQUIRED, and that of MySQL for too many
 * failed logins. Source: MySQL documentation, "Server Error Message Reference"; MariaDB documentation, "MariaDB Error Codes".
 */
const OF_THE_ACCOUNT: readonly number[] = [1251, 1524, 1862, 3118, 3159, 3955, 4151];

/** Prepares the accounts of `auth`. */
export function createManager({ database, log }: { database: MysqlDatabaseOptions; log: Log }): Manager {
  const { name } = database;
  const failed = (reason: string): Refusal => {
    log.warn({ database: name, reason }, 'the sidecar cannot log in at the database: see databases[].auth');
    return notLetIn;
  };
  return {
    accountOf: createAccounts(database.auth),
    database: Buffer.from(upstreamAddress(database.upstream).database),
    refused({ user, address }, { isKnown }, hasAnswered) {
      const reason = isKnown
        ? 'the password is not the one of databases[].auth.clients'
        : 'databases[].auth.clients has no such user';
      const shown = user.toString().slice(0, NAME_SHOWN_MAX);
      log.warn({ database: name, user: shown, remoteAddress: address, reason }, 'a database client was refused');
      return accessDenied(shown, address, hasAnswered);
    },
    rejected(payload) {
      const error = decodeError(payload, 0n);
      if (error.kind !== 'error') return failed('the server sent an error that cannot be read');
      const isOurs = NOT_LET_IN.test(error.sqlState?.toString() ?? '') || OF_THE_ACCOUNT.includes(error.errno);
      return isOurs ? failed(`${error.errno} ${error.message.toString()}`) : undefined;
    },
    failed,
  };
}

/** As much of a name as is shown: servers have at most 80 characters (MariaDB documentation, "Identifier Names"). */
const NAME_SHOWN_MAX = 80;

/** A challenge as servers make them: 20 bytes of 7 bits that are not NUL, and NUL. MySQL source: generate_user_salt. */
export function newChallenge(): Buffer {
  return Buffer.concat([secretBytes(SCRAMBLE_BYTES).map((byte) => byte & 0x7f || 1), Buffer.from([0])]);
}

/** The greeting of a sidecar that asks by itself: what the server can, its number for KILL, and a challenge of our own. */
export function ownGreeting(handshake: Handshake, challenge: Buffer): Handshake {
  if (!has(handshake.capabilities, NEEDED)) throw new LoginOver(serverBroken('it is of before MySQL 5.5'));
  return { ...handshake, challenge, challengeLength: challenge.length, plugin: Buffer.from(usualOf(handshake)) };
}

/**
 * The method that clients expect of such a server: MariaDB's is mysql_native_password. Connector/J takes the other one from no server with
 * MariaDB's version.
 */
export function usualOf({ plugin }: Handshake): Method {
  return plugin?.toString('latin1') === NATIVE_METHOD ? NATIVE_METHOD : CACHING_SHA2_METHOD;
}

/** Asks a client who it is that has answered the greeting. Throws `LoginOver` when it has not proved itself. */
export async function askClient(
  leg: Leg,
  response: HandshakeResponse,
  { manager, challenge, usual }: Pick<ManagedSession, 'manager' | 'challenge' | 'usual'>,
): Promise<Proof> {
  const { user, authResponse, plugin } = response;
  const account = manager.accountOf(user);
  const { password, role } = account;
  const login = new ServerLogin({ password, usual, challenge, nextChallenge: newChallenge() });
  const canBeAsked = has(response.capabilities, CAPABILITY.pluginAuth);
  const method = plugin?.toString('latin1') ?? '';
  let step: ServerStep = canBeAsked ? login.first(method, authResponse) : login.answered(authResponse);
  while (step.kind === 'ask') {
    leg.send(step.payload);
    step = login.answered(await leg.receive());
  }
  if (step.kind === 'proved') return { role, welcome: step.welcome };
  throw new LoginOver(manager.refused({ user, address: addressOf(leg.socket) }, account, step.hasAnswered));
}

/** Where a client comes from, as servers show it. */
export function addressOf({ remoteAddress }: Socket): string {
  return (remoteAddress ?? '').replace(/^::ffff:/, '');
}

/** The database of a session whose client has named one, or none. undefined: none is selected. */
export function selectedOf({ database }: HandshakeResponse, otherwise: Buffer): Buffer | undefined {
  if (database !== undefined && database.length > 0) return database;
  return otherwise.length > 0 ? otherwise : undefined;
}

/** What the server is told: what the client said of itself, with another user, and with the database that is to be selected. */
export function asRole(
  response: HandshakeResponse,
  { user }: Role,
  told: { readonly method: string; readonly answer: Buffer; readonly database: Buffer | undefined },
): HandshakeResponse {
  const { method, answer, database } = told;
  // A client that can change a password that has expired would change the one of the role.
  const kept = (response.capabilities | NEEDED) & ~(CAPABILITY.connectWithDb | CAPABILITY.expiredPasswords);
  return {
    ...response,
    capabilities: database === undefined ? kept : kept | CAPABILITY.connectWithDb,
    user: Buffer.from(user),
    authResponse: answer,
    database,
    plugin: Buffer.from(method),
    trailing: NOTHING,
  };
}

export interface OwnLoginParts {
  readonly manager: Manager;
  readonly role: Role;
  readonly handshake: Handshake;
  /** The connection to the server is to have TLS. */
  readonly isEncrypted: boolean;
  /** Says it to the server as the answer to its handshake. */
  readonly answer: (method: string, answer: Buffer) => Promise<void>;
}

/** Logs in at the server. Resolves with its OK. Throws `LoginOver` when the sidecar is not let in, after 10 s at the latest. */
export async function logInAsRole(leg: Leg, parts: OwnLoginParts): Promise<Buffer> {
  const { manager } = parts;
  let isLate = false;
  const cancelTimer = at((now() + LOGIN_MS_MAX) as Instant, () => {
    isLate = true;
    leg.socket.destroy();
  });
  try {
    return await converse(leg, parts);
  } catch (error) {
    if (!isLate) throw error;
    throw new LoginOver(manager.failed(`no answer within ${LOGIN_MS_MAX / 1000} s`));
  } finally {
    cancelTimer();
  }
}

async function converse(leg: Leg, { manager, role, handshake, isEncrypted, answer }: OwnLoginParts): Promise<Buffer> {
  const login = new ClientLogin({ password: role.password, isEncrypted });
  const first = login.first(handshake.plugin?.toString('latin1') ?? NATIVE_METHOD, handshake.challenge);
  await answer(first.method, first.answer);
  for (let count = 0; count < REQUESTS_MAX; count += 1) {
    const payload = await leg.receive();
    if (payload[0] === OUTCOME.ok) return payload;
    if (payload[0] === OUTCOME.error) throw new LoginOver(manager.rejected(payload) ?? payload);
    const step = login.receive(payload);
    if (step.kind === 'failed') throw new LoginOver(manager.failed(step.reason));
    if (step.kind === 'send') leg.send(step.payload);
  }
  throw new LoginOver(manager.failed('the server asks and asks'));
}
