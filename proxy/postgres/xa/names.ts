/** What prepared transactions of Atomesh are called: by the name alone they are known again, after any crash and by any replica. Pure. */
import { createHash } from 'node:crypto';
import { parseGid, type Gid } from '../../../src/contract/transaction.ts';
import { resourceOf, type UndoBranch } from '../../sql/work.ts';

/** What a name says. */
export interface PreparedName {
  readonly gid: Gid;
  /** The run of a workflow that the branch belongs to. */
  readonly run: number | undefined;
}

/** Of SHA-256: enough to tell the resources of one server apart. */
const HASH_CHARACTERS = 16;

/**
 * How the names of all prepared transactions of a database begin. `database`: its resource, `<service>/<database>`. Two services that
 * share a database differ by it.
 */
export function preparedPrefix(database: string): string {
  const hash = createHash('sha256').update(database).digest('hex').slice(0, HASH_CHARACTERS);
  return `atomesh_${hash}_`;
}

/** How the names of one branch's prepared transactions begin. `resource`: of the branch. */
function branchPrefix(resource: string): string {
  const [database = '', run] = resource.split('#');
  return `${preparedPrefix(database)}${run ?? 0}_`;
}

/**
 * A name that no other prepared transaction has. At most 178 bytes of 199 (PG source: GIDSIZE in src/include/access/xact.h), none of
 * which needs quoting. `id`: of `newId`.
 */
export function preparedName({ gid, resource }: Pick<UndoBranch, 'gid' | 'resource'>, id: string): string {
  return `${branchPrefix(resource)}${id}_${gid}`;
}

const REST = /^(0|[1-9][0-9]{0,5})_[0-9a-f]{16}_(.+)$/;

/** Reads a name; undefined when it is not one of ours under this prefix. */
export function readPreparedName(prefix: string, name: string): PreparedName | undefined {
  if (!name.startsWith(prefix)) return undefined;
  const [, run = '', text = ''] = REST.exec(name.slice(prefix.length)) ?? [];
  const gid = parseGid(text);
  return gid === undefined ? undefined : { gid, run: run === '0' ? undefined : Number(run) };
}

/** The resource of the branch that a prepared transaction of `database` belongs to. */
export function resourceOfPrepared(database: string, { run }: PreparedName): string {
  return resourceOf(database, run);
}
