/**
 * A PostgreSQL client that copies a great deal in or out and keeps nothing of it, in a process of its own. A question is a `CopyLoad` as
 * JSON; the answer is how many seconds it took.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { BACKEND, createFrameReader, FRONTEND } from '../../proxy/postgres/wire/frames.ts';
import { encodeQuery } from '../../proxy/postgres/wire/query.ts';
import { encodeStartupPacket } from '../../proxy/postgres/wire/startup.ts';

export interface CopyLoad {
  readonly port: number;
  readonly direction: 'in' | 'out';
  readonly megabytes: number;
}

const MEGABYTE = 1_000_000;
/** A row with its line feed. */
const ROW_BYTES = 1_000;
const ROW = Buffer.from(`${'x'.repeat(ROW_BYTES - 1)}\n`);
/** The server makes the rows, and throws those away that it gets. */
const OUT = (rows: number): string =>
  `COPY (SELECT repeat('x', ${ROW_BYTES - 1}) FROM generate_series(1, ${rows})) TO STDOUT`;
const IN = 'COPY copied FROM STDIN WHERE false';
/** As libpq sends: a message a row, many rows in a write. */
const ROWS_A_WRITE = 64;

async function open(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  const parameters = [
    ['user', 'postgres'],
    ['database', 'postgres'],
  ].map(([name, value]) => [Buffer.from(name ?? ''), Buffer.from(value ?? '')] as const);
  socket.write(encodeStartupPacket({ kind: 'startup', protocol: 196_608, parameters }));
  return socket;
}

/** Waits for messages of these types, one after the other; all else is read and thrown away. */
function listen(socket: Socket): (type: number) => Promise<void> {
  const reader = createFrameReader({
    direction: 'backend',
    holds: (type) => type === BACKEND.error,
    maxBytes: MEGABYTE,
  });
  let waiting: { readonly type: number; readonly done: () => void; readonly fail: (error: Error) => void } | undefined;
  const fail = (message: string): void => {
    waiting?.fail(new Error(message));
    waiting = undefined;
  };
  socket.on('data', (chunk: Buffer) => {
    reader.push(chunk);
    while (reader.next()) {
      if (reader.type === BACKEND.error) fail(reader.body().toString('latin1'));
      if (!reader.isLast || reader.type !== waiting?.type) continue;
      waiting.done();
      waiting = undefined;
    }
  });
  socket.on('close', () => fail('the server closed the connection'));
  return (type) =>
    new Promise((done, reject) => {
      waiting = { type, done, fail: reject };
    });
}

async function run({ port, direction, megabytes }: CopyLoad): Promise<number> {
  const socket = await open(port);
  const heard = listen(socket);
  await heard(BACKEND.readyForQuery);
  const rows = (megabytes * MEGABYTE) / ROW_BYTES;
  const start = performance.now();
  socket.write(encodeQuery({ kind: 'query', text: Buffer.from(direction === 'out' ? OUT(rows) : IN) }));
  if (direction === 'in') {
    await heard(BACKEND.copyInResponse);
    await send(socket, rows);
  }
  await heard(BACKEND.readyForQuery);
  const seconds = (performance.now() - start) / 1000;
  socket.removeAllListeners('close');
  socket.destroy();
  return seconds;
}

async function send(socket: Socket, rows: number): Promise<void> {
  const message = Buffer.alloc(ROW.length + 5);
  message[0] = FRONTEND.copyData;
  message.writeInt32BE(ROW.length + 4, 1);
  ROW.copy(message, 5);
  const messages = Buffer.concat(Array.from({ length: ROWS_A_WRITE }, () => message));
  for (let left = rows; left > 0; left -= ROWS_A_WRITE) {
    if (!socket.write(messages)) await once(socket, 'drain');
  }
  socket.write(Buffer.from([FRONTEND.copyDone, 0, 0, 0, 4]));
}

process.on('message', (question: string) => {
  run(JSON.parse(question) as CopyLoad).then(
    (seconds) => process.send?.({ seconds }),
    (error: unknown) => process.send?.({ error: String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
process.send?.({ port: 0 });
