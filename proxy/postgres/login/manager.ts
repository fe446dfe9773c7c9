/** Sessions whose login the sidecar manages: the client logs in here, the sidecar logs in at the database for it. */
import type { Socket } from 'node:net';
import type { Instant } from '../../../src/contract/transaction.ts';
import { at, now } from '../../../src/platform/clock.ts';
import type { Log } from '../../../src/platform/log.ts';
import type { DatabaseOptions } from '../../options.ts';
import { errorFrame } from '../session/conversation.ts';
import { upstreamAddress } from '../upstream.ts';
import { encodeAuthentication } from '../wire/authentication.ts';
import { encodeError } from '../wire/error.ts';
import {
  encodeNegotiateProtocolVersion,
  encodeStartupPacket,
  isProtocolOption,
  negotiationFor,
  protocolFor,
  startupParameter,
  type StartupMessage,
} from '../wire/startup.ts';
import { createAccounts, type DatabaseLogin } from './accounts.ts';
import { askClient } from './ask-client.ts';
import { logInUpstream, type UpstreamLogin } from './upstream-login.ts';

/** A client that has proved who it is. */
export interface ManagedLogin {
  /** Logs in at the database. False: the client has been told why not. */
  goOn(upstream: Socket): Promise<boolean>;
  /** What the client hears once its session is there, ahead of the database's own words. */
  readonly welcome: Buffer;
}

export interface Manager {
  /** Asks a client who it is. `rest` is what it sent behind its start-up message. undefined: it was refused, or is gone. */
  logIn(client: Socket, message: StartupMessage, rest: Buffer): Promise<ManagedLogin | undefined>;
}

export interface ManagerParts {
  readonly database: DatabaseOptions;
  /** Hangs up with an error. */
  readonly turnAway: (client: Socket, error: Buffer) => void;
  readonly log: Log;
}

/** Class 28 of the SQLSTATEs: who logs in is not let in. */
const NOT_LET_IN = /^28/;
const OK = encodeAuthentication({ kind: 'authentication', method: 'ok' });

/** Prepares the accounts of `auth`, which takes some milliseconds for each password. */
export function createManager({ database, turnAway, log }: ManagerParts): Manager {
  const accountOf = createAccounts(database.auth);

  /** What a client hears of a login of the sidecar itself that went wrong: its own password is right, so nothing of class 28. */
  function explain(client: Socket, login: Exclude<UpstreamLogin, { readonly kind: 'in' }>): void {
    if (login.kind === 'refused' && !NOT_LET_IN.test(login.texts.code ?? '')) return turnAway(client, login.error);
    const reason = login.kind === 'refused' ? (login.texts.message ?? 'without a message') : login.reason;
    log.error({ database: database.name, reason }, 'the sidecar cannot log in at the database: see databases[].auth');
    const refusal = {
      code: '08004',
      message: 'the sidecar cannot log in at the database',
      hint: 'The log of the sidecar says why. Check databases[].auth of its configuration, and pg_hba.conf of the database.',
    };
    return turnAway(client, errorFrame(refusal, 'FATAL'));
  }

  return {
    async logIn(client, message, rest) {
      const user = startupParameter(message, 'user') ?? '';
      if (user === '') {
        turnAway(client, noUser);
        return undefined;
      }
      const negotiation = negotiationFor(message);
      if (negotiation !== undefined) client.write(encodeNegotiateProtocolVersion(negotiation));
      if (rest.length > 0) client.unshift(rest);
      const account = accountOf(user);
      const cancelTimer = at((now() + database.auth.timeout) as Instant, () => client.destroy());
      const asked = await askClient(client, user, account);
      cancelTimer();
      // It has ended its side, and may still hold the other open.
      if (asked.kind === 'gone') client.destroy();
      if (asked.kind === 'refused') {
        const { remoteAddress } = client;
        log.warn(
          { database: database.name, user, remoteAddress, reason: asked.reason },
          'a database client was refused',
        );
        turnAway(client, asked.error);
      }
      if (asked.kind !== 'proved' || account.kind === 'unknown') return undefined;
      return {
        welcome: Buffer.concat([asked.proof, OK]),
        async goOn(upstream) {
          const startup = startupFor(message, account.role, upstreamAddress(database.upstream).database);
          const login = await logInUpstream(upstream, startup, account.role);
          if (login.kind === 'in') return true;
          explain(client, login);
          return false;
        },
      };
    },
  };
}

/** PG source: ProcessStartupPacket. */
const noUser = encodeError({
  severity: 'FATAL',
  code: '28000',
  message: 'no PostgreSQL user name specified in startup packet',
});

/**
 * What the database is told: what the client said, with another user, and without protocol options, which the sidecar has declined. A
 * client that names no database gets that of the configuration: that of the server would be called like the role.
 */
function startupFor(message: StartupMessage, role: DatabaseLogin, database: string): Buffer {
  const kept = message.parameters.filter(
    ([name]) => !isProtocolOption(name) && !['user', 'database'].includes(name.toString()),
  );
  const asked = startupParameter(message, 'database') ?? '';
  return encodeStartupPacket({
    kind: 'startup',
    protocol: protocolFor(message),
    parameters: [
      [Buffer.from('user'), Buffer.from(role.user)],
      [Buffer.from('database'), Buffer.from(asked === '' ? database : asked)],
      ...kept,
    ],
  });
}
