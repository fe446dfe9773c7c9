import { readFileSync } from 'node:fs';
import test from 'ava';
import pg from 'pg';
import { NOTHING_LEFT, startMesh } from '../sql-e2e/mesh.ts';
import { makeCertificates } from './stage.ts';

test('a managed session with TLS on both sides takes part in global transactions, and their second phase has TLS too', async (t) => {
  await using certificates = await makeCertificates();
  const { ca, server: certificate, serverKey: key, client, clientKey } = certificates;
  await using mesh = await startMesh({
    major: 18,
    schema: `create table account (id int primary key, balance int not null);
      insert into account values (1, 100), (2, 100);
      create role orders_app login password 'secret';
      grant select, insert, update, delete on account to orders_app`,
    tables: ['account'],
    settings: { ssl: 'on', ssl_cert_file: certificate, ssl_key_file: key, ssl_ca_file: ca },
    database: {
      listenTls: { certificate, key, clientCa: ca },
      tls: { mode: 'verify-full', ca, certificate: client, key: clientKey },
      auth: {
        mode: 'managed',
        role: { user: 'orders_app', password: 'secret' },
        clients: [{ user: 'orders', password: 'customer' }],
      },
    },
  });
  await mesh.server.authenticate([
    'hostssl all orders_app 127.0.0.1/32 scram-sha-256 clientcert=verify-ca',
    'hostnossl all orders_app 127.0.0.1/32 reject',
  ]);
  const session = new pg.Client({
    ...mesh.through,
    user: 'orders',
    password: 'customer',
    ssl: { ca: readFileSync(ca), cert: readFileSync(client), key: readFileSync(clientKey) },
    enableChannelBinding: true,
  });
  await session.connect();
  const before = await mesh.dump();
  for (const outcome of ['rollback', 'commit'] as const) {
    const gid = await mesh.begin();
    await session.query('begin');
    await session.query("select set_config('atomesh.gid', $1, true)", [gid]);
    await session.query('update account set balance = balance - 10 where id = $1', [1]);
    await session.query('update account set balance = balance + 10 where id = $1', [2]);
    await session.query('commit');
    t.notDeepEqual(await mesh.dump(), before);
    await mesh.end(gid, outcome);
    if (outcome === 'rollback') t.deepEqual(await mesh.dump(), before);
    else
      t.deepEqual((await session.query('select balance from account order by id')).rows, [
        { balance: 90 },
        { balance: 110 },
      ]);
    t.is(await mesh.leftovers(), NOTHING_LEFT);
  }
  await session.end();
});
