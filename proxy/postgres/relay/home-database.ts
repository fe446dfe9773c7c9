/**
 * The database that a session works in. The second phase works in that of `upstream` alone, so a change that belongs to a global
 * transaction may be made nowhere else: there nobody would restore it, and what is prepared would stay for ever.
 */
import type { DatabaseOptions } from '../../options.ts';
import type { Refusal } from '../../sql/statement.ts';
import { upstreamAddress } from '../upstream.ts';
import { startupParameter, type StartupMessage } from '../wire/startup.ts';

/**
 * Why a client's session can belong to no global transaction: it has asked for another database than that of the second phase. Undefined
 * where it has not. Without one it gets that of its user's name from the server, and that of `upstream` from a managed login. PG source:
 * ProcessStartupPacket. Names are compared byte for byte: one that the server would cut to 63 bytes first is taken for another one.
 */
export function foreignDatabase(message: StartupMessage, options: DatabaseOptions): Refusal | undefined {
  const { database: home } = upstreamAddress(options.upstream);
  const unnamed = options.auth.mode === 'managed' ? home : startupParameter(message, 'user');
  const asked = startupParameter(message, 'database') || unnamed;
  return asked === home ? undefined : refusal(asked ?? '', home);
}

function refusal(asked: string, home: string): Refusal {
  return {
    code: '0A000',
    message: `a session in database ${asked} cannot take part in a global transaction here: changes are committed and rolled back in database ${home} alone`,
    hint: `Connect to database ${home}, or give database ${asked} an entry of its own in databases of the sidecar configuration. Without a gid every database can be used.`,
  };
}
