/** A real Redis server from the operating system's packages, for tests and examples: 127.0.0.1 only, on a port of its own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { endWithUs } from './end-with-us.ts';
import { freePort } from './free-port.ts';
import { programOf } from './programs.ts';
import { until } from './until.ts';

export interface RedisServer {
  readonly port: number;
  /** `redis://127.0.0.1:<port>`. */
  readonly url: string;
  /** Ends it as a power cut would; `start` brings it back with its data, which it writes to an append-only file at once. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Stops the server and deletes its data. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts an empty server. Rejects with `ProgramMissing` when the operating system has none. */
export async function startRedis(): Promise<RedisServer> {
  const binary = await programOf('redis-server', 'redis-server');
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-redis-'));
  const port = await freePort();
  let running: ChildProcess | undefined;
  const server: RedisServer = {
    port,
    url: `redis://127.0.0.1:${port}`,
    async start() {
      running = await startIn(binary, folder, port);
    },
    async kill() {
      const child = running;
      running = undefined;
      if (child !== undefined) await kill(child);
    },
    async [Symbol.asyncDispose]() {
      await server.kill();
      await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    },
  };
  try {
    await server.start();
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
  return server;
}

async function startIn(binary: string, folder: string, port: number): Promise<ChildProcess> {
  const settings = [
    '--bind',
    '127.0.0.1',
    '--dir',
    folder,
    '--save',
    '',
    '--appendonly',
    'yes',
    '--appendfsync',
    'always',
  ];
  const child = spawn(binary, ['--port', String(port), ...settings], {
    cwd: folder,
    env: { PATH: process.env['PATH'], LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  });
  endWithUs(child, 'SIGKILL', folder);
  let failure: Error | undefined;
  let output = '';
  child.once('error', (error) => {
    failure = error;
  });
  child.stdout.on('data', (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-4000);
  });
  await until('Redis is ready', async () => {
    if (failure !== undefined || isOver(child)) return 'over';
    return (await answersPing(port)) ? 'ready' : undefined;
  });
  if (failure !== undefined) throw failure;
  if (isOver(child)) throw new Error(`Redis did not start:\n${output}`);
  return child;
}

/** `PING` as an inline command (Redis serialization protocol), so that no client is needed here. */
async function answersPing(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    socket.end('PING\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    return answer.toString() === '+PONG\r\n';
  } finally {
    socket.destroy();
  }
}

async function kill(child: ChildProcess): Promise<void> {
  if (isOver(child)) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

function isOver(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}
