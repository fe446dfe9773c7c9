/** Accounts of MySQL and MariaDB as people write them. Pure. */
import { CodedError } from '../../../src/contract/errors.ts';

/** `user@host` with or without quotes around either part; without a host it is `%`, as the server has it. */
const ACCOUNT = /^(?:'([^'\\]+)'|([^'@\\\s]+))(?:@(?:'([^'\\]+)'|([^'@\\\s]+)))?$/;

/**
 * The account in quotes, for GRANT. A backslash or a quote within a name is not taken.
 * @throws CodedError BAD_REQUEST when the text is no account.
 */
export function accountSql(text: string): string {
  const [, quotedUser, user = quotedUser, quotedHost, host = quotedHost] = ACCOUNT.exec(text) ?? [];
  if (user === undefined) {
    throw new CodedError('BAD_REQUEST', `${JSON.stringify(text.slice(0, 100))} is no account`, {
      hint: "Write it as user@host, such as 'orders'@'10.0.0.%'.",
    });
  }
  return `'${user}'@'${host ?? '%'}'`;
}
