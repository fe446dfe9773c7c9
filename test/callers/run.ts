/**
 * Callers that are written by others, through a pair of sidecars, `outbound` and `inbound`: the program curl over each version of HTTP,
 * and gRPC's library for Python. Needs both (Debian: curl, python3-venv) and installs the library into a folder of its own. The last line
 * counts; the exit code is 1 when something has failed.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../examples/support/free-port.ts';
import { sidecarOptions } from '../../proxy/options.ts';
import { startSidecar, type Sidecar } from '../../proxy/proxy.ts';
import { startCoordinator } from '../../src/coordinator.ts';
import { coordinatorOptions } from '../../src/options.ts';
import { openLog } from '../../src/platform/log.ts';

const PROGRAM_MS_MAX = 120_000;
const execute = promisify(execFile);
const log = openLog('test', 'silent');

await using stack = new AsyncDisposableStack();
const folder = await mkdtemp(join(tmpdir(), 'atomesh-callers-'));
stack.defer(() => rm(folder, { recursive: true, force: true }));
const coordinator = await startCoordinator(
  coordinatorOptions.parse({ listen: '127.0.0.1:0', grpc: { listen: 'off' }, store: { memory: {} } }),
  log,
);
stack.defer(() => coordinator.close(100));

const counts = { passed: 0, failed: 0 };
await curl();
await python();
process.stdout.write(`callers: ${counts.passed} passed, ${counts.failed} failed\n`);
process.exitCode = counts.failed === 0 ? 0 : 1;

/** A sidecar in front of the application at `port`. */
async function sidecarOf(port: number, inbound: object): Promise<Sidecar> {
  const sidecar = await startSidecar(
    sidecarOptions.parse({
      service: 'orders',
      coordinator: { url: coordinator.url },
      control: { listen: '127.0.0.1:0' },
      admin: { listen: '127.0.0.1:0' },
      inbound: { listen: '127.0.0.1:0', target: `http://127.0.0.1:${port}`, ...inbound },
      outbound: { listen: '127.0.0.1:0' },
    }),
    log,
  );
  stack.defer(() => sidecar.close(0));
  return sidecar;
}

async function check(name: string, run: () => Promise<void>): Promise<void> {
  try {
    await run();
    counts.passed += 1;
  } catch (error) {
    counts.failed += 1;
    process.stdout.write(`callers: ${name}: ${error instanceof Error ? error.message : String(error)}\n`);
  }
}

/** An application that sends bodies back, behind a begin route at /orders. */
async function curl(): Promise<void> {
  const app = createServer((request, response) => {
    response.setHeader('x-version', request.httpVersion);
    response.setHeader('x-gid', String(request.headers['atomesh-gid']));
    request.pipe(response);
  });
  app.listen(0, '127.0.0.1');
  await once(app, 'listening');
  stack.defer(() => void app.close());
  const { ports } = await sidecarOf((app.address() as AddressInfo).port, {
    protocol: 'http1',
    transactions: [{ match: 'POST /orders', begin: {} }],
  });
  const proxy = `http://127.0.0.1:${ports.outbound}`;
  const target = `http://127.0.0.1:${ports.inbound}`;
  const body = join(folder, 'body');
  await writeFile(body, randomBytes(3 * 1024 * 1024));
  const ask = async (...words: readonly string[]): Promise<string> => {
    const usual = ['--silent', '--show-error', '--max-time', '30', '--noproxy', ''];
    return (await execute('curl', [...usual, ...words], { timeout: PROGRAM_MS_MAX })).stdout;
  };
  const upload = async (...words: readonly string[]): Promise<void> => {
    const answer = join(folder, 'answer');
    const head = await ask(...words, '--output', answer, '--dump-header', '-');
    assert.match(head, /^HTTP\/\S+ 200/m);
    assert.ok((await readFile(body)).equals(await readFile(answer)), 'the body comes back as it was sent');
  };
  for (const [name, words] of Object.entries({
    'HTTP/1.1 through both': ['--proxy', proxy],
    'HTTP/1.1 through a tunnel': ['--proxy', proxy, '--proxytunnel'],
    'HTTP/2 at inbound': ['--http2-prior-knowledge'],
    'HTTP/1.0 at inbound': ['--http1.0'],
  })) {
    await check(`${name}: a body that asks for 100 Continue`, () =>
      upload(
        ...words,
        '--expect100-timeout',
        '10',
        '--header',
        'Expect: 100-continue',
        '--data-binary',
        `@${body}`,
        target,
      ),
    );
    await check(`${name}: a request that begins`, async () => {
      const head = await ask(
        ...words,
        '--data',
        'x',
        '--output',
        '/dev/null',
        '--dump-header',
        '-',
        `${target}/orders`,
      );
      assert.match(head, /^atomesh-outcome: committed\r$/im);
      const [, gid] = /^x-gid: (\S+)\r$/im.exec(head) ?? [];
      assert.match(head, new RegExp(`^atomesh-gid: ${gid}\\r$`, 'im'));
    });
    await check(`${name}: a gid is passed on`, async () => {
      const head = await ask(...words, '--header', 'atomesh-gid: g-curl', '--head', target);
      assert.match(head, /^x-gid: g-curl\r$/im);
    });
  }
  await check('HTTP/1.1: an upload of unknown length', () =>
    upload('--proxy', proxy, '--header', 'Transfer-Encoding: chunked', '--upload-file', body, target),
  );
}

/** gRPC's library for Python as client and server. */
async function python(): Promise<void> {
  const port = await freePort();
  const { ports } = await sidecarOf(port, {
    timeout: '1s',
    protocol: 'h2c',
    transactions: [{ match: 'POST /shop.Orders/*', begin: { timeout: '20s' } }],
  });
  const here = import.meta.dirname;
  const options = { cwd: here, timeout: PROGRAM_MS_MAX };
  const environment = {
    INBOUND: `127.0.0.1:${ports.inbound}`,
    OUTBOUND: `127.0.0.1:${ports.outbound}`,
    APP_PORT: String(port),
  };
  await check('the library is installed', async () => {
    await execute('python3', ['-m', 'venv', join(folder, 'venv')], options);
    const install = ['install', '--quiet', '--disable-pip-version-check', '-r', 'requirements.txt'];
    await execute(join(folder, 'venv', 'bin', 'pip'), install, options);
  });
  const run = execute(join(folder, 'venv', 'bin', 'python'), ['-B', '-m', 'unittest', '--verbose'], {
    ...options,
    env: { ...process.env, ...environment },
  });
  // What unittest says is on standard error: "Ran 7 tests in 3.1s", and "OK".
  const { stderr } = await run.catch((error: { readonly stderr: string }) => error);
  const ran = Number(/^Ran (\d+) tests? in /m.exec(stderr)?.[1] ?? 0);
  if (ran > 0 && /^OK$/m.test(stderr)) {
    counts.passed += ran;
    return;
  }
  counts.failed += 1;
  process.stdout.write(`${stderr}\n`);
}
