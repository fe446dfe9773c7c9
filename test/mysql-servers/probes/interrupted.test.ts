/** KILL QUERY arrives with any of the texts that a sidecar says to the server, or between two statements of one. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { startMesh } from '../inside/mesh.ts';
import { SERVERS } from '../second-phase/world.ts';
import { told } from './side-by-side.ts';

const SCHEMA = `
create table item (id int primary key, v int);
insert into item values (1, 0), (3, 0);
create table log (id int auto_increment primary key, what int);
create trigger noted after insert on log for each row update item set v = v + 1 where id = 1;`;

/** What is said, and which row each text changes; -1 is none. */
const TALKS: readonly (readonly (readonly [text: string, row: number])[])[] = [
  [
    ['begin', -1],
    ['insert into item values (3, 7) on duplicate key update v = 1', 1],
    ['update item set v = v + 1 where id = 1', 0],
    ['commit', -1],
  ],
  [
    ['begin', -1],
    ['update item set v = v + 1 where id = 3 and v >= 0', 1],
    ['insert into log (what) values (1)', 0],
    ['commit', -1],
  ],
  [['update item set v = v + 1 where id = 3', 1]],
];
const SERIES = 6;
const HANGS_MS = 10_000;
/** Behind this the pieces for the server are counted. */
const ARMED = 'select connection_id() as id /* armed */';

for (const [name, start] of SERVERS) {
  for (const escalate of ['off', 'xa'] as const) {
    test(`${name}, escalate ${escalate}: a session whose statements are killed goes on, and knows what was done`, async (t) => {
      let to = 0;
      let left = 0;
      let kill = (): void => undefined;
      const wire = createServer((near) => {
        const far = connect(to, '127.0.0.1');
        let isArmed = false;
        near.on('data', (chunk: Buffer) => {
          far.write(chunk);
          if (isArmed && left > 0) {
            left -= 1;
            if (left === 0) kill();
          }
          isArmed ||= chunk.includes(ARMED);
        });
        far.on('data', (chunk: Buffer) => near.write(chunk));
        const end = (): void => {
          near.destroy();
          far.destroy();
        };
        for (const side of [near, far]) side.on('error', end).on('close', end);
      });
      wire.listen(0, '127.0.0.1');
      await once(wire, 'listening');
      const { port } = wire.address() as AddressInfo;
      await using mesh = await startMesh({
        start: async () => {
          const server = await start();
          to = server.port;
          return server;
        },
        schema: SCHEMA,
        database: { escalate, upstream: `mysql://127.0.0.1:${port}/shop`, xa: { recover: '1s' } },
      });
      const killer = await mesh.plain();
      const lives = TALKS.flatMap((talk) => Array.from({ length: SERIES }, () => talk));
      let interruptions = 0;
      for (const [life, talk] of lives.entries()) {
        for (let pieces = 1; ; pieces += 1) {
          await mesh.owner.query('update shop.item set v = 0');
          const outcome = (pieces + life) % 2 === 0 ? 'commit' : 'rollback';
          const gid = await mesh.begin();
          const client = await mesh.client();
          const [[row]] = (await client.query(ARMED)) as unknown as [[{ id: number }]];
          await client.query(`set @atomesh_gid = '${gid}'`);
          kill = () => void killer.query(`kill query ${row.id}`).catch(() => undefined);
          left = pieces;
          const answers: string[] = [];
          for (const [text] of talk)
            answers.push(await Promise.race([told(client, text), sleep(HANGS_MS, 'no answer')]));
          const wasHit = left === 0;
          left = 0;
          await killer.query('do 0');
          client.destroy();
          const what = `${pieces} pieces, ${outcome}: ${talk.map(([text], at) => `${text} => ${answers[at]}`).join('; ')}`;
          t.false(answers.includes('no answer'), what);
          t.notRegex(answers.join(), /the sidecar failed/, what);
          if (answers.some((answer) => answer.startsWith('1317 '))) interruptions += 1;
          t.is(await mesh.end(gid, outcome), outcome === 'commit' ? 'succeed' : 'failed', what);
          const values = await mesh.lines('select v from shop.item order by id');
          if (outcome === 'rollback') t.deepEqual(values, ['0', '0'], what);
          else {
            const isDone = (at: number): boolean => / rows, \d$/.test(answers[at] ?? '');
            // An error that took the local transaction with it has said so; behind a COMMIT that has failed nobody can know.
            const isKnown = isDone(talk.length - 1) && !answers.some((answer) => /^(?:1213 |gone)/.test(answer));
            for (const [at, [, place]] of talk.entries()) {
              if (place < 0) continue;
              if (isKnown) t.is(values[place], isDone(at) ? '1' : '0', what);
              else t.true(values[place] === '0' || values[place] === '1', what);
            }
          }
          if (!wasHit) break;
        }
      }
      t.true(interruptions > 0, 'some are interrupted');
      t.is(await mesh.leftovers(), '0 records, 0 locks');
      wire.close();
    });
  }
}
