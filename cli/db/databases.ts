/** The databases of a sidecar's configuration that a command is about, and how it logs in to them. */
import type { Command } from 'commander';
import type pg from 'pg';
import { ownLogin, phaseTwoLogin } from '../../proxy/mysql/own-login.ts';
import type { OwnLogin } from '../../proxy/mysql/own-pool.ts';
import type { AnyDatabaseOptions, DatabaseOptions, MysqlDatabaseOptions } from '../../proxy/options.ts';
import { phaseTwoConnection } from '../../proxy/postgres/upstream.ts';
import { CommandFailed, EXIT } from '../exit.ts';
import { sidecarConfig } from '../options.ts';

/** What the command line says of them. */
export interface DatabaseChoice {
  readonly config: string;
  readonly database?: readonly string[];
  readonly adminUser?: string;
  readonly adminPasswordEnv?: string;
}

export interface ChosenDatabase {
  readonly database: DatabaseOptions;
  readonly connection: pg.ClientConfig;
  /** The role of the second phase, when the command logs in as another one. */
  readonly finisher?: string;
}

/** Gives a command the options of `DatabaseChoice`. */
export function onDatabases(command: Command): Command {
  return command
    .requiredOption('-c, --config <file>', 'the options of the sidecar')
    .option('--database <name...>', 'only these databases of the file')
    .option('--admin-user <role>', 'log in as this role instead of the credentials in the file')
    .option('--admin-password-env <name>', 'the environment variable that holds its password');
}

/**
 * The PostgreSQL databases among them.
 * @throws CommandFailed when the file has no such database, or the password is not there.
 */
export function chooseDatabases(choice: DatabaseChoice): readonly ChosenDatabase[] {
  const databases = named(choice).filter((database) => database.engine !== 'mysql');
  const password = adminPassword(choice);
  const { adminUser } = choice;
  return databases.map((database) => {
    const { password: _, ...anybody } = phaseTwoConnection(database);
    return adminUser === undefined
      ? { database, connection: phaseTwoConnection(database) }
      : {
          database,
          connection: { ...anybody, user: adminUser, ...(password === undefined ? {} : { password }) },
          finisher: database.credentials.user,
        };
  });
}

/** A database on a MySQL or MariaDB server. */
export interface ChosenMysqlDatabase {
  readonly database: MysqlDatabaseOptions;
  /** Absent when nobody was named who may log in. */
  readonly connection: OwnLogin | undefined;
  /** The account of the second phase, of any host, when the command logs in as another one. */
  readonly finisher?: string;
}

/**
 * Those on MySQL and MariaDB servers.
 * @throws CommandFailed when the file has no such database, or the password is not there.
 */
export function chooseMysqlDatabases(choice: DatabaseChoice): readonly ChosenMysqlDatabase[] {
  const databases = named(choice).filter((database) => database.engine === 'mysql');
  const password = adminPassword(choice);
  const { adminUser: user } = choice;
  return databases.map((database) => {
    if (user === undefined) {
      return { database, connection: database.credentials === undefined ? undefined : phaseTwoLogin(database) };
    }
    const connection = ownLogin(database, { user, ...(password === undefined ? {} : { password }) });
    return database.credentials === undefined
      ? { database, connection }
      : { database, connection, finisher: `'${database.credentials.user}'@'%'` };
  });
}

function named({ config, database: names }: DatabaseChoice): readonly AnyDatabaseOptions[] {
  const all: readonly AnyDatabaseOptions[] = sidecarConfig(config).options.databases;
  if (all.length === 0) throw new CommandFailed(EXIT.config, `${config}: there are no databases in this file`);
  for (const name of names ?? []) {
    if (all.some((database) => database.name === name)) continue;
    const known = all.map((database) => database.name).join(', ');
    throw new CommandFailed(EXIT.usage, `${config} has no database ${name}; it has ${known}`);
  }
  return names === undefined ? all : all.filter(({ name }) => names.includes(name));
}

function adminPassword({ adminUser, adminPasswordEnv }: DatabaseChoice): string | undefined {
  if (adminPasswordEnv === undefined) return undefined;
  if (adminUser === undefined) throw new CommandFailed(EXIT.usage, '--admin-password-env is for --admin-user');
  const password = process.env[adminPasswordEnv];
  if (password === undefined) {
    throw new CommandFailed(EXIT.usage, `the environment variable ${adminPasswordEnv} is not set`);
  }
  return password;
}
