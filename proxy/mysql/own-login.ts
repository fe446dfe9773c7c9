/** How the sidecar itself, and the command line, log in to a MySQL or MariaDB server. */
import { readFileSync } from 'node:fs';
import { assert } from '../../src/platform/assert.ts';
import type { MysqlDatabaseOptions } from '../options.ts';
import type { OwnLogin } from './own-pool.ts';
import { upstreamAddress } from './upstream.ts';

/** What `mysql2` needs to log in at the database of these options. Throws when a file of its TLS cannot be read. */
export function ownLogin(
  { upstream, tls }: Pick<MysqlDatabaseOptions, 'upstream' | 'tls'>,
  account: { readonly user: string; readonly password?: string },
): OwnLogin {
  const { host, port } = upstreamAddress(upstream);
  const { mode, ca, certificate, key } = tls;
  if (mode === 'disable') return { host, port, ...account };
  const isVerified = mode === 'verify-full';
  const ssl = {
    rejectUnauthorized: isVerified,
    verifyIdentity: isVerified,
    ...(ca === undefined ? {} : { ca: readFileSync(ca, 'utf8') }),
    ...(certificate === undefined ? {} : { cert: readFileSync(certificate, 'utf8') }),
    ...(key === undefined ? {} : { key: readFileSync(key, 'utf8') }),
  };
  return { host, port, ...account, ssl };
}

/** The same for the account of the second phase. Not in mode none, which needs none. */
export function phaseTwoLogin(options: MysqlDatabaseOptions): OwnLogin {
  const { credentials } = options;
  assert(credentials !== undefined, 'a configuration without credentials is refused');
  const { user, password } = credentials;
  return ownLogin(options, { user, ...(password === undefined ? {} : { password: password.reveal() }) });
}
