/** The demo as a newcomer runs it: a command that shows five scenes, or seven with MariaDB, checks them, and leaves nothing behind. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { query } from '../../examples/shop/databases.ts';
import { call } from '../../examples/support/http.ts';
import { INHERITED } from '../../examples/support/processes.ts';
import { programOf } from '../../examples/support/programs.ts';
import { until } from '../../examples/support/until.ts';

/** A machine that does much else takes several times as long as one that does not. */
const DEMO_MS_MAX = 110_000;
const CLI = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));

// One after the other: each has a dozen processes to itself.
test.serial('every check of the demo holds, with MariaDB where there is one, and nothing is left behind', async (t) => {
  await using demo = await startDemo([]);
  t.is(await demo.exitCode(DEMO_MS_MAX), 0, demo.output());
  const output = demo.output();
  const times = (text: string): number => output.split(`✓ ${text}`).length - 1;
  const hasMariadb = await programOf('mariadbd', 'mariadb-server').then(
    () => true,
    () => false,
  );
  const scenes = hasMariadb ? 7 : 5;
  t.is([...output.matchAll(/^Scene \d: .+$/gm)].length, scenes);
  t.is(output.includes('without the club, which needs MariaDB: '), !hasMariadb);
  t.false(output.includes('✗'), output);
  t.is(times(`all ${hasMariadb ? 'four' : 'three'} databases are exactly as before`), hasMariadb ? 4 : 3);
  t.is(times('all three databases have it'), 2);
  t.is(times('all four databases have it'), hasMariadb ? 1 : 0);
  t.is(times('no money came or went'), scenes);
  t.is(times('no goods came or went'), scenes);
  t.is(times('no points came or went'), hasMariadb ? scenes : 0);
  t.is(times('no undo record, row lock or unfinished transaction is left'), scenes);
  t.regex(output, /^Every check held\./m);
  t.false(output.includes('\u001B'), 'no colours when the output is no terminal');
  t.deepEqual(await demo.remains(), []);
});

test.serial(
  'the checks can fail: money that somebody conjures up behind the back of all is found; with --keep the shop goes on',
  async (t) => {
    await using demo = await startDemo(['--keep']);
    const [, port] = await demo.until(/PostgreSQL listens on 127\.0\.0\.1:(\d+)/);
    await demo.until(/^Scene 1/m);
    await query(
      `postgres://postgres@127.0.0.1:${port}/accounts`,
      "begin; update account set balance = balance + 1 where id = 'ben'; commit",
    );
    await demo.until(/^\d+ checks did not hold/m);
    t.regex(demo.output(), /✗ no money came or went/);

    const [, door = ''] = await demo.until(
      /(http:\/\/127\.0\.0\.1:\d+\/orders)\n[^]*Ctrl-C stops and removes everything/,
    );
    t.is((await call('POST', door, { body: { customer: 'ada', item: 'cup', quantity: 1 } })).status, 201);
    const [, psql = ''] = await demo.until(/psql (postgres:\S+\/stock)$/m);
    t.deepEqual(await query(psql, "select available from item where id = 'cup'"), [{ available: '49' }]);

    demo.interrupt();
    t.is(await demo.exitCode(20_000), 1, demo.output());
    t.deepEqual(await demo.remains(), []);
  },
);

test.serial('Ctrl-C in the middle of a scene stops and removes everything', async (t) => {
  await using demo = await startDemo([]);
  await demo.until(/^Scene 2/m);
  demo.interrupt();
  t.is(await demo.exitCode(20_000), 130, demo.output());
  t.deepEqual(await demo.remains(), []);
});

interface RunningDemo extends AsyncDisposable {
  output(): string;
  /** The first match in the output, once it is there. */
  until(pattern: RegExp): Promise<RegExpExecArray>;
  interrupt(): void;
  exitCode(withinMs: number): Promise<number | null>;
  /** Files in its temporary folder, and processes that live there. */
  remains(): Promise<readonly string[]>;
}

async function startDemo(options: readonly string[]): Promise<RunningDemo> {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-demo-'));
  // PostgreSQL runs as another user when root starts it, and has to get through here.
  await chmod(folder, 0o711);
  const child = spawn(process.execPath, [CLI, 'demo', ...options], {
    env: { ...INHERITED, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit') as Promise<[number | null]>;
  let text = '';
  const collect = (chunk: Buffer): void => {
    text += chunk.toString();
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  return {
    output: () => text,
    until: (pattern) =>
      until(
        `the demo prints ${pattern}`,
        async () => {
          const found = pattern.exec(text);
          if (found === null && child.exitCode !== null) throw new Error(`the demo has ended:\n${text}`);
          return found ?? undefined;
        },
        { withinMs: DEMO_MS_MAX },
      ),
    interrupt: () => void child.kill('SIGINT'),
    exitCode: async (withinMs) => {
      const late = setTimeout(() => child.kill('SIGTERM'), withinMs);
      const [code] = await exited;
      clearTimeout(late);
      return code;
    },
    remains: async () => [...(await readdir(folder)), ...(await processesIn(folder))],
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null) {
        child.kill('SIGTERM');
        await exited;
      }
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The processes whose working directory lies in `folder`, or lay there. Where there is no /proc, none is found. */
async function processesIn(folder: string): Promise<readonly string[]> {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name));
  const folders = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/cwd`).catch(() => '')));
  return pids.filter((_, index) => folders[index]?.startsWith(folder) === true);
}
