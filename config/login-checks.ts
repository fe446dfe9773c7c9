/** What has to hold between the options of one database that say how clients and the sidecar log in, and with which TLS. */
import type { AnyDatabaseOptions } from '../proxy/options.ts';
import type { Finding, Path } from './fault.ts';

/** What cannot work. */
export function loginFaults(database: AnyDatabaseOptions, path: Path): readonly Finding[] {
  return [...tlsFaults(database, path), ...authFaults(database, [...path, 'auth'])];
}

/** What works, and not as somebody may think. */
export function loginWarnings(database: AnyDatabaseOptions, path: Path): readonly Finding[] {
  const { engine, auth, listen, listenTls, tls } = database;
  const warnings: Finding[] = [];
  const passesScram = engine !== 'mysql' && auth.mode === 'passthrough';
  if (passesScram && listenTls !== undefined && tls.mode !== 'disable') {
    warnings.push({
      path: [...path, 'listenTls'],
      message: 'with TLS on both sides SCRAM passes through only for clients that leave channel binding off',
      expected: 'channel_binding=disable in clients that use libpq, or auth.mode: managed',
    });
  }
  if (auth.mode === 'managed' && listenTls === undefined && !isLoopback(listen.host)) {
    warnings.push({
      path: [...path, 'listen'],
      message: 'whoever reaches this listener may read what clients and the database say',
      expected: 'listenTls, or an address of this host such as 127.0.0.1',
    });
  }
  return warnings;
}

/** What cannot work of TLS, on either side. */
function tlsFaults({ tls, listenTls }: AnyDatabaseOptions, path: Path): readonly Finding[] {
  const faults: Finding[] = [];
  if ((tls.certificate === undefined) !== (tls.key === undefined)) {
    const missing = tls.key === undefined ? 'key' : 'certificate';
    faults.push({
      path: [...path, 'tls'],
      message: 'a certificate and its key go together',
      expected: `also ${missing}`,
    });
  }
  const isDirect = 'negotiation' in tls && tls.negotiation === 'direct';
  if (tls.mode === 'disable' && (isDirect || tls.certificate !== undefined)) {
    const name = tls.certificate === undefined ? 'negotiation' : 'certificate';
    faults.push({
      path: [...path, 'tls', name],
      message: 'the connection to the server has no TLS',
      expected: 'tls.mode require or verify-full',
    });
  }
  if (listenTls?.mode === 'allow' && listenTls.clientCa !== undefined) {
    faults.push({
      path: [...path, 'listenTls', 'clientCa'],
      message: 'a client that connects without TLS shows no certificate',
      expected: 'listenTls.mode require',
    });
  }
  return faults;
}

function authFaults({ auth }: AnyDatabaseOptions, path: Path): readonly Finding[] {
  if (auth.mode === 'passthrough') {
    if (auth.clients.length === 0 && auth.role === undefined) return [];
    const name = auth.clients.length === 0 ? 'role' : 'clients';
    return [{ path: [...path, name], message: 'clients log in at the database', expected: 'auth.mode managed' }];
  }
  if (auth.clients.length === 0) {
    return [{ path, message: 'nobody may log in', expected: 'auth.clients, each with user and password' }];
  }
  const users = auth.clients.map(({ user }) => user);
  return auth.clients.flatMap(({ user, role }, index): readonly Finding[] => {
    const at = [...path, 'clients', index];
    if (users.indexOf(user) < index) {
      return [{ path: [...at, 'user'], message: `clients[${users.indexOf(user)}] has the name ${user} already` }];
    }
    if ((role ?? auth.role) !== undefined) return [];
    return [
      {
        path: at,
        message: 'it is not said how the sidecar logs in for this client',
        expected: 'auth.role, or a role here',
      },
    ];
  });
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}
