/** A client goes, or its connection to the server or a statement of it is killed, at any moment of a local transaction. */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { until } from '../../../examples/support/until.ts';
import { Random } from '../../simulation/random.ts';
import { startMesh, type Mesh } from '../inside/mesh.ts';
import { SERVERS } from '../second-phase/world.ts';
import { told } from './side-by-side.ts';

const SCHEMA = `
create table item (id int primary key, v int);
insert into item values (1, 0), (2, 0), (3, 0), (9, 0);
create table log (id int auto_increment primary key, what int);
create trigger noted after insert on log for each row update item set v = v + 1 where id = 9;`;

const change = (id: number): string => `update item set v = v + 1 where id = ${id}`;

/** What is said, and the row that each text changes; 0 is none. */
const TALKS: readonly (readonly (readonly [text: string, row: number])[])[] = [
  [
    ['begin', 0],
    [change(1), 1],
    [`${change(2)} and v >= 0`, 2],
    ['savepoint a', 0],
    [change(3), 3],
    ['commit', 0],
  ],
  [
    ['begin', 0],
    [change(1), 1],
    ['insert into log (what) values (1)', 9],
    [change(2), 2],
    ['commit', 0],
  ],
  [
    [change(1), 1],
    [`${change(2)} order by v limit 1`, 2],
  ],
  [['insert into log (what) values (2)', 9]],
  [
    ['set autocommit = 0', 0],
    [change(1), 1],
    ['insert into item values (3, 7) on duplicate key update v = 1', 3],
    ['commit', 0],
  ],
];

/** `before` and `during` one of the texts: the client goes, its connection is killed, or the statement that it runs. */
const WAYS = ['gone before', 'gone during', 'killed before', 'killed during', 'interrupted during'] as const;
const DELAY_MS_MAX = 8;
const CLEAN = '0,0,0,0';

for (const [name, start] of SERVERS) {
  for (const escalate of ['off', 'xa'] as const) {
    let mesh: Mesh;
    test.before(async () => {
      mesh = await startMesh({ start, schema: SCHEMA, database: { escalate, xa: { recover: '1s' } } });
    });
    test.after.always(async () => mesh?.[Symbol.asyncDispose]());
    const values = async (): Promise<readonly string[]> => mesh.lines('select v from shop.item order by id');

    /** Says it, and lets it happen at one of the texts. Answers what was answered; what was not asked any more is undefined. */
    const say = async (
      talk: (typeof TALKS)[number],
      gid: string,
      { way, at, random }: { readonly way: (typeof WAYS)[number]; readonly at: number; readonly random: Random },
    ): Promise<readonly (string | undefined)[]> => {
      const client = await mesh.client();
      const [[row]] = (await client.query('select connection_id() as id')) as unknown as [[{ id: number }]];
      await client.query(`set @atomesh_gid = '${gid}'`);
      const happen = async (): Promise<void> => {
        if (way.startsWith('gone')) client.destroy();
        else
          await mesh.owner
            .query(`kill ${way.startsWith('inter') ? 'query' : 'connection'} ${row.id}`)
            .catch(() => undefined);
      };
      const answers: (string | undefined)[] = [];
      for (const [index, [text]] of talk.entries()) {
        if (index !== at) answers.push(await told(client, text));
        else if (way.endsWith('before')) {
          await happen();
          answers.push(way === 'gone before' ? undefined : await told(client, text));
        } else {
          const answer = Promise.race([told(client, text), sleep(3_000, undefined)]);
          await sleep(random.between(0, DELAY_MS_MAX));
          await happen();
          answers.push(way === 'gone during' ? undefined : await answer);
        }
        if (index === at && way.startsWith('gone')) break;
      }
      client.destroy();
      return answers;
    };

    test.serial(
      `${name}, escalate ${escalate}: what was told to be done is there until it is rolled back, and nothing else`,
      async (t) => {
        const seed = Date.now() % 0x7fff_ffff;
        t.log(`seed ${seed}`);
        const random = new Random(seed);
        let failures = 0;
        for (const talk of TALKS) {
          for (const at of talk.keys()) {
            for (const way of WAYS) {
              for (const outcome of ['commit', 'rollback'] as const) {
                await mesh.owner.query('update shop.item set v = 0');
                const gid = await mesh.begin();
                const answers = await say(talk, gid, { way, at, random });
                const what = `${way} ${at}, ${outcome}: ${talk.map(([text], index) => `${text} => ${answers[index]}`).join('; ')}`;
                const isDone = (index: number): boolean => / rows, \d$/.test(answers[index] ?? '');
                if (!talk.every((_, index) => isDone(index))) failures += 1;
                t.is(await mesh.end(gid, outcome), outcome === 'commit' ? 'succeed' : 'failed', what);
                const got = await values();
                if (outcome === 'rollback') {
                  t.is(got.join(), CLEAN, what);
                  continue;
                }
                // The last word is a COMMIT, or a statement that stands alone; with one that has failed nobody can know.
                const isKnown = answers.length === talk.length && isDone(talk.length - 1);
                // An error that took the whole local transaction with it has said so.
                const isLost = answers.some((answer) => answer?.startsWith('1213 '));
                for (const [index, [, row]] of talk.entries()) {
                  const value = got[row === 9 ? 3 : row - 1];
                  if (row === 0) continue;
                  if (isKnown && !isLost) t.is(value, isDone(index) ? '1' : '0', what);
                  else t.true(value === '0' || value === '1', what);
                }
              }
            }
          }
        }
        t.true(failures > 30, `${failures} failures`);
        t.is(await mesh.leftovers(), '0 records, 0 locks');
        await until('nothing is open', async () => {
          const [open] = await mesh.lines('select count(*) from information_schema.innodb_trx');
          return open === '0' ? open : undefined;
        });
      },
    );
  }
}
