/** The README's "Put it beside your own service", done word for word; only ports and the passwords' places differ. */
import test from 'ava';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { until } from '../../examples/support/until.ts';
import { coordinator, folder, ROOT, run, start } from './support.ts';

const README = readFileSync(join(ROOT, 'README.md'), 'utf8');
const ENVIRONMENT = { ATOMESH_DB_PASSWORD: 'change me', ADMIN_PASSWORD: 'not asked for' };

/** The texts of the README's fenced blocks in `language`. */
function blocks(language: string): readonly string[] {
  return [...README.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(([, text = '']) => text);
}

/** The one block that has `part` in it. */
function block(language: string, part: string): string {
  const found = blocks(language).filter((text) => text.includes(part));
  if (found.length !== 1) throw new Error(`${found.length} blocks of ${language} with ${part}`);
  return found[0] ?? '';
}

/** The words after `npm run atomesh --` of the only such line that starts with `command`. */
function words(command: string): readonly string[] {
  const line = new RegExp(`^npm run atomesh -- (${command} [^#\n]*)`, 'm').exec(README)?.[1];
  if (line === undefined) throw new Error(`no line with ${command}`);
  return line.trim().split(/ +/);
}

test('what the README says about one service is enough to commit and to roll back', async (t) => {
  await using server = await startPostgres();
  await server.run('postgres', 'create role orders_app login');
  await server.run('postgres', 'create database orders owner orders_app');
  const table = (name: string): string =>
    `set role orders_app; create table ${name} (id bigint generated always as identity primary key, item text)`;
  await server.run('orders', table('early'));
  await server.run('orders', block('sql', 'CREATE ROLE atomesh'));
  await server.run('orders', table('late'));
  await server.authenticate(['host all atomesh 127.0.0.1/32 scram-sha-256']);

  let sqlPort = 0;
  const application = createServer(async (request, response) => {
    const client = new pg.Client({ host: '127.0.0.1', port: sqlPort, user: 'orders_app', database: 'orders' });
    await client.connect();
    await client.query('begin');
    await client.query("select set_config('atomesh.gid', $1, true)", [request.headers['atomesh-gid']]);
    for (const name of ['early', 'late']) await client.query(`insert into ${name} (item) values ('teapot')`);
    await client.query('commit');
    await client.end();
    response.writeHead(Number(request.headers['x-answer'])).end();
  }).listen(0, '127.0.0.1');
  await once(application, 'listening');
  t.teardown(() => application.close());

  const { url } = await coordinator(t);
  const { path, file } = folder(t);
  const yaml = block('yaml', 'trustGid')
    .replace('http://127.0.0.1:36789', url)
    .replace('127.0.0.1:3000', `127.0.0.1:${(application.address() as AddressInfo).port}`)
    .replace('127.0.0.1:5432', `127.0.0.1:${server.port}`)
    .replaceAll(/(listen: [\d.]+):\d+/g, '$1:0');
  file('sidecar.yaml', `${yaml}control: { listen: 127.0.0.1:0 }\nadmin: { listen: 127.0.0.1:0 }\n`);

  const initialised = await run(t, words('db init'), { cwd: path, env: ENVIRONMENT });
  t.is(initialised.code, 0, initialised.err);
  const sidecar = start(t, words('sidecar'), { cwd: path, env: ENVIRONMENT });
  const ports = /inbound [\d.]+:(\d+).* orders [\d.]+:(\d+) →/.exec(await sidecar.line);
  sqlPort = Number(ports?.[2]);

  const order = async (answer: number): Promise<Headers> => {
    const headers = { 'x-answer': String(answer), 'atomesh-gid': 'chosen-by-a-customer' };
    const response = await fetch(`http://127.0.0.1:${ports?.[1]}/orders`, { method: 'POST', headers });
    t.is(response.status, answer);
    t.not(response.headers.get('atomesh-gid'), 'chosen-by-a-customer');
    return response.headers;
  };
  const admin = new pg.Client({ connectionString: server.url('orders') });
  await admin.connect();
  const counted = async (): Promise<string> => {
    const { rows } = await admin.query<{ found: string }>(
      `select concat_ws(' ', (select count(*) from early), (select count(*) from late), (select count(*) from atomesh.undo_record)) as found`,
    );
    return rows[0]?.found ?? '';
  };
  try {
    t.is((await order(409)).get('atomesh-outcome'), 'rolled-back');
    await until('rolled back', async () => ((await counted()) === '0 0 0' ? true : undefined));
    t.is((await order(201)).get('atomesh-outcome'), 'committed');
    await until('committed', async () => ((await counted()) === '1 1 0' ? true : undefined));
  } finally {
    await admin.end();
  }
});

test('every configuration file in the README is right', async (t) => {
  const { file } = folder(t);
  const files = blocks('yaml');
  t.is(files.length, 2);
  for (const [index, text] of files.entries()) {
    const { code, err } = await run(t, ['config', 'check', file(`${index}.yaml`, text)], { env: ENVIRONMENT });
    t.is(code, 0, err);
    t.is(err, '');
  }
});
