/** Who may log in at the sidecar, and as which account the sidecar then logs in at the server (`databases[].auth`, managed). */
import { assert } from '../../../src/platform/assert.ts';
import { secretBytes } from '../../../src/platform/random.ts';
import type { MysqlDatabaseOptions } from '../../options.ts';

/** How the sidecar logs in at the server. */
export interface Role {
  readonly user: string;
  /** Empty where the account has none. */
  readonly password: Buffer;
}

export interface Account {
  /** False: nobody has this name, which who asks does not learn. Its password is one that nobody knows. */
  readonly isKnown: boolean;
  readonly password: Buffer;
  readonly role: Role;
}

type Login = NonNullable<MysqlDatabaseOptions['auth']['role']>;

/** As many bytes as no password has to be guessed. */
const UNKNOWN_BYTES = 32;

/** The accounts by the name of the user, in the client's bytes. Names and passwords of the configuration are taken as UTF-8. */
export function createAccounts(auth: MysqlDatabaseOptions['auth']): (user: Buffer) => Account {
  const accounts = new Map(
    auth.clients.map((client): [string, Account] => {
      const role = client.role ?? auth.role;
      assert(role !== undefined, 'each client has a role: the configuration is checked');
      const password = Buffer.from(client.password.reveal());
      return [keyOf(Buffer.from(client.user)), { isKnown: true, password, role: roleOf(role) }];
    }),
  );
  const [anyone] = accounts.values();
  assert(anyone !== undefined, 'there is a client: the configuration is checked');
  const unknown: Account = { isKnown: false, password: secretBytes(UNKNOWN_BYTES), role: anyone.role };
  return (user) => accounts.get(keyOf(user)) ?? unknown;
}

function roleOf({ user, password }: Login): Role {
  return { user, password: Buffer.from(password?.reveal() ?? '') };
}

/** Each byte as a character: names that are no UTF-8 are names of nobody. */
function keyOf(user: Buffer): string {
  return user.toString('latin1');
}
