/** Which server it is, and whether it can do what is asked of it. Pure. */
import { CodedError } from '../../../src/contract/errors.ts';
import type { Server } from '../text/tokens.ts';

export interface ServerVersion {
  readonly flavour: 'mysql' | 'mariadb';
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
}

/** MariaDB puts 5.5.5 in front of its version where a replica of MySQL would not believe it (MariaDB source: sql/mysqld.cc). */
const VERSION = /^(?:5\.5\.5-(?=1[0-9]\.))?([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})/;

/** Reads what VERSION() answers; undefined when it is no version. */
export function readVersion(text: string): ServerVersion | undefined {
  const [, major, minor, patch] = VERSION.exec(text) ?? [];
  if (major === undefined) return undefined;
  const flavour = /mariadb/i.test(text) ? 'mariadb' : 'mysql';
  return { flavour, major: Number(major), minor: Number(minor), patch: Number(patch) };
}

/** The server of that version, as texts are read for it; undefined when it is no version. */
export function serverOf(text: string, ignoresSpace: boolean): Server | undefined {
  const version = readVersion(text);
  if (version === undefined) return undefined;
  const { flavour, major, minor, patch } = version;
  return { isMariadb: flavour === 'mariadb', version: (major * 100 + minor) * 100 + patch, ignoresSpace };
}

/**
 * MySQL computes defaults of columns from 8.0.13 on. MariaDB keeps what is prepared when its connection ends from 10.5 on (MDEV-7974):
 * before, a prepared branch would be rolled back with it, whatever was decided.
 */
const LEAST: Readonly<Record<ServerVersion['flavour'], readonly [number, number, number]>> = {
  mysql: [8, 0, 13],
  mariadb: [10, 5, 2],
};

/**
 * The version of a server that VERSION() answers `text` on.
 * @throws CodedError BAD_REQUEST that names the version when it is too old, or none.
 */
export function supportedVersion(text: string): ServerVersion {
  const version = readVersion(text);
  if (version !== undefined && isAtLeast(version, LEAST[version.flavour])) return version;
  throw new CodedError('BAD_REQUEST', `the server is version ${text.slice(0, 100)}, which Atomesh cannot use`, {
    hint: `Use MySQL ${LEAST.mysql.join('.')} or later, or MariaDB ${LEAST.mariadb.join('.')} or later.`,
  });
}

/** From this version on MySQL writes a prepared transaction to its engine and its binary log in an order that survives a crash (WL#11300). */
const CRASH_SAFE: readonly [number, number, number] = [8, 0, 30];

/**
 * True when the server still has after a crash what it has said to have prepared. With its binary log, MySQL up to 8.0.29 loses what was
 * prepared last, however carefully it is told to write (seen with 8.0.15; manual, "Restrictions on XA Transactions").
 */
export function keepsPrepared(version: ServerVersion, hasBinaryLog: boolean): boolean {
  return version.flavour === 'mariadb' || !hasBinaryLog || isAtLeast(version, CRASH_SAFE);
}

function isAtLeast({ major, minor, patch }: ServerVersion, least: readonly [number, number, number]): boolean {
  const difference = [major - least[0], minor - least[1], patch - least[2]].find((each) => each !== 0) ?? 0;
  return difference >= 0;
}
