import { mkdtemp, rm, writeFile, chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { startMariadb, type MariadbServer } from '../../examples/support/mariadb-server.ts';
import { follow, type Followed } from './follow.ts';
import { credentials } from './login.ts';
import { rawClient } from './raw-client.ts';
import { startRecording } from './recording.ts';
import { SCHEMA, VARIANTS, commandLine, driver, rareCommands } from './sessions.ts';

let server: MariadbServer;

test.before(async () => {
  server = await startMariadb();
  await server.run(
    'set global max_allowed_packet = 67108864, global progress_report_time = 1, global local_infile = 1',
  );
  // One statement: the body of the procedure has semicolons too.
  const [body, procedure] = [
    SCHEMA.slice(0, SCHEMA.indexOf('create procedure')),
    SCHEMA.slice(SCHEMA.indexOf('create procedure')),
  ];
  await server.run(body);
  await server.run(`use k; ${procedure}`);
});

test.after.always(async () => {
  await server?.[Symbol.asyncDispose]();
});

/** What was found in the connections of a client. */
async function recorded(client: (port: number) => Promise<unknown>): Promise<readonly Followed[]> {
  const recording = await startRecording(server.port);
  try {
    await client(recording.port);
  } finally {
    recording.close();
  }
  return recording.connections.map(follow);
}

test('all that MariaDB’s own client says and hears is decoded, encoded to the same bytes, and ends where it is expected to', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-infile-'));
  try {
    const file = join(folder, 'rows.csv');
    await writeFile(file, 'a,b\nc,d\n');
    await chmod(folder, 0o755);
    const [found] = await recorded((port) =>
      commandLine(
        port,
        server.user,
        `select * from every; selekt; status; use k; begin; update every set t = 2; commit;
         load data local infile '${file}' into table every fields terminated by ',' (c, v);
         load data local infile '${file}.missing' into table every (v);
         call twice(2); select repeat('x', 17000000); show warnings; select length('${'y'.repeat(17_000_000)}');`,
      ),
    );
    t.is(found?.unanswered, 0);
    t.true((found?.roles.get('local-infile') ?? 0) >= 2);
    t.true((found?.roles.get('error') ?? 0) >= 1);
    t.true((found?.roles.get('result-end') ?? 0) >= 2);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('the same holds for mysql2, in text and in binary', async (t) => {
  const [found] = await recorded((port) => driver(port, server.user));
  t.is(found?.unanswered, 0);
  for (const role of ['columns', 'prepared', 'definition', 'row', 'local-infile', 'result-end', 'error'] as const) {
    t.true((found?.roles.get(role) ?? 0) > 0, role);
  }
  for (const change of ['schema', 'transaction-characteristics', 'variables'] as const) {
    t.true(found?.stateChanges.has(change), change);
  }
});

for (const [name, capabilities] of Object.entries(VARIANTS)) {
  test(`the same holds for cursors, long data, bulk rows, pipelines and rare commands: ${name}`, async (t) => {
    const [found] = await recorded((port) => rareCommands(port, server.user, capabilities));
    t.is(found?.unanswered, 0);
    for (const kind of ['stmt-fetch', 'stmt-send-long-data', 'stmt-close', 'field-list', 'change-user'] as const) {
      t.true((found?.commands.get(kind) ?? 0) > 0, kind);
    }
    t.true((found?.roles.get('authentication') ?? 0) > 0);
  });
}

test('the server takes what is computed for its methods of authentication, and nothing for a wrong password', async (t) => {
  await server.run(`install soname 'auth_ed25519';
    create user native@'127.0.0.1' identified by 'pässwörd'; create user nobody@'127.0.0.1' identified by '';
    create user ed@'127.0.0.1' identified via ed25519 using password('pässwörd');
    grant all on k.* to native@'127.0.0.1', ed@'127.0.0.1', nobody@'127.0.0.1'`);
  for (const [user, password, method] of [
    ['native', 'pässwörd', 'mysql_native_password'],
    ['nobody', '', 'mysql_native_password'],
    ['ed', 'pässwörd', 'client_ed25519'],
  ] as const) {
    const login = credentials(Buffer.from(password));
    const client = await rawClient(server.port, user, 0n, 'k', login);
    t.is(login.methods.at(-1), method);
    client.close();
    await t.throwsAsync(rawClient(server.port, user, 0n, 'k', credentials(Buffer.from('wrong'))), {
      message: /Access denied/,
    });
  }
});
