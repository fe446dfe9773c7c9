/**
 * Variables that lead an application to a database, and the same leading to its sidecar. Texts are cut and joined, never
 * written anew: a password comes out letter by letter as it went in.
 */
import { ENGINES, type Changes, type Engine, type Find, type Variables } from './database-engines.ts';
import { authorityOf, type DatabaseFacts } from './facts.ts';

/** Which database a variable means, beside what its value says: the `--env NAME` and `--env NAME=database` of the command. */
export type NamedVariables = ReadonlyMap<string, DatabaseFacts>;

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
  const meantBy = ({ upstream }: DatabaseFacts): string | undefined => parseUrl(upstream)?.database ?? engine.unnamed;
  return there.find((each) => meantBy(each) === database) ?? there.find((each) => meantBy(each) === undefined);
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
