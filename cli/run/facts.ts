/** What a sidecar tells `atomesh run` once it is ready: where it listens, and which databases it stands in front of. */
import type { SidecarOptions } from '../../proxy/options.ts';
import type { Address } from '../../src/platform/option-types.ts';

/** Addresses are those to connect to from this host: with the port that is bound, and never "every address". */
export interface SidecarFacts {
  readonly service: string;
  /** Where other services call the application. */
  readonly inboundUrl?: string;
  /** Where the application itself listens (`inbound.target`). */
  readonly target?: string;
  /** What the application uses as its proxy. */
  readonly outboundUrl?: string;
  readonly controlUrl: string;
  readonly adminUrl: string;
  readonly databases: readonly DatabaseFacts[];
  /** How long the sidecar takes to drain at most. */
  readonly graceMs: number;
}

/** One SQL listener, and the database behind it. */
export interface DatabaseFacts {
  readonly name: string;
  readonly listen: Address;
  /** As the configuration has it: `postgres://db:5432/orders`, without user and password. */
  readonly upstream: string;
}

/** The ports that are listened on; they differ from the options where those say 0. */
export interface SidecarPorts {
  readonly inbound?: number;
  readonly outbound?: number;
  readonly control: number;
  readonly admin: number;
  /** By the name of the database. */
  readonly databases: Readonly<Record<string, number>>;
}

/** The facts about a sidecar with these options that listens on these ports. */
export function factsOf(options: SidecarOptions, ports: SidecarPorts): SidecarFacts {
  const { inbound, outbound, control, admin, databases } = options;
  return {
    service: options.service,
    ...(inbound === undefined ? {} : { inboundUrl: urlOf(inbound.listen, ports.inbound), target: inbound.target }),
    ...(outbound === undefined ? {} : { outboundUrl: urlOf(outbound.listen, ports.outbound) }),
    controlUrl: urlOf(control.listen, ports.control),
    adminUrl: urlOf(admin.listen, ports.admin),
    databases: databases.map(({ name, listen, upstream }) => ({
      name,
      listen: reachable(listen, ports.databases[name]),
      upstream,
    })),
    graceMs: options.shutdown.grace,
  };
}

/** `host:port`, with an IPv6 host in brackets. */
export function authorityOf({ host, port }: Address): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function urlOf(listen: Address, port: number | undefined): string {
  return `http://${authorityOf(reachable(listen, port))}`;
}

/** Who listens on every address is reached on the loopback one. */
function reachable({ host, port }: Address, bound: number | undefined): Address {
  const everywhere: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };
  return { host: everywhere[host] ?? host, port: bound ?? port };
}
