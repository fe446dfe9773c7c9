/**
 * TCP ports on 127.0.0.1 for servers that are started later, or again after they were killed.
 *
 * A port that was free a moment ago may be taken when it is used: by an outgoing connection, or by another run of an
 * example. So all ports lie below those that systems give to outgoing connections (Linux from 32,768, others from 49,152),
 * and come from a block that this process owns as long as it lives: whoever listens on the first port of a block owns it.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { newId } from '../../src/platform/random.ts';

const PORT_MIN = 10_000;
const BLOCKS = 400;
const BLOCK_PORTS = 50;
const TRIES_MAX = 1000;

interface Block {
  /** Listens on the first port. */
  readonly owner: Server;
  /** The next port to hand out. */
  next: number;
  readonly end: number;
}

/** The block that this process hands out ports from; a property of the process, as its ports are. */
let current: Promise<Block> | undefined;

/** A free port. Never the same twice in this process, nor in another one that gets its ports here while this one lives. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const taken = (current ??= takeBlock());
    const block = await taken;
    if (block.next === block.end) {
      if (current === taken) current = undefined;
      continue;
    }
    const port = block.next;
    block.next += 1;
    const probe = await listenOn(port);
    if (probe === undefined) continue;
    probe.close();
    await once(probe, 'close');
    return port;
  }
  throw new Error(`found no free TCP port on 127.0.0.1 in ${TRIES_MAX} tries`);
}

async function takeBlock(): Promise<Block> {
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const first = PORT_MIN + BLOCK_PORTS * (Number.parseInt(newId().slice(0, 8), 16) % BLOCKS);
    const owner = await listenOn(first);
    if (owner === undefined) continue;
    owner.unref();
    owner.on('connection', (socket) => socket.destroy());
    return { owner, next: first + 1, end: first + BLOCK_PORTS };
  }
  throw new Error(`found no free block of TCP ports on 127.0.0.1 in ${TRIES_MAX} tries`);
}

/** A server that listens on this port, or undefined when the port is taken. */
async function listenOn(port: number): Promise<Server | undefined> {
  const server = createServer();
  server.listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
    return server;
  } catch {
    return undefined;
  }
}
