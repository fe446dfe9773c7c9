/** Kinds of databases, and the variables of the environment that lead drivers to one. An entry of `ENGINES` for each. */
import type { DatabaseFacts } from './facts.ts';

/** Environment variables by name. */
export type Variables = Readonly<Record<string, string>>;

/** The variables that change; undefined takes one away. */
export type Changes = Readonly<Record<string, string | undefined>>;

/** What is known of one kind of database. */
export interface Engine {
  /** The schemes of its URLs, as configurations and drivers write them. */
  readonly scheme: RegExp;
  readonly port: number;
  /** Clients whose URL has no database are logged in to this one; undefined: to none, so that an upstream without one stands for all of its server. */
  readonly unnamed: string | undefined;
  /** The parameters of a URL that the rewritten one has, given the scheme and those that it had. */
  readonly parameters: (scheme: string, parameters: readonly string[]) => readonly string[];
  /** Parameters that lead elsewhere than the host and port of the URL do. */
  readonly elsewhere: RegExp;
  /** The variables beside URLs that this kind of database has: host, port, TLS. */
  readonly variables: (variables: Variables, find: Find) => Changes;
}

/** The configured database at `host:port`; `database` undefined: not said, so it is clear only when there is one. */
export type Find = (host: string, port: number, database: string | undefined) => DatabaseFacts | undefined;

/** libpq, "Parameter Key Words": what asks for TLS or speaks of it. `ssl` is that of pgjdbc, node-postgres and asyncpg. */
const PG_TLS = /^(?:ssl|sslmode|sslnegotiation|sslcert|sslkey|sslrootcert|sslcrl|channel_?binding|requiressl)=/i;
/** The same as variables of the environment, without PGSSLMODE (libpq, "Environment Variables"). */
const PG_TLS_VARIABLES = ['PGREQUIRESSL', 'PGSSLNEGOTIATION', 'PGSSLCERT', 'PGSSLKEY', 'PGSSLROOTCERT', 'PGSSLCRL'];

const postgres: Engine = {
  // JDBC; SQLAlchemy names its driver behind a plus.
  scheme: /^(?:jdbc:)?(?:postgres|postgresql|pgsql|postgis)(?:\+[a-z0-9_]+)?$/i,
  port: 5432,
  // As proxy/postgres/upstream.ts has it.
  unnamed: 'postgres',
  parameters: (scheme, parameters) => {
    const kept = parameters.filter((parameter) => !PG_TLS.test(parameter));
    const driver = /\+(.*)$/.exec(scheme)?.[1] ?? 'psycopg';
    // The way to the listener is plain text on loopback: drivers that ask for TLS by themselves (lib/pq) must be told.
    // SQLAlchemy hands parameters to its driver: only psycopg knows this one.
    return driver.startsWith('psycopg') ? [...kept, 'sslmode=disable'] : kept;
  },
  elsewhere: /^(?:host|hostaddr|port|service)=/i,
  variables(variables, find) {
    const { PGHOST: host, PGPORT: port = '5432', PGDATABASE: database } = variables;
    const found = host === undefined ? undefined : find(host, Number(port), database);
    if (found === undefined) return {};
    return {
      PGHOST: found.listen.host,
      PGPORT: String(found.listen.port),
      // node-postgres takes "prefer" for "require".
      PGSSLMODE: 'disable',
      ...Object.fromEntries(
        ['PGHOSTADDR', 'PGCHANNELBINDING', ...PG_TLS_VARIABLES]
          .filter((name) => variables[name] !== undefined)
          .map((name) => [name, undefined]),
      ),
    };
  },
};

/**
 * What asks for TLS or speaks of it, in Connector/J, MariaDB's connectors, mysqlclient, PyMySQL, mysql2 and Prisma. Not
 * `allowPublicKeyRetrieval`, which is for connections without it.
 */
const MYSQL_TLS =
  /^(?:ssl\w*|tls\w*|use_?ssl|require_?ssl|verifyServerCertificate|trustServerCertificate|serverSslCert|(?:trust|client)CertificateKeyStore\w*)=/i;
const NUMBER = /^[0-9]{1,5}$/;

const mysql: Engine = {
  // JDBC; SQLAlchemy names its driver behind a plus, Rails and Doctrine in the place of the server.
  scheme: /^(?:jdbc:)?(?:mysql2?|mariadb|trilogy|mysqli|pdo-mysql)(?:\+[a-z0-9_]+)?$/i,
  port: 3306,
  unnamed: undefined,
  parameters: (scheme, parameters) => {
    const kept = parameters.filter((parameter) => !MYSQL_TLS.test(parameter));
    if (!/^jdbc:/i.test(scheme)) return kept;
    // Java's drivers are the ones that ask for TLS by themselves; without it they give no password to a server whose key they do not have,
    // and here that is the listener, on this host.
    const isAllowed = kept.some((parameter) => /^allowPublicKeyRetrieval=/i.test(parameter));
    const disabled = /mariadb/i.test(scheme) ? 'sslMode=disable' : 'sslMode=DISABLED';
    return [...kept, disabled, ...(isAllowed ? [] : ['allowPublicKeyRetrieval=true'])];
  },
  elsewhere: /^(?:host|port|socket|unix_?socket|localSocket|pipe|named_?pipe)=/i,
  variables(variables, find) {
    const ofPrefix = (prefix: string): Changes => {
      const { [`${prefix}_HOST`]: host, [`${prefix}_DATABASE`]: database } = variables;
      // The client library reads the first (MySQL 8.0 reference manual, "Environment Variables"), applications the second; what is no
      // number is Kubernetes', which speaks of a service of this name.
      const names = [`${prefix}_TCP_PORT`, `${prefix}_PORT`];
      const port = names.map((name) => variables[name] ?? '').find((value) => NUMBER.test(value)) ?? '3306';
      const found = host === undefined ? undefined : find(host, Number(port), database);
      if (found === undefined) return {};
      const written = names.filter((name) => NUMBER.test(variables[name] ?? String(found.listen.port)));
      return {
        [`${prefix}_HOST`]: found.listen.host,
        ...Object.fromEntries(written.map((name) => [name, String(found.listen.port)])),
      };
    };
    return { ...ofPrefix('MYSQL'), ...ofPrefix('MARIADB') };
  },
};

export const ENGINES: readonly Engine[] = [postgres, mysql];
