/**
 * Variables that lead an application to a database, and the same leading to its sidecar. Texts are cut and joined, never
 * written anew: a password comes out letter by letter as it went in. One entry of `ENGINES` for each kind of database.
 */
import { authorityOf, type DatabaseFacts } from './facts.ts';

/** Environment variables by name. */
export type Variables = Readonly<Record<string, string>>;

/** The variables that change; undefined takes one away. */
export type Changes = Readonly<Record<string, string | undefined>>;

/** Which database a variable means, beside what its value says: the `--env NAME` and `--env NAME=database` of the command. */
export type NamedVariables = ReadonlyMap<string, DatabaseFacts>;

/** What is known of one kind of database. */
interface Engine {
  /** The schemes of its URLs, as configurations and drivers write them. */
  readonly scheme: RegExp;
  readonly port: number;
  /** The parameters of a URL that the rewritten one has, given the scheme and those that it had. */
  readonly parameters: (scheme: string, parameters: readonly string[]) => readonly string[];
  /** Parameters that lead elsewhere than the host and port of the URL do. */
  readonly elsewhere: RegExp;
  /** The variables beside URLs that this kind of database has: host, port, TLS. */
  readonly variables: (variables: Variables, find: Find) => Changes;
}

/** The configured database at `host:port`; `database` undefined: not said, so it is clear only when there is one. */
type Find = (host: string, port: number, database: string | undefined) => DatabaseFacts | undefined;

/** libpq, "Parameter Key Words": what asks for TLS or speaks of it. `ssl` is that of pgjdbc, node-postgres and asyncpg. */
const PG_TLS = /^(?:ssl|sslmode|sslnegotiation|sslcert|sslkey|sslrootcert|sslcrl|channel_?binding|requiressl)=/i;
/** The same as variables of the environment, without PGSSLMODE (libpq, "Environment Variables"). */
const PG_TLS_VARIABLES = ['PGREQUIRESSL', 'PGSSLNEGOTIATION', 'PGSSLCERT', 'PGSSLKEY', 'PGSSLROOTCERT', 'PGSSLCRL'];

const postgres: Engine = {
  // JDBC; SQLAlchemy names its driver behind a plus.
  scheme: /^(?:jdbc:)?(?:postgres|postgresql|pgsql|postgis)(?:\+[a-z0-9_]+)?$/i,
  port: 5432,
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

const ENGINES: readonly Engine[] = [postgres];

/** What became of the variables. */
export interface Redirected {
  readonly changes: Changes;
  /** URLs of databases that no listener stands in front of, as `NAME (host:port/database)`; never with a password. */
  readonly left: readonly string[];
}

/**
 * Leads every variable whose value is the URL of a configured database, and the driver's own variables, to its listener.
 * `named` are led there whatever host, port and database they say.
 */
export function redirectDatabases(
  variables: Variables,
  databases: readonly DatabaseFacts[],
  named: NamedVariables,
): Redirected {
  const changes: Record<string, string | undefined> = {};
  const left: string[] = [];
  for (const [name, value] of Object.entries(variables)) {
    const url = parseUrl(value);
    if (url === undefined) continue;
    const leads = !url.parameters.some((parameter) => url.engine.elsewhere.test(parameter));
    const database = named.get(name) ?? (leads ? databaseAt(url, databases) : undefined);
    if (database !== undefined) changes[name] = redirected(url, database);
    else left.push(`${name} (${url.hosts}${url.database === undefined ? '' : `/${url.database}`})`);
  }
  for (const engine of ENGINES) {
    const find: Find = (host, port, database) =>
      databaseAt({ engine, hosts: authorityOf({ host, port }), database }, databases);
    Object.assign(changes, engine.variables(variables, find));
  }
  return { changes, left };
}

/** True when the value is the URL of a database: `--env` can be about no other. */
export function isDatabaseUrl(value: string): boolean {
  return parseUrl(value) !== undefined;
}

/** Where a URL leads. */
interface Place {
  readonly engine: Engine;
  /** `host:port`; several servers are separated by commas, and equal to none that is configured. */
  readonly hosts: string;
  /** Decoded; undefined when the URL does not say. */
  readonly database: string | undefined;
}

interface DatabaseUrl extends Place {
  readonly scheme: string;
  /** User and password with their `@`, or nothing. */
  readonly login: string;
  /** From behind the host on, without the parameters. */
  readonly path: string;
  readonly parameters: readonly string[];
}

/** The last `@` before the path ends the login: drivers take passwords with an unencoded one. */
const URL_FORM = /^([a-z][a-z0-9+:_-]*):\/\/([^/?#]*@)?([^@/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/i;

function parseUrl(value: string): DatabaseUrl | undefined {
  const [, scheme, login = '', hosts, path = '', query = ''] = URL_FORM.exec(value) ?? [];
  const engine = ENGINES.find(({ scheme: known }) => scheme !== undefined && known.test(scheme));
  if (engine === undefined || scheme === undefined || hosts === undefined) return undefined;
  const parameters = query === '' ? [] : query.split('&');
  return { engine, scheme, login, hosts, database: decoded(path.slice(1)), path, parameters };
}

/** The configured database at this place; where the place names no database, only if there is one alone on its server. */
function databaseAt(
  { engine, hosts, database }: Place,
  databases: readonly DatabaseFacts[],
): DatabaseFacts | undefined {
  const server = serverOf(hosts, engine);
  const there = databases.filter(({ upstream }) => {
    const url = parseUrl(upstream);
    return url?.engine === engine && server !== undefined && serverOf(url.hosts, engine) === server;
  });
  if (database === undefined) return there.length === 1 ? there[0] : undefined;
  // The database of an upstream that names none is "postgres" (proxy/postgres/upstream.ts).
  return there.find(({ upstream }) => (parseUrl(upstream)?.database ?? 'postgres') === database);
}

/** `host:port` in one form for all names of this host; undefined when it is not one server. */
function serverOf(hosts: string, engine: Engine): string | undefined {
  const [, bracketed, plain = '', port] = /^(?:\[([^\]]*)\]|([^:,]+))(?::(\d+))?$/.exec(hosts) ?? [];
  const host = (bracketed ?? plain).toLowerCase();
  if (host === '') return undefined;
  const isLoopback = host === 'localhost' || host === '::1' || /^127(?:\.\d+){3}$/.test(host);
  return `${isLoopback ? 'localhost' : host}:${port ?? engine.port}`;
}

function redirected({ engine, scheme, login, path, parameters }: DatabaseUrl, { listen }: DatabaseFacts): string {
  const kept = parameters.filter((parameter) => !engine.elsewhere.test(parameter));
  const query = engine.parameters(scheme, kept).join('&');
  return `${scheme}://${login}${authorityOf(listen)}${path}${query === '' ? '' : `?${query}`}`;
}

function decoded(text: string): string | undefined {
  try {
    return text === '' ? undefined : decodeURIComponent(text);
  } catch {
    return text;
  }
}
