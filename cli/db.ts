/** `atomesh db init`: puts the schema that a sidecar needs into its databases, or prints the SQL for those who apply it themselves. */
import { Command } from 'commander';
import type { DatabaseOptions } from '../proxy/options.ts';
import { initialiseDatabase, schemaSql, type SchemaOptions } from '../proxy/postgres/schema.ts';
import { phaseTwoConnection } from '../proxy/postgres/upstream.ts';
import { CommandFailed, describeError, EXIT } from './exit.ts';
import { sidecarConfig } from './options.ts';

interface InitOptions {
  readonly config: string;
  readonly database?: readonly string[];
  readonly grantTo?: string;
  readonly grantBarrier?: string;
  readonly adminUser?: string;
  readonly adminPasswordEnv?: string;
  readonly print?: true;
}

const init = new Command('init')
  .description('create or update the schema "atomesh" in every database of a sidecar; may be run again at any time')
  .requiredOption('-c, --config <file>', 'the options of the sidecar')
  .option('--database <name...>', 'only these databases of the file')
  .option('--grant-to <role>', 'the role that the application logs in as (default: every role)')
  .option('--grant-barrier <role>', "a role that writes to atomesh.barrier itself, with the client library's barrier")
  .option('--admin-user <role>', 'log in as this role instead of the credentials in the file')
  .option('--admin-password-env <name>', 'the environment variable that holds its password')
  .option('--print', 'print the SQL and connect to nothing')
  .action(async (options: InitOptions) => {
    const databases = chosen(sidecarConfig(options.config).options.databases, options);
    const password = adminPassword(options);
    let failures = 0;
    for (const database of databases) {
      if (options.print) printSql(database, options);
      else if (!(await initialise(database, options, password))) failures += 1;
    }
    if (options.grantTo === undefined) process.stderr.write(`${EVERY_ROLE}\n`);
    if (failures > 0) throw new CommandFailed(EXIT.failure, `${failures} of ${databases.length} databases failed`);
  });

const EVERY_ROLE =
  'warning: without --grant-to every role of a database may take part in global transactions, and so keep operations of others from taking effect. Name the role of the application, and run this again.';

export const dbCommand: Command = new Command('db').description('prepare databases').addCommand(init);

function chosen(all: readonly DatabaseOptions[], { config, database: names }: InitOptions): readonly DatabaseOptions[] {
  if (all.length === 0) throw new CommandFailed(EXIT.config, `${config}: there are no databases in this file`);
  for (const name of names ?? []) {
    if (all.some((database) => database.name === name)) continue;
    const known = all.map((database) => database.name).join(', ');
    throw new CommandFailed(EXIT.usage, `${config} has no database ${name}; it has ${known}`);
  }
  return names === undefined ? all : all.filter(({ name }) => names.includes(name));
}

function adminPassword({ adminUser, adminPasswordEnv }: InitOptions): string | undefined {
  if (adminPasswordEnv === undefined) return undefined;
  if (adminUser === undefined) throw new CommandFailed(EXIT.usage, '--admin-password-env is for --admin-user');
  const password = process.env[adminPasswordEnv];
  if (password === undefined) {
    throw new CommandFailed(EXIT.usage, `the environment variable ${adminPasswordEnv} is not set`);
  }
  return password;
}

/** True when the schema is in place. What went wrong goes to standard error: the other databases still get their turn. */
async function initialise(
  database: DatabaseOptions,
  options: InitOptions,
  password: string | undefined,
): Promise<boolean> {
  const { adminUser } = options;
  const { password: _, ...anybody } = phaseTwoConnection(database);
  const connection =
    adminUser === undefined
      ? phaseTwoConnection(database)
      : { ...anybody, user: adminUser, ...(password === undefined ? {} : { password }) };
  try {
    await initialiseDatabase(connection, {
      ...granted(options),
      ...(adminUser === undefined ? {} : { finisher: database.credentials.user }),
    });
  } catch (error) {
    process.stderr.write(`${database.name}: ${describeError(error)}\n`);
    return false;
  }
  process.stdout.write(`${database.name}: the schema is in place at ${database.upstream}\n`);
  return true;
}

/** The second phase gets its rights by name: who applies the SQL is not known here. */
function printSql(database: DatabaseOptions, options: InitOptions): void {
  const sql = schemaSql({ finisher: database.credentials.user, ...granted(options) });
  process.stdout.write(`-- ${database.name}: ${database.upstream}\n${sql}\n`);
}

function granted({ grantTo, grantBarrier }: InitOptions): SchemaOptions {
  return {
    ...(grantTo === undefined ? {} : { grantTo }),
    ...(grantBarrier === undefined ? {} : { grantBarrier }),
  };
}
