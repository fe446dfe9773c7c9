import { once } from 'node:events';
import { connect } from 'node:net';
import test from 'ava';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { until } from '../../examples/support/until.ts';
import { initialiseDatabase } from '../../proxy/postgres/schema.ts';
import { encodeFrontend, type FrontendMessage } from '../../proxy/postgres/wire/messages.ts';
import { Random } from '../simulation/random.ts';
import { damaged } from './damaged.ts';
import { startListening } from '../sql-passthrough/support/listening.ts';
import {
  bind,
  close,
  copyData,
  copyDone,
  describe,
  execute,
  flush,
  parse,
  query,
  sync,
} from '../sql-passthrough/support/messages.ts';
import { RawClient, rowsOf, startupPacket } from '../sql-passthrough/support/raw-client.ts';

const CASES = 200;
const WORKERS = 5;
const CLOSE_MS_MAX = 10_000;
/** As long as this nothing has been answered when a visitor leaves. */
const QUIET_MS = 100;
const STARTUP = startupPacket({ user: 'postgres', database: 'postgres' });

/** What a client says inside a global transaction: the beginning stays as it is, so that the damaged rest is said there. */
const NAMING = encodeFrontend(query("set atomesh.gid = 'wire-fuzz'"));
const SAID: readonly FrontendMessage[] = [
  query('begin'),
  query('update account set amount = amount + 1 where id = 1'),
  parse('s', 'insert into account values ($1, $2) on conflict do nothing returning id'),
  describe('statement', 's'),
  bind('p', 's', ['7', '70']),
  describe('portal', 'p'),
  execute('p'),
  close('portal', 'p'),
  sync,
  parse('', 'select amount from account where id = $1'),
  bind('', '', ['1']),
  execute('', 1),
  flush,
  copyData('1\t2\n'),
  copyDone,
  sync,
  query('savepoint a'),
  query('delete from account where id = 2'),
  query('rollback to a'),
  query('commit'),
];

/** Says it all, ends its side when nothing more is answered for `quietMs`, and gives up when the connection is still there 10 s later. */
async function visit(port: number, bytes: Buffer, quietMs: number): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  socket.on('error', () => undefined).resume();
  socket.setTimeout(quietMs, () => socket.end());
  socket.write(Buffer.concat([STARTUP, NAMING, bytes]));
  await once(socket, 'close', { signal: AbortSignal.timeout(CLOSE_MS_MAX) });
}

test('damaged messages inside a global transaction end their own session at the most, and the next one works', async (t) => {
  const seed = Date.now() % 0x7fff_ffff;
  t.log(`seed ${seed}`);
  await using server = await startPostgres();
  await initialiseDatabase({ connectionString: server.url('postgres') });
  await server.run(
    'postgres',
    'create table account (id int primary key, amount int); insert into account values (1, 10), (2, 20)',
  );
  await using sidecar = await startListening({ to: server.port });
  using canary = await new RawClient({ port: sidecar.port }).logIn('postgres');
  // One that nothing has happened to, and that stays until it is answered: a busy machine may keep all the others from changing a row.
  await visit(sidecar.port, Buffer.concat([...SAID, { kind: 'terminate' } as const].map(encodeFrontend)), CLOSE_MS_MAX);
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next; index < CASES; index = next) {
      next += 1;
      const bytes = damaged(new Random(seed * 1_000_003 + index), Buffer.concat(SAID.map(encodeFrontend)));
      await visit(sidecar.port, bytes, QUIET_MS).catch((cause: unknown) => {
        throw new Error(`seed ${seed}, case ${index}: still open after ${bytes.toString('base64')}`, { cause });
      });
      const token = `canary ${index}`;
      using own = await new RawClient({ port: sidecar.port }).logIn('postgres');
      t.deepEqual(rowsOf(await own.query(`select '${token}'`)), [[token]]);
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, worker));
  t.deepEqual(rowsOf(await canary.query("select 'canary'")), [['canary']]);
  await until('every session of theirs has ended', async () => (sidecar.listener.sessions === 1 ? true : undefined));
  // Rows that were changed were captured: what is not in an undo record has not changed.
  using owner = await new RawClient({ port: server.port }).logIn('postgres');
  const [answer] = rowsOf(await owner.query('select (select count(*) from atomesh.undo_record) > 0'));
  t.deepEqual(answer, ['t']);
});
