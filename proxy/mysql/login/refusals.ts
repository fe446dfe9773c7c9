/** Why a login does not come about where the sidecar, and not the server, has to say so. */
import type { Refusal } from '../session/refusals.ts';

/** ER_CONNECT_TO_FOREIGN_DATA_SOURCE. */
export const serverGone: Refusal = {
  errno: 1429,
  code: '08001',
  message: 'the database has closed the connection during the login',
  hint: 'Look into its log; it may be starting, or have no connection left.',
};

/** ER_ACCESS_DENIED_ERROR, as servers say it. */
export function accessDenied(user: string, address: string, hasAnswered: boolean): Refusal {
  const message = `Access denied for user '${user}'@'${address}' (using password: ${hasAnswered ? 'YES' : 'NO'})`;
  return { errno: 1045, code: '28000', message, hint: '', isAsServers: true };
}

/**
 * ER_CONNECT_TO_FOREIGN_DATA_SOURCE: the client's own password is right, so that it must not hear 1045. A pool that does throws a good
 * password away.
 */
export const notLetIn: Refusal = {
  errno: 1429,
  code: '08004',
  message: 'the sidecar cannot log in at the database',
  hint: 'The log of the sidecar says why. Check databases[].auth of its configuration, and the accounts of the database.',
};

/** ER_SECURE_TRANSPORT_REQUIRED. */
export const onlyTls: Refusal = {
  errno: 3159,
  code: 'HY000',
  message: 'this listener takes TLS connections only',
  hint: 'Connect with TLS (ssl-mode=REQUIRED or better), or set databases[].listenTls.mode to allow.',
};

/** ER_HANDSHAKE_ERROR. */
export const noTlsHere: Refusal = {
  errno: 1043,
  code: '08S01',
  message: 'this listener does not take TLS connections',
  hint: 'Connect without TLS where the sidecar stands on the same host, or give the listener a certificate (databases[].listenTls).',
};

/** ER_HANDSHAKE_ERROR. */
export const encryptedAlready: Refusal = {
  errno: 1043,
  code: '08S01',
  message: 'the connection is encrypted already',
  hint: 'Ask for TLS once, at the beginning of the connection.',
};

/** ER_NET_UNCOMPRESS_ERROR: the client would compress what nobody could read. */
export const noCompression: Refusal = {
  errno: 1157,
  code: '08S01',
  message: 'the client insists on compression, which was not offered to it',
  hint: 'Leave compression off in the client: between it and the sidecar beside it there is nothing to save.',
};

/** The method sends the password itself, once it is sure that nobody listens: which TLS on one side alone does not say. */
export function wantsPassword(method: string): Refusal {
  return {
    errno: 1045,
    code: '28000',
    message: `${method} sends the password itself, over TLS on the client's side and in plain text on the server's`,
    hint: 'Protect the way to the server as well (databases[].tls), or use another authentication plugin for this user.',
  };
}

/** The method's messages are others with TLS than without. */
export function needsEqualSides(method: string): Refusal {
  return {
    errno: 1045,
    code: '28000',
    message: `${method} cannot log in with TLS on one side of the sidecar only`,
    hint: 'Use TLS on both sides or on neither (databases[].tls, databases[].listenTls), or caching_sha2_password for this user.',
  };
}

/** The password came encrypted for somebody else. */
export const foreignKey: Refusal = {
  errno: 1045,
  code: '28000',
  message: 'the password was not encrypted with the public key of the sidecar',
  hint: 'Leave the server-public-key file of the client out, so that it asks for the key; or use TLS on both sides or on neither.',
};
