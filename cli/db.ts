/** `atomesh db init`: puts the schema that a sidecar needs into its databases, or prints the SQL for those who apply it themselves. */
import { Command } from 'commander';
import type { DatabaseOptions } from '../proxy/options.ts';
import { initialiseDatabase, schemaSql, type SchemaOptions } from '../proxy/postgres/schema.ts';
import {
  chooseDatabases,
  chooseMysqlDatabases,
  onDatabases,
  type ChosenDatabase,
  type DatabaseChoice,
} from './db/databases.ts';
import { triggersCommand } from './db/triggers.ts';
import { prepares, rightToEnd, xaHints } from './db/xa-hints.ts';
import { CommandFailed, describeError, EXIT } from './exit.ts';

interface InitOptions extends DatabaseChoice {
  readonly grantTo?: string;
  readonly grantBarrier?: string;
  readonly finisher?: string;
  readonly rowsIn?: readonly string[];
  readonly print?: true;
}

const init = onDatabases(new Command('init'))
  .description('create or update the schema "atomesh" in every database of a sidecar; may be run again at any time')
  .option(
    '--grant-to <role>',
    'the role that the application logs in as (default: every role; on MySQL none), there as user@host',
  )
  .option('--grant-barrier <role>', "a role that writes to atomesh.barrier itself, with the client library's barrier")
  .option(
    '--finisher <account>',
    'on MySQL, the account of the second phase as user@host (default: credentials, of any host)',
  )
  .option(
    '--rows-in <database...>',
    'on MySQL, databases whose rows the second phase may put back (default: that of upstream)',
  )
  .option('--print', 'print the SQL and connect to nothing')
  .action(async (options: InitOptions) => {
    const [databases, servers] = [chooseDatabases(options), chooseMysqlDatabases(options)];
    let failures = 0;
    for (const chosen of databases) {
      if (options.print) printSql(chosen.database, options);
      else if (!(await initialise(chosen, options))) failures += 1;
    }
    // Its driver is most of what there is to load: no other command waits for it.
    const { initialiseMysql, printMysql } = await import('./db/mysql.ts');
    for (const chosen of servers) {
      if (options.print) printMysql(chosen, options);
      else if (!(await initialiseMysql(chosen, options))) failures += 1;
    }
    const all = databases.length + servers.length;
    if (options.grantTo === undefined && databases.length > 0) process.stderr.write(`${EVERY_ROLE}\n`);
    if (failures > 0) throw new CommandFailed(EXIT.failure, `${failures} of ${all} databases failed`);
  });

const EVERY_ROLE =
  'warning: without --grant-to every role of a database may take part in global transactions, and so keep operations of others from taking effect. Name the role of the application, and run this again.';

export const dbCommand: Command = new Command('db')
  .description('prepare databases')
  .addCommand(init)
  .addCommand(triggersCommand);

/** True when the schema is in place. What went wrong goes to standard error: the other databases still get their turn. */
async function initialise(chosen: ChosenDatabase, options: InitOptions): Promise<boolean> {
  const { database, connection, finisher } = chosen;
  try {
    await initialiseDatabase(connection, { ...granted(options), ...(finisher === undefined ? {} : { finisher }) });
  } catch (error) {
    process.stderr.write(`${database.name}: ${describeError(error)}\n`);
    return false;
  }
  process.stdout.write(`${database.name}: the schema is in place at ${database.upstream}\n`);
  for (const hint of await xaHints(chosen, options.grantTo)) process.stderr.write(`${database.name}: hint: ${hint}\n`);
  return true;
}

/** The second phase gets its rights by name: who applies the SQL is not known here. */
function printSql(database: DatabaseOptions, options: InitOptions): void {
  const { user } = database.credentials;
  const sql = schemaSql({ finisher: user, ...granted(options) });
  const needs = prepares(database)
    ? `-- Prepared transactions need max_prepared_transactions of the server above 0, and, unless ${user} is a superuser:\n-- ${rightToEnd(user, options.grantTo)}\n`
    : '';
  process.stdout.write(`-- ${database.name}: ${database.upstream}\n${sql}${needs}\n`);
}

function granted({ grantTo, grantBarrier }: InitOptions): SchemaOptions {
  return {
    ...(grantTo === undefined ? {} : { grantTo }),
    ...(grantBarrier === undefined ? {} : { grantBarrier }),
  };
}
