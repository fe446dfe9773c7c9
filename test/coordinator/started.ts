/** Coordinators and branches for tests: real sockets, real files, everything given back at the end. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { z } from 'zod';
import { type Coordinator, startCoordinator } from '../../src/coordinator.ts';
import { coordinatorOptions } from '../../src/options.ts';
import { openLog } from '../../src/platform/log.ts';

export interface TestCoordinator extends Coordinator, AsyncDisposable {
  /** The SQLite file. */
  readonly path: string;
  /** Sends a request and parses the answer when it is JSON. */
  ask(method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<TestAnswer>;
}

export interface TestAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: any; // oxlint-disable-line typescript/no-explicit-any -- tests look into answers of every shape
}

/** Starts a coordinator on a port and a SQLite file of its own. */
export async function startTestCoordinator(
  options: Partial<z.input<typeof coordinatorOptions>> = {},
): Promise<TestCoordinator> {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-coordinator-'));
  const path = join(folder, 'coordinator.db');
  const parsed = coordinatorOptions.parse({
    listen: '127.0.0.1:0',
    grpc: { listen: '127.0.0.1:0' },
    store: { sqlite: { path } },
    log: { level: 'silent' },
    ...options,
  });
  const coordinator = await startCoordinator(parsed, openLog('test', parsed.log.level)).catch(
    async (error: unknown): Promise<never> => {
      await rm(folder, { recursive: true, force: true });
      throw error;
    },
  );
  let closing: Promise<void> | undefined;
  const close = (graceMs = 500): Promise<void> => (closing ??= coordinator.close(graceMs));
  return {
    ...coordinator,
    path,
    close,
    ask: async (method, path, body, headers = {}) => {
      const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
      const answer = await fetch(coordinator.url + path, {
        method,
        headers,
        ...(text === undefined ? {} : { body: text }),
      });
      const received = await answer.text();
      const isJson = answer.headers.get('content-type') === 'application/json';
      return { status: answer.status, headers: answer.headers, body: isJson ? JSON.parse(received) : received };
    },
    [Symbol.asyncDispose]: async () => {
      await close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export interface BranchRequest {
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface TestBranch extends AsyncDisposable {
  readonly url: string;
  /** What has been asked so far, in order. */
  readonly requests: readonly BranchRequest[];
}

/** What a branch answers; undefined: nothing, ever. */
export type BranchAnswer = {
  readonly status: number;
  readonly body?: string;
  readonly headers?: Record<string, string>;
};

/** Starts a participant that answers as `answer` says. */
export async function startTestBranch(
  answer: (request: BranchRequest) => BranchAnswer | undefined = () => ({ status: 200 }),
): Promise<TestBranch> {
  const requests: BranchRequest[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const asked = { method: request.method, path: request.url, headers: request.headers, body };
    requests.push(asked);
    const reply = answer(asked);
    if (reply !== undefined) response.writeHead(reply.status, reply.headers).end(reply.body ?? '{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Waits until `holds`, at most `deadlineMs`. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, deadlineMs = 30_000): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`still waiting after ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 10);
    });
  }
}
