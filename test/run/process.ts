/** An application as its team wrote it: it knows DATABASE_URL, PORT and the URL of another service, and passes `atomesh-gid` on. */
import { createServer, type IncomingMessage } from 'node:http';
import pg from 'pg';

const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'], max: 2 });
pool.on('error', () => undefined);

const server = createServer((request, response) => {
  place(request).then(
    (status) => response.writeHead(status).end(),
    (error: unknown) => response.writeHead(500).end(String(error)),
  );
});
server.listen(Number(process.env['PORT']), '127.0.0.1', () => console.log('listening'));
process.once('SIGTERM', () => void pool.end().then(() => process.exit(0)));

async function place(request: IncomingMessage): Promise<number> {
  const gid = String(request.headers['atomesh-gid']);
  const client = await pool.connect();
  try {
    await client.query('begin');
    await client.query("select set_config('atomesh.gid', $1, true)", [gid]);
    await client.query("insert into item (name) values ('teapot')");
    await client.query('commit');
  } finally {
    client.release();
  }
  const answer = await fetch(String(process.env['OTHER_URL']), {
    method: 'POST',
    headers: { 'atomesh-gid': gid },
    signal: AbortSignal.timeout(10_000),
  });
  return answer.status;
}
