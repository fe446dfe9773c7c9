/** MariaDB's own client program logs in at the sidecar, by whatever method and with TLS on whatever side. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import test from 'ava';
import type { MariadbServer } from '../../../examples/support/mariadb-server.ts';
import { programOf } from '../../../examples/support/programs.ts';
import { makeCertificates, type Certificates } from '../../login/stage.ts';
import { CUSTOMER, KINDS, SECRET, startManaged } from './stage.ts';

let certificates: Certificates;
const servers = new Map<string, MariadbServer>();

test.before(async () => {
  certificates = await makeCertificates();
  for (const { name, isThere, start } of KINDS) if (isThere) servers.set(name, await start(certificates));
});
test.after.always(async () => {
  for (const server of servers.values()) await server[Symbol.asyncDispose]();
  await certificates?.[Symbol.asyncDispose]();
});

/** What the program prints, in one line. */
async function ask(port: number, password: string, options: readonly string[]): Promise<string> {
  const client = spawn(
    await programOf('mariadb', 'mariadb-client'),
    ['--no-defaults', '-N', '-B', '-h127.0.0.1', `-P${port}`, '-uorders', `--password=${password}`, ...options],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  );
  let said = '';
  for (const stream of [client.stdout, client.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
  client.stdin.end("select substring_index(current_user(), '@', 1), database(); show status like 'Ssl_cipher'");
  await once(client, 'close');
  return said.trim().replace(/\s+/g, ' ');
}

const METHODS: readonly (readonly string[])[] = [
  [],
  ['--default-auth=mysql_native_password'],
  ['--default-auth=caching_sha2_password'],
  ['--default-auth=client_ed25519'],
];

for (const { name, isThere } of KINDS) {
  const serial = isThere ? test.serial : test.serial.skip;

  serial(`${name}: the program logs in with each method, with TLS on each side and without`, async (t) => {
    const { server: certificate, serverKey: key, ca } = certificates;
    const ways = [['--skip-ssl'], ['--ssl', `--ssl-ca=${ca}`, '--ssl-verify-server-cert']];
    const port = servers.get(name)?.port ?? 0;
    for (const tls of [{ mode: 'disable' }, { mode: 'require' }]) {
      const listenTls = { certificate, key, mode: 'allow' };
      await using sidecar = await startManaged(port, { user: 'native', password: SECRET }, { tls, listenTls });
      for (const way of ways) {
        for (const method of METHODS) {
          const said = await ask(sidecar.port, CUSTOMER, [...way, ...method]);
          t.regex(said, tls.mode === 'require' ? /^native k Ssl_cipher \S+$/ : /^native k Ssl_cipher$/, method.join());
          t.regex(
            await ask(sidecar.port, 'wrong', [...way, ...method]),
            /ERROR 1045 \(28000\): Access denied for user 'orders'@'127\.0\.0\.1' \(using password: YES\)/,
          );
        }
        t.regex(await ask(sidecar.port, '', way), /ERROR 1045 \(28000\): .* \(using password: NO\)/);
        t.regex(await ask(sidecar.port, CUSTOMER, [...way, '-Dother']), /ERROR 1044 \(42000\)/);
      }
    }
  });

  serial(`${name}: a listener that demands TLS, or a certificate, asks for it ahead of the password`, async (t) => {
    const { server: certificate, serverKey: key, ca, client, clientKey } = certificates;
    const role = { user: 'native', password: SECRET };
    const port = servers.get(name)?.port ?? 0;
    const listenTls = { certificate, key, clientCa: ca };
    await using sidecar = await startManaged(port, role, { listenTls });
    const secure = ['--ssl', `--ssl-ca=${ca}`];
    t.regex(await ask(sidecar.port, CUSTOMER, ['--skip-ssl']), /ERROR 3159 .*TLS connections only/);
    t.regex(await ask(sidecar.port, CUSTOMER, secure), /ERROR 2013|ERROR 2026|SSL|Lost connection/);
    const shown = [`--ssl-cert=${client}`, `--ssl-key=${clientKey}`];
    t.regex(await ask(sidecar.port, CUSTOMER, [...secure, ...shown]), /^native k/);
    t.deepEqual(
      sidecar.logged.filter((line) => line.startsWith('warn')),
      [],
    );
  });
}
