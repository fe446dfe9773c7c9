import test, { type ExecutionContext } from 'ava';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { call } from '../../examples/support/http.ts';
import { until } from '../../examples/support/until.ts';
import { folder, ROOT, run, start } from '../cli/support.ts';

/** Three processes start one after the other, on a machine that may have much else to do. */
const START_MS_MAX = 45_000;

const SIDECAR = `service: orders
coordinator: { url: http://127.0.0.1:1 }
inbound: { listen: 127.0.0.1:0, target: 'http://127.0.0.1:\${env:PORT}' }
outbound: { listen: 127.0.0.1:0 }
control: { listen: 127.0.0.1:0 }
admin: { listen: 127.0.0.1:0 }
shutdown: { grace: 1s }
`;

/** The words that run a program of Node.js behind a sidecar. */
function words(t: ExecutionContext, program: string, options: readonly string[] = []): readonly string[] {
  const { file } = folder(t);
  const config = file('sidecar.yaml', SIDECAR);
  return ['run', '--config', config, '--port', '0', ...options, '--', process.execPath, file('app.mjs', program)];
}

/** A program that lives until it is told to end, and says which signals it got. */
const PATIENT = `
const got = [];
for (const name of ['SIGINT', 'SIGHUP', 'SIGUSR2']) process.on(name, () => { got.push(name); console.log(name); });
process.on('SIGTERM', async () => {
  // The sidecar is still there for those who tidy up.
  const { status } = await fetch(process.env.ATOMESH_ADMIN_URL + '/livez').catch((error) => ({ status: error.message }));
  console.log('end', got.join(), status);
  process.exit(5);
});
setInterval(() => undefined, 1000);
console.log(process.env.ATOMESH_ADMIN_URL, process.pid);
`;

test.serial('the exit code of the application is that of the command, and its output is its own', async (t) => {
  const { code, signal, out, err } = await run(t, words(t, `console.log('hello'); process.exit(7);`));
  t.deepEqual({ code, signal, out }, { code: 7, signal: null, out: 'hello\n' }, err);
  t.regex(err, /atomesh run: the sidecar of orders is ready; starting .*node with .*HTTP_PROXY/);
  t.regex(err, /atomesh sidecar ready: inbound 127\.0\.0\.1:\d+/);
});

for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
  test.serial(`an application that ends by ${signal} ends the command by it`, async (t) => {
    const program = `process.kill(process.pid, '${signal}'); setInterval(() => undefined, 1000);`;
    t.like(await run(t, words(t, program)), { code: null, signal });
  });
}

test.serial('a signal that leaves a core dump becomes an exit code', async (t) => {
  t.like(await run(t, words(t, `process.kill(process.pid, 'SIGQUIT'); setInterval(() => undefined, 1000);`)), {
    code: 131,
    signal: null,
  });
});

test.serial('a command that is not there is 127, one that cannot be carried out 126, as in shells', async (t) => {
  const { file, path } = folder(t);
  const config = file('sidecar.yaml', SIDECAR);
  const absent = await run(t, ['run', '-c', config, '--port', '0', '--', 'no-such-command-here']);
  t.is(absent.code, 127);
  t.regex(absent.err, /^atomesh: no-such-command-here: command not found$/m);
  const folderItself = await run(t, ['run', '-c', config, '--port', '0', '--', path]);
  t.is(folderItself.code, 126);
  t.regex(folderItself.err, /cannot be executed \(EACCES\)$/m);
});

test.serial('the application starts when the sidecar listens, on a port that both know', async (t) => {
  const program = `
import { createServer } from 'node:http';
const server = createServer((request, response) => response.end('from the application'));
server.listen(process.env.PORT, '127.0.0.1', async () => {
  const answer = await fetch(process.env.ATOMESH_INBOUND_URL + '/x', { headers: { connection: 'close' } });
  console.log(answer.status, await answer.text(), process.env.HTTP_PROXY === process.env.ATOMESH_OUTBOUND_URL);
  process.exit();
});`;
  const { code, out, err } = await run(t, words(t, program));
  t.is(code, 0, err);
  t.is(out, '200 from the application true\n');
});

test.serial('signals reach the application once, and the sidecar is there until it has ended', async (t) => {
  const running = start(t, words(t, PATIENT));
  const [admin = ''] = (await running.line).split(' ');
  running.process.kill('SIGUSR2');
  running.process.kill('SIGHUP');
  // npm passes Ctrl-C on beside the terminal: two at once are one.
  running.process.kill('SIGINT');
  running.process.kill('SIGINT');
  await until('three signals have arrived', async () => (running.output().split('\n').length > 4 ? true : undefined));
  running.process.kill('SIGTERM');
  const { code, out, err } = await running.ended;
  t.is(code, 5, err);
  t.regex(out, /^end (SIG\w+,){2}SIG\w+ 200$/m);
  await t.throwsAsync(call('GET', `${admin}/livez`));
});

test.serial('a signal to the whole group reaches the application once', async (t) => {
  const child = spawn(process.execPath, [join(ROOT, 'cli', 'main.ts'), ...words(t, PATIENT)], {
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  });
  t.teardown(() => child.kill('SIGKILL'));
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  await until('the application runs', async () => (out.includes('\n') ? true : undefined), { withinMs: START_MS_MAX });
  process.kill(-(child.pid ?? 0), 'SIGINT');
  await until('SIGINT has arrived', async () => (out.includes('SIGINT\n') ? true : undefined));
  child.kill('SIGTERM');
  t.deepEqual(await once(child, 'close'), [5, null]);
  t.regex(out, /^end SIGINT 200$/m);
});

test.serial('a sidecar that dies takes the application with it, by force after the grace period', async (t) => {
  const stubborn = `process.on('SIGTERM', () => console.log('no')); setInterval(() => undefined, 1000); console.log('up');`;
  const running = start(t, words(t, stubborn));
  await running.line;
  process.kill(await sidecarOf(running.process.pid), 'SIGKILL');
  const { code, out, err } = await running.ended;
  t.is(code, 1, err);
  t.is(out, 'up\nno\n');
  t.regex(err, /the sidecar was killed by SIGKILL; the application is stopped/);
  t.regex(err, /the application did not end within 1 s and is killed/);
});

/** A program between us and the real one, as `sh -c` with a second command is one: it passes no signal on. */
function behindShell(t: ExecutionContext, program: string): readonly string[] {
  const { file } = folder(t);
  const config = file('sidecar.yaml', SIDECAR);
  const script = `'${process.execPath}' '${file('app.mjs', program)}'; exit $?`;
  return ['run', '--config', config, '--port', '0', '--', '/bin/sh', '-c', script];
}

async function isGone(pid: string): Promise<void> {
  await until(`${pid} is gone`, async () => {
    try {
      process.kill(Number(pid), 0);
      return undefined;
    } catch {
      return true;
    }
  });
}

test.serial('a sidecar that dies takes along what a shell has started, stubborn or not', async (t) => {
  for (const onTerm of ['process.exit(0)', '{}']) {
    const program = `process.on('SIGTERM', () => ${onTerm}); setInterval(() => undefined, 1000); console.log(process.pid);`;
    const running = start(t, behindShell(t, program));
    const pid = await running.line;
    process.kill(await sidecarOf(running.process.pid), 'SIGKILL');
    const { code, err } = await running.ended;
    t.is(code, 1, err);
    await isGone(pid);
  }
});

test.serial(
  'a signal reaches the real program behind a shell, once, and the sidecar is there until that has ended',
  async (t) => {
    const program = `
let asked = 0;
process.on('SIGTERM', async () => {
  asked += 1;
  await new Promise((resolve) => setTimeout(resolve, 300));
  const { status } = await fetch(process.env.ATOMESH_ADMIN_URL + '/livez').catch((error) => ({ status: error.message }));
  console.log('end', asked, status);
  process.exit(0);
});
setInterval(() => undefined, 1000);
console.log(process.pid);`;
    const running = start(t, behindShell(t, program));
    const pid = await running.line;
    running.process.kill('SIGTERM');
    const { out, err } = await running.ended;
    t.regex(out, /^end 1 200$/m, err);
    await isGone(pid);
  },
);

test.serial('a launcher that was killed leaves nothing behind a shell either', async (t) => {
  const running = start(t, behindShell(t, PATIENT));
  const [, pid = ''] = (await running.line).split(' ');
  running.process.kill('SIGKILL');
  await isGone(pid);
  t.pass();
});

test.serial(
  'a sidecar that does not start ends the command with its code, and the application is not started',
  async (t) => {
    const { file } = folder(t);
    const config = file('sidecar.yaml', 'service: orders\n');
    const { code, out, err } = await run(t, ['run', '-c', config, '--', process.execPath, '-e', 'console.log(1)']);
    t.is(code, 78);
    t.is(out, '');
    t.regex(err, /the option "coordinator" is missing/);
  },
);

test.serial('who is asked to end before the application runs ends by that signal', async (t) => {
  const silent = createServer().listen(0, '127.0.0.1');
  await once(silent, 'listening');
  t.teardown(() => silent.close());
  const connected = once(silent, 'connection');
  const { port } = silent.address() as AddressInfo;
  const { file } = folder(t);
  const config = file(
    'sidecar.yaml',
    `${SIDECAR}databases:\n  - { name: a, listen: '127.0.0.1:0', upstream: 'postgres://127.0.0.1:${port}/a', credentials: { user: a } }\n`,
  );
  const running = start(t, ['run', '-c', config, '--port', '0', '--', process.execPath, '-e', 'console.log(1)']);
  const [socket] = (await connected) as [Socket];
  socket.on('error', () => undefined);
  running.process.kill('SIGTERM');
  t.like(await running.ended, { code: null, signal: 'SIGTERM', out: '' });
});

test.serial('neither process outlives a command that was killed', async (t) => {
  const running = start(t, words(t, PATIENT));
  const [admin = '', pid] = (await running.line).split(' ');
  running.process.kill('SIGKILL');
  await until('the application is gone', async () => {
    try {
      process.kill(Number(pid), 0);
      return undefined;
    } catch {
      return true;
    }
  });
  await until('the sidecar is gone', async () =>
    call('GET', `${admin}/livez`).then(
      () => undefined,
      () => true,
    ),
  );
  t.pass();
});

test.serial('lines are named when that is wanted', async (t) => {
  const { out, err } = await run(t, words(t, `console.log('a'); console.error('b');`, ['--prefix']));
  t.is(out, '[app] a\n');
  t.regex(err, /^\[app\] b$/m);
  t.regex(err, /^\[atomesh\] atomesh sidecar ready/m);
  t.regex(err, /^\[atomesh\] atomesh run: the sidecar of orders is ready/m);
});

test.serial(
  'a database that the sidecar does not have is an error before the application starts, secrets unsaid',
  async (t) => {
    const { file } = folder(t);
    const env = { REPORTS: 'postgres://u:canary-7f3a@db/reports' };
    const config = file('sidecar.yaml', SIDECAR);
    const unknown = ['run', '-c', config, '--port', '0', '--env', 'REPORTS=r', '--', process.execPath, '-e', ''];
    const refused = await run(t, unknown, { env });
    t.is(refused.code, 64);
    t.regex(refused.err, /which database is it\? The sidecar has none/);
    const { code, err } = await run(t, words(t, ''), { env });
    t.is(code, 0);
    t.regex(err, /REPORTS \(db\/reports\) is no database of this sidecar/);
    t.notRegex(refused.err + err, /canary/);
  },
);

/** The process that `atomesh run` with this id has started as its sidecar. */
async function sidecarOf(parent: number | undefined): Promise<number> {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid=,args=']);
  const line = stdout.split('\n').find((text) => new RegExp(`^ *\\d+ +${parent} .* sidecar --config`).test(text));
  if (line === undefined) throw new Error(`no sidecar among\n${stdout}`);
  return Number.parseInt(line, 10);
}
