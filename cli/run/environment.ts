/** The environment that `atomesh run` gives an application, as a pure function: what its sidecar asks of it, and nothing else. */
import { authorityOf, type SidecarFacts } from './facts.ts';
import type { Changes, Variables } from './database-engines.ts';
import { type NamedVariables, redirectDatabases } from './database-variables.ts';

/** What an application is started with. */
export interface ApplicationEnvironment {
  readonly variables: Variables;
  /** The names of those that differ from what was inherited, in order. */
  readonly changed: readonly string[];
  /** URLs of databases that no SQL listener stands in front of: what they lead to is not part of global transactions. */
  readonly left: readonly string[];
  /** Proxies that were replaced: the sidecar calls other services directly. */
  readonly replaced: readonly string[];
}

/**
 * `inherited`, changed so that the application's calls and SQL pass through the sidecar. `named`: variables that mean one of its
 * databases whatever they say; `agent`: what a trace agent needs.
 */
export function applicationEnvironment(
  inherited: Variables,
  facts: SidecarFacts,
  { named = new Map(), agent = {} }: { readonly named?: NamedVariables; readonly agent?: Changes } = {},
): ApplicationEnvironment {
  const base = merged(inherited, agent);
  const { changes, left } = redirectDatabases(base, facts.databases, named);
  const variables = merged(base, {
    ...changes,
    ...proxies(base, facts.outboundUrl),
    ...addresses(facts),
    ...defaults(base, facts),
  });
  return {
    variables,
    changed: Object.keys({ ...inherited, ...variables })
      .filter((name) => variables[name] !== inherited[name])
      .sort(),
    left,
    replaced: ['HTTP_PROXY', 'http_proxy', 'grpc_proxy'].filter(
      (name) => (inherited[name] ?? '') !== '' && variables[name] !== inherited[name],
    ),
  };
}

/** `inherited` with these changes; undefined takes a variable away. */
function merged(inherited: Variables, changes: Changes): Variables {
  const result: Record<string, string> = { ...inherited };
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) delete result[name];
    else result[name] = value;
  }
  return result;
}

/** A variable that holds a list of options, with one more at its end. */
export function appended(value: string | undefined, option: string): string {
  return value === undefined || value.trim() === '' ? option : `${value} ${option}`;
}

/**
 * `HTTP_PROXY` for most, `http_proxy` for curl, which does not read the other one (CVE-2016-5385), `grpc_proxy` for grpc-js;
 * Node.js from 24 on reads them only when told to, and Java has properties of its own. `HTTPS_PROXY` stays as it is: what is
 * encrypted could only be passed through. `NO_PROXY` stays, too.
 */
function proxies(inherited: Variables, outboundUrl: string | undefined): Changes {
  if (outboundUrl === undefined) return {};
  const { hostname, port } = new URL(outboundUrl);
  const java = `-Dhttp.proxyHost=${hostname.replace(/^\[|\]$/g, '')} -Dhttp.proxyPort=${port}`;
  return {
    HTTP_PROXY: outboundUrl,
    http_proxy: outboundUrl,
    grpc_proxy: outboundUrl,
    NODE_USE_ENV_PROXY: inherited['NODE_USE_ENV_PROXY'] ?? '1',
    JAVA_TOOL_OPTIONS: appended(inherited['JAVA_TOOL_OPTIONS'], java),
  };
}

/** For applications that would rather be told than led: base URLs, and `host:port` of each SQL listener. */
function addresses({ service, inboundUrl, outboundUrl, controlUrl, adminUrl, databases }: SidecarFacts): Changes {
  return {
    ATOMESH_SERVICE: service,
    ...(inboundUrl === undefined ? {} : { ATOMESH_INBOUND_URL: inboundUrl }),
    ...(outboundUrl === undefined ? {} : { ATOMESH_OUTBOUND_URL: outboundUrl }),
    ATOMESH_CONTROL_URL: controlUrl,
    ATOMESH_ADMIN_URL: adminUrl,
    ...Object.fromEntries(
      databases.map(({ name, listen }) => [
        `ATOMESH_DATABASE_${name.toUpperCase().replaceAll('-', '_')}`,
        authorityOf(listen),
      ]),
    ),
  };
}

/** What the application would otherwise have to be told a second time. */
function defaults(inherited: Variables, { service, target }: SidecarFacts): Changes {
  const port = target === undefined ? '' : new URL(target).port;
  return {
    OTEL_SERVICE_NAME: inherited['OTEL_SERVICE_NAME'] ?? service,
    ...(port === '' ? {} : { PORT: inherited['PORT'] ?? port }),
  };
}
