/** `atomesh db init` for MySQL and MariaDB: one database `atomesh` a server, whatever databases the application has there. */
import { initialiseDatabase } from '../../proxy/mysql/setup/init.ts';
import { schemaScript, type SchemaOptions } from '../../proxy/mysql/schema.ts';
import { upstreamAddress } from '../../proxy/mysql/upstream.ts';
import { describeError } from '../exit.ts';
import type { ChosenMysqlDatabase } from './databases.ts';

/** Whom the schema is for. */
interface Grants {
  readonly grantTo?: string;
  readonly grantBarrier?: string;
  readonly finisher?: string;
  readonly rowsIn?: readonly string[];
}

const NOBODY =
  'hint: without --grant-to no account has a right to what is in it but those with rights to every database. Name the account of the application, as user@host, and run this again.';
const NO_ROWS =
  'hint: upstream names no database, so the second phase has no rights to rows. Say --rows-in with the databases of the application, and run this again.';
const NO_FINISHER =
  'hint: the account of the second phase was taken to be of any host. Where it is another one, say --finisher with user@host.';

/** True when the schema is in place. What went wrong goes to standard error: the other databases still get their turn. */
export async function initialiseMysql(chosen: ChosenMysqlDatabase, grants: Grants): Promise<boolean> {
  const { name, upstream } = chosen.database;
  const say = (text: string): void => void process.stderr.write(`${name}: ${text}\n`);
  if (chosen.connection === undefined) {
    say('nobody is named who may log in: say --admin-user, and --admin-password-env');
    return false;
  }
  const options = granted(chosen, grants);
  try {
    await initialiseDatabase(chosen.connection, options);
  } catch (error) {
    say(describeError(error));
    if (options.finisher !== undefined && grants.finisher === undefined) say(NO_FINISHER);
    return false;
  }
  process.stdout.write(`${name}: the schema is in place at ${upstream}\n`);
  if (grants.grantTo === undefined) say(NOBODY);
  if (options.finisher !== undefined && options.rowsIn?.length === 0) say(NO_ROWS);
  return true;
}

/**
 * For the command-line clients of either server. The second phase gets its rights by name: who applies the SQL is not known here.
 * @throws CodedError BAD_REQUEST when an account is none.
 */
export function printMysql(chosen: ChosenMysqlDatabase, grants: Grants): void {
  const { name, upstream, credentials } = chosen.database;
  const finisher = credentials === undefined ? {} : { finisher: `'${credentials.user}'@'%'` };
  process.stdout.write(`-- ${name}: ${upstream}\n${schemaScript(granted({ ...chosen, ...finisher }, grants))}\n`);
}

function granted({ database, finisher: ofFile }: ChosenMysqlDatabase, grants: Grants): SchemaOptions {
  const { grantTo, grantBarrier, finisher = ofFile, rowsIn = upstreamDatabase(database.upstream) } = grants;
  const { mode, escalate } = database;
  return {
    ...(grantTo === undefined ? {} : { grantTo }),
    ...(grantBarrier === undefined ? {} : { grantBarrier }),
    ...(finisher === undefined ? {} : { finisher }),
    ...(mode === 'undo' ? { rowsIn } : {}),
    endsPrepared: mode === 'xa' || (mode === 'undo' && escalate === 'xa'),
  };
}

function upstreamDatabase(upstream: string): readonly string[] {
  const { database } = upstreamAddress(upstream);
  return database === '' ? [] : [database];
}
