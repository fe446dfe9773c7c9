/** `atomesh db init` for MySQL and MariaDB: one database `atomesh` a server, whatever databases the application has there. */
import { initialiseDatabase } from '../../proxy/mysql/setup/init.ts';
import { schemaScript, type SchemaOptions } from '../../proxy/mysql/schema.ts';
import { describeError } from '../exit.ts';
import type { ChosenMysqlDatabase } from './databases.ts';

/** Whom the schema is for. */
interface Grants {
  readonly grantTo?: string;
  readonly grantBarrier?: string;
}

const NOBODY =
  'hint: without --grant-to no account has a right to what is in it but those with rights to every database. Name the account of the application, as user@host, and run this again.';

/** True when the schema is in place. What went wrong goes to standard error: the other databases still get their turn. */
export async function initialiseMysql({ database, connection }: ChosenMysqlDatabase, grants: Grants): Promise<boolean> {
  const { name, upstream } = database;
  if (connection === undefined) {
    process.stderr.write(`${name}: nobody is named who may log in: say --admin-user, and --admin-password-env\n`);
    return false;
  }
  try {
    await initialiseDatabase(connection, granted(grants));
  } catch (error) {
    process.stderr.write(`${name}: ${describeError(error)}\n`);
    return false;
  }
  process.stdout.write(`${name}: the schema is in place at ${upstream}\n`);
  if (grants.grantTo === undefined) process.stderr.write(`${name}: ${NOBODY}\n`);
  return true;
}

/** For the command-line clients of either server. @throws CodedError BAD_REQUEST when an account is none. */
export function printMysql({ database }: ChosenMysqlDatabase, grants: Grants): void {
  process.stdout.write(`-- ${database.name}: ${database.upstream}\n${schemaScript(granted(grants))}\n`);
}

function granted({ grantTo, grantBarrier }: Grants): SchemaOptions {
  return {
    ...(grantTo === undefined ? {} : { grantTo }),
    ...(grantBarrier === undefined ? {} : { grantBarrier }),
  };
}
