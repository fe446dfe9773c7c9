/** What a database and its roles lack for prepared transactions (docs/xa.md), in words for whoever sets it up. */
import pg from 'pg';
import type { DatabaseOptions } from '../../proxy/options.ts';
import { quoteName } from '../../proxy/postgres/identifier.ts';
import { RIGHT_TO_TAKE_ON } from '../../proxy/postgres/xa/end.ts';
import { describeError } from '../exit.ts';
import type { ChosenDatabase } from './databases.ts';

const LOOK = `SELECT pg_catalog.current_setting('max_prepared_transactions')::pg_catalog.int4 AS most,
 (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = $1) AS super,
 CASE WHEN $2::pg_catalog.name IS NOT NULL THEN pg_catalog.pg_has_role($1::pg_catalog.name, $2::pg_catalog.name,
  ${RIGHT_TO_TAKE_ON}) END AS able`;

interface Found {
  readonly most: number;
  readonly super: boolean | null;
  readonly able: boolean | null;
}

/** Whether the database prepares local transactions, as its options stand: with triggers nothing escalates. */
export function prepares({ mode, escalate, capture }: DatabaseOptions): boolean {
  return mode === 'xa' || (mode === 'undo' && escalate === 'xa' && capture !== 'triggers');
}

/** A sentence for each thing that is missing, none when nothing is. `application`: the role that the application logs in as, where it was named. */
export async function xaHints(
  { database, connection }: ChosenDatabase,
  application: string | undefined,
): Promise<readonly string[]> {
  if (!prepares(database)) return [];
  const { user } = database.credentials;
  const client = new pg.Client({ connectionTimeoutMillis: 10_000, statement_timeout: 10_000, ...connection });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<Found>(LOOK, [user, application ?? null]);
    const [found] = rows;
    return found === undefined ? [] : [...serverHints(database, found), ...roleHints(user, application, found)];
  } catch (error) {
    return [`what prepared transactions need could not be looked at: ${describeError(error)}`];
  } finally {
    await client.end().catch(() => undefined);
  }
}

function serverHints({ mode }: DatabaseOptions, { most }: Found): readonly string[] {
  if (most > 0) return [];
  const set = 'set it in postgresql.conf to at least max_connections, and start the server again';
  return mode === 'xa'
    ? [`max_prepared_transactions of the server is 0, with which a sidecar with mode: xa does not start; ${set}`]
    : [
        `max_prepared_transactions of the server is 0, so changes without row images are refused; ${set}, or say escalate: off if that is meant`,
      ];
}

function roleHints(user: string, application: string | undefined, found: Found): readonly string[] {
  if (found.most === 0 || found.super === true || found.able === true) return [];
  return [`${user} cannot end what the application prepares; run: ${rightToEnd(user, application)}`];
}

/** The statement that lets the role of the second phase end what the application has prepared. */
export function rightToEnd(user: string, application: string | undefined): string {
  return `GRANT ${application === undefined ? '<role of the application>' : quoteName(application)} TO ${quoteName(user)}`;
}
