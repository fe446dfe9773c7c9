/** Who may log in at the sidecar, and as which database role the sidecar then logs in (`databases[].auth`, managed). */
import { assert } from '../../../src/platform/assert.ts';
import { secretBytes } from '../../../src/platform/random.ts';
import type { DatabaseOptions } from '../../options.ts';
import { parseVerifier, SALT_BYTES, verifierOf, type Verifier } from './scram.ts';
import { mockVerifier } from './server-login.ts';

/** How the sidecar logs in at the database. */
export type DatabaseLogin = NonNullable<DatabaseOptions['auth']['role']>;

export type Account =
  | { readonly kind: 'known'; readonly verifier: Verifier; readonly role: DatabaseLogin }
  /** Nobody has this name, which who asks does not learn. */
  | { readonly kind: 'unknown'; readonly verifier: Verifier };

/**
 * The accounts by the name of the user. Salts are made anew, and with them the answers for unknown users, each time the sidecar starts;
 * none is derived from a password: it would be a means of guessing it without ever logging in.
 */
export function createAccounts(auth: DatabaseOptions['auth']): (user: string) => Account {
  const secret = secretBytes(SALT_BYTES);
  const accounts = new Map(
    auth.clients.map((client): [string, Account] => {
      const role = client.role ?? auth.role;
      assert(role !== undefined, 'each client has a role: the configuration is checked');
      const password = client.password.reveal();
      const verifier = parseVerifier(password) ?? verifierOf(password, secretBytes(SALT_BYTES));
      return [client.user, { kind: 'known', verifier, role }];
    }),
  );
  return (user) => accounts.get(user) ?? { kind: 'unknown', verifier: mockVerifier(user, secret) };
}
