/** Certificates in files, a PostgreSQL server with roles for every kind of login, and logins through node-postgres. */
import { chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import pg from 'pg';
import { startPostgres, type PostgresMajor, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { makeAuthority, makeServerCertificate } from '../sql-passthrough/support/certificate.ts';

const NOBODY = 65_534;

/** Paths of PEM files. The server's certificate is for 127.0.0.1. */
export interface Certificates extends AsyncDisposable {
  readonly ca: string;
  readonly server: string;
  readonly serverKey: string;
  /** Names `orders_app`, and is signed by the same authority. */
  readonly client: string;
  readonly clientKey: string;
  /** An authority that has signed none of them, and a certificate of its. */
  readonly otherCa: string;
  readonly other: string;
  readonly otherKey: string;
  /** Writes a further certificate for 127.0.0.1 over the server's. */
  renew(): Promise<void>;
}

/** Makes them in a folder of their own, which a server that runs as `nobody` can read. */
export async function makeCertificates(): Promise<Certificates> {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-login-'));
  await chmod(folder, 0o711);
  const authority = makeAuthority('the authority');
  const others = makeAuthority('somebody else');
  const write = async (name: string, text: string): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, text, { mode: 0o600 });
    // The server does not run as root, and takes a key only from its own user.
    if (process.getuid?.() === 0) await chown(path, NOBODY, NOBODY);
    return path;
  };
  const pair = async (name: string, host: string, by = authority): Promise<readonly [string, string]> => {
    const made = makeServerCertificate(host, by);
    return [await write(`${name}.pem`, made.pem), await write(`${name}.key`, made.keyPem)];
  };
  const [server, serverKey] = await pair('server', '127.0.0.1');
  const [client, clientKey] = await pair('client', 'orders_app');
  const [other, otherKey] = await pair('other', 'orders_app', others);
  return {
    ca: await write('ca.pem', authority.pem),
    server,
    serverKey,
    client,
    clientKey,
    otherCa: await write('other-ca.pem', others.pem),
    other,
    otherKey,
    async renew() {
      await pair('server', '127.0.0.1');
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/**
 * Roles named by how they log in, all with the password `secret` where they have one: by_scram, by_md5, by_plain, by_trust,
 * by_certificate (which the certificate of orders_app stands for), never; and orders_app, by SCRAM. Databases `postgres` and `orders`.
 */
export async function startServer(major: PostgresMajor, certificates?: Certificates): Promise<PostgresServer> {
  const server = await startPostgres({
    major,
    ...(certificates === undefined
      ? {}
      : {
          settings: {
            ssl: 'on',
            ssl_cert_file: certificates.server,
            ssl_key_file: certificates.serverKey,
            ssl_ca_file: certificates.ca,
          },
        }),
  });
  await server.run('postgres', 'create database orders');
  await server.run(
    'postgres',
    `set password_encryption = 'scram-sha-256'; create role by_scram login password 'secret'; create role orders_app login password 'secret';
     create role by_plain login password 'secret'; create role by_trust login; create role by_certificate login; create role never login;
     set password_encryption = 'md5'; create role by_md5 login password 'secret'`,
  );
  const by = (role: string, method: string): string => `host all ${role} 127.0.0.1/32 ${method}`;
  await server.authenticate([
    by('by_scram', 'scram-sha-256'),
    by('orders_app', 'scram-sha-256'),
    by('by_md5', 'md5'),
    by('by_plain', 'password'),
    by('never', 'reject'),
    ...(certificates === undefined ? [] : ['hostssl all by_certificate 127.0.0.1/32 trust clientcert=verify-ca']),
  ]);
  return server;
}

export interface LoginOptions {
  readonly port: number;
  readonly user?: string;
  readonly password?: string;
  readonly database?: string;
  readonly ssl?: ConnectionOptions;
  readonly isDirect?: boolean;
  readonly isBound?: boolean;
}

const WHO = `select current_user as "user", current_database() as database, coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false) as ssl`;

/** Who one is after a login through node-postgres; or the error, as its SQLSTATE and message. */
export async function logIn(options: LoginOptions): Promise<object> {
  const client = new pg.Client({
    host: '127.0.0.1',
    port: options.port,
    user: options.user ?? 'orders',
    password: options.password ?? 'customer',
    database: options.database ?? 'orders',
    ...(options.ssl === undefined ? {} : { ssl: options.ssl }),
    ...(options.isDirect === true ? { sslnegotiation: 'direct' as const } : {}),
    ...(options.isBound === true ? { enableChannelBinding: true } : {}),
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<object>(WHO);
    await client.end();
    return rows[0] ?? {};
  } catch (error) {
    // Not waited for: after an alert of TLS node-postgres never says that it has ended.
    void client.end().catch(() => undefined);
    const { code, message } = error as { readonly code?: string; readonly message: string };
    return { code, message };
  }
}
