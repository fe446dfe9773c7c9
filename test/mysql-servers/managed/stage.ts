/** Servers with accounts for each way in which the sidecar may log in, listeners that manage logins, and clients of these. */
import { inspect } from 'node:util';
import mysql from 'mysql2/promise';
import { startMariadb, type MariadbServer } from '../../../examples/support/mariadb-server.ts';
import type { Log } from '../../../src/platform/log.ts';
import type { Certificates } from '../../login/stage.ts';
import { startListening, type Listening } from '../listening.ts';
import { hasMysql, startMysql } from '../mysql-server.ts';

/** Of the accounts at the server. */
export const SECRET = 'gehéim';
/** Of the clients, at the sidecar. */
export const CUSTOMER = 'cüstomer';

export interface Kind {
  readonly name: 'MariaDB' | 'MySQL';
  readonly isThere: boolean;
  readonly start: (certificates: Certificates) => Promise<MariadbServer>;
  /** Accounts whose password is SECRET, which need no TLS. */
  readonly roles: readonly string[];
}

const EVERY = `create database k; create database other;
  create table k.t (id int primary key);
  grant all on k.* to native@'127.0.0.1', open@'127.0.0.1', only_tls@'127.0.0.1', locked@'127.0.0.1'`;

export const KINDS: readonly Kind[] = [
  {
    name: 'MariaDB',
    isThere: true,
    roles: ['native', 'ed'],
    async start({ server, serverKey, ca }) {
      const started = await startMariadb([`--ssl-cert=${server}`, `--ssl-key=${serverKey}`, `--ssl-ca=${ca}`]);
      await started.run(`install soname 'auth_ed25519';
        create user native@'127.0.0.1' identified by '${SECRET}'; create user open@'127.0.0.1' identified by '';
        create user ed@'127.0.0.1' identified via ed25519 using password('${SECRET}');
        create user only_tls@'127.0.0.1' identified by '${SECRET}' require ssl;
        create user locked@'127.0.0.1' identified by '${SECRET}' account lock;
        ${EVERY}, ed@'127.0.0.1'`);
      return started;
    },
  },
  {
    name: 'MySQL',
    isThere: hasMysql,
    roles: ['native', 'sha2', 'sha256'],
    async start() {
      const started = await startMysql();
      await started.run(`create user native@'127.0.0.1' identified with mysql_native_password by '${SECRET}';
        create user open@'127.0.0.1' identified with caching_sha2_password by '';
        create user sha2@'127.0.0.1' identified with caching_sha2_password by '${SECRET}';
        create user sha256@'127.0.0.1' identified with sha256_password by '${SECRET}';
        create user only_tls@'127.0.0.1' identified by '${SECRET}' require ssl;
        create user locked@'127.0.0.1' identified by '${SECRET}' account lock;
        ${EVERY}, sha2@'127.0.0.1', sha256@'127.0.0.1'`);
      return started;
    },
  },
];

/** Options of a listener at which `orders` may log in, and `reports` with a role of its own. */
export function managed(role: object, further: object = {}): Readonly<Record<string, unknown>> {
  const clients = [
    { user: 'orders', password: CUSTOMER },
    { user: 'reports', password: 'of reports', role: { user: 'native', password: SECRET } },
  ];
  return { auth: { mode: 'managed', role, clients }, ...further };
}

export interface Managed extends Listening {
  /** What was logged, with its level. */
  readonly logged: readonly string[];
}

/** A listener in front of the server at `to`, whose clients are `role` there. */
export async function startManaged(to: number, role: object, further: object = {}): Promise<Managed> {
  const logged: string[] = [];
  const note =
    (level: string) =>
    (fields: object, message: string): void =>
      void logged.push(`${level} ${inspect(fields, { depth: 9, breakLength: Infinity })} ${message}`);
  const log: Log = {
    debug: note('debug'),
    info: note('info'),
    warn: note('warn'),
    error: note('error'),
    fatal: note('fatal'),
    child: () => log,
  };
  const listening = await startListening({ to, options: managed(role, further), log });
  return { ...listening, logged };
}

/** Logs in as `orders`, unless the options say otherwise. */
export function open(port: number, options: mysql.ConnectionOptions = {}): Promise<mysql.Connection> {
  return mysql.createConnection({ host: '127.0.0.1', port, user: 'orders', password: CUSTOMER, ...options });
}

/** What the server says of a session. */
export interface Told {
  readonly me: string;
  readonly db: string | null;
  readonly id: number;
  readonly tls: boolean;
}

export async function told(connection: mysql.Connection): Promise<Told> {
  const [rows] = await connection.query(
    "select substring_index(current_user(), '@', 1) as me, database() as db, connection_id() as id",
  );
  const [[cipher]] = (await connection.query("show status like 'Ssl_cipher'")) as never as [[{ Value: string }]];
  const [first] = rows as unknown as readonly Omit<Told, 'tls'>[];
  if (first === undefined) throw new Error('there is one row');
  return { ...first, tls: cipher.Value !== '' };
}

/** The error of a login that fails. */
export async function refusalOf(port: number, options: mysql.ConnectionOptions = {}): Promise<object> {
  try {
    const connection = await open(port, options);
    connection.destroy();
    return { in: true };
  } catch (error) {
    const { errno, sqlState, message } = error as { errno?: number; sqlState?: string; message: string };
    return { errno, sqlState, message };
  }
}

/** What a client hears that has not proved itself. */
export function denied(user: string, password: 'YES' | 'NO' = 'YES') {
  const message = `Access denied for user '${user}'@'127.0.0.1' (using password: ${password})`;
  return { errno: 1045, sqlState: '28000', message };
}
