/**
 * What client and server agree on. Nearly every message has another form under another capability, so both legs of a connection
 * through the sidecar must have the same: the server's offer is narrowed before the client sees it, the client's choice is narrowed
 * before the server does, and nothing is ever added.
 * Source: MySQL documentation, "Capabilities Flags"; MariaDB documentation, "Connecting: Capabilities", whose own flags are the upper 32 bits.
 */

/** A set of flags: the 32 bits of MySQL, and above them the 32 of MariaDB. */
export type Capabilities = bigint;

export const CAPABILITY = {
  /** MySQL's LONG_PASSWORD. MariaDB calls it CLIENT_MYSQL: who leaves it out has MariaDB's flags in bytes that were reserved. */
  longPassword: 1n << 0n,
  foundRows: 1n << 1n,
  longFlag: 1n << 2n,
  connectWithDb: 1n << 3n,
  noSchema: 1n << 4n,
  compress: 1n << 5n,
  odbc: 1n << 6n,
  localFiles: 1n << 7n,
  ignoreSpace: 1n << 8n,
  protocol41: 1n << 9n,
  interactive: 1n << 10n,
  ssl: 1n << 11n,
  ignoreSigpipe: 1n << 12n,
  transactions: 1n << 13n,
  reserved: 1n << 14n,
  secureConnection: 1n << 15n,
  multiStatements: 1n << 16n,
  multiResults: 1n << 17n,
  psMultiResults: 1n << 18n,
  pluginAuth: 1n << 19n,
  connectAttributes: 1n << 20n,
  pluginAuthLength: 1n << 21n,
  expiredPasswords: 1n << 22n,
  sessionTrack: 1n << 23n,
  deprecateEof: 1n << 24n,
  optionalMetadata: 1n << 25n,
  zstd: 1n << 26n,
  queryAttributes: 1n << 27n,
  multiFactor: 1n << 28n,
  extension: 1n << 29n,
  verifyServerCertificate: 1n << 30n,
  rememberOptions: 1n << 31n,
  mariadbProgress: 1n << 32n,
  mariadbMulti: 1n << 33n,
  mariadbBulk: 1n << 34n,
  mariadbExtendedMetadata: 1n << 35n,
  mariadbCacheMetadata: 1n << 36n,
  mariadbBulkUnitResults: 1n << 37n,
} as const satisfies Record<string, Capabilities>;

/**
 * What this codec cannot follow. Compression hides the packets. Optional metadata moves the count of columns. COM_MULTI was never
 * finished. The bits called extension and reserved mean different things to different servers.
 */
const NOT_RELAYED: Capabilities =
  CAPABILITY.compress |
  CAPABILITY.zstd |
  CAPABILITY.optionalMetadata |
  CAPABILITY.mariadbMulti |
  CAPABILITY.extension |
  // Whatever comes above the last one known.
  (((1n << 64n) - 1n) & ~((1n << 38n) - 1n));

/** True when all flags of `wanted` are in `all`. */
export function has(all: Capabilities, wanted: Capabilities): boolean {
  return (all & wanted) === wanted;
}

/**
 * What the client is offered when its server offers `server`. `tls`: whether the sidecar itself takes TLS from clients, which has
 * nothing to do with what the server takes.
 */
export function offeredTo(server: Capabilities, options: { readonly tls: boolean }): Capabilities {
  const relayed = server & ~NOT_RELAYED & ~CAPABILITY.ssl;
  return options.tls ? relayed | CAPABILITY.ssl : relayed;
}

/** What holds on both legs: servers ignore a flag that they did not offer, so asking for one is no fault. */
export function agreed(offered: Capabilities, asked: Capabilities): Capabilities {
  return offered & asked;
}

/**
 * Did the client ask for compression that was not offered to it? It may be about to compress without an agreement, and has to be
 * refused: its packets could not be read. All known clients keep to the offer.
 */
export function insistsOnCompression(offered: Capabilities, asked: Capabilities): boolean {
  const compression = CAPABILITY.compress | CAPABILITY.zstd;
  return (asked & compression & ~offered) !== 0n;
}

/** The names of the flags in a set, for logs and errors. */
export function namesOf(capabilities: Capabilities): readonly string[] {
  return Object.entries(CAPABILITY)
    .filter(([, flag]) => has(capabilities, flag))
    .map(([name]) => name);
}
