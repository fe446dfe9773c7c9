/** The coordinator cannot be reached, or says nothing, at any moment of a local transaction. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import test from 'ava';
import { until } from '../../../examples/support/until.ts';
import { startMesh, type Mesh } from '../inside/mesh.ts';
import { SERVERS } from '../second-phase/world.ts';
import { told } from './side-by-side.ts';

const SCHEMA = `
create table item (id int primary key, v int);
insert into item values (1, 0), (2, 0);
create table log (id int auto_increment primary key, what int);
create trigger noted after insert on log for each row update item set v = v + 100 where id = 2;`;

const CHANGE = 'update item set v = v + 1 where id = 1';
const ESCALATES = 'insert into log (what) values (1)';

/** What is said, and the rows when all of it has taken effect. */
const TALKS: readonly (readonly [texts: readonly string[], all: string])[] = [
  [['begin', CHANGE, 'update item set v = v + 1 where id = 2', 'commit'], '1 1,2 1'],
  [['begin', CHANGE, ESCALATES, 'commit'], '1 1,2 100'],
  [['set autocommit = 0', CHANGE, 'commit'], '1 1,2 0'],
  [[CHANGE], '1 1,2 0'],
  [[ESCALATES], '1 0,2 100'],
];

/** `silent`: what is said to it arrives, and what it answers does not. */
type Fault = 'refused' | 'silent';

/** The way from the sidecar to the coordinator. */
class Way implements AsyncDisposable {
  readonly #server = createServer((near) => this.#join(near));
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #port = 0;
  #to = 0;
  #isSilent = false;

  async listen(): Promise<this> {
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
    return this;
  }

  /** Leads to the coordinator at this URL from now on. Answers the URL of its beginning. */
  leadTo(url: string): string {
    this.#to = Number(new URL(url).port);
    return `http://127.0.0.1:${this.#port}`;
  }

  #join(near: Socket): void {
    const far = connect(this.#to, '127.0.0.1');
    const pair = [near, far] as const;
    this.#pairs.add(pair);
    for (const [from, to] of [pair, [far, near] as const]) {
      from.on('data', (chunk: Buffer) => (from === far && this.#isSilent) || to.write(chunk));
      from.on('error', () => undefined);
      from.on('close', () => {
        to.destroy();
        this.#pairs.delete(pair);
      });
    }
  }

  async close(fault: Fault): Promise<void> {
    if (fault === 'silent') this.#isSilent = true;
    else {
      const closed = once(this.#server, 'close');
      this.#server.close();
      this.#cut();
      await closed;
    }
  }

  async open(): Promise<void> {
    if (this.#isSilent) this.#cut();
    this.#isSilent = false;
    if (!this.#server.listening) await this.listen();
  }

  #cut(): void {
    for (const [near, far] of this.#pairs) {
      near.destroy();
      far.destroy();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cut();
    if (this.#server.listening) this.#server.close();
  }
}

const isRefused = (answer: string): boolean => /^\d+ /.test(answer) && !/ rows, \d$/.test(answer);

for (const [name, start] of SERVERS) {
  for (const fault of ['refused', 'silent'] as const) {
    let way: Way;
    let mesh: Mesh;
    test.before(async () => {
      way = await new Way().listen();
      mesh = await startMesh({
        start,
        schema: SCHEMA,
        lockTimeoutMs: 1_000,
        database: { escalate: 'xa', xa: { recover: '1s' } },
        coordinatorOf: (url) => way.leadTo(url),
      });
    });
    test.after.always(async () => {
      await mesh?.[Symbol.asyncDispose]();
      await way?.[Symbol.asyncDispose]();
    });
    const rows = async (): Promise<string> => (await mesh.lines('select * from shop.item order by id')).join();

    test.serial(
      `${name}, ${fault}: all of a local transaction is there, or nothing and an error that says so`,
      async (t) => {
        let refusals = 0;
        for (const [texts, all] of TALKS) {
          for (let breaks = 0; breaks < texts.length; breaks += 1) {
            for (const outcome of ['rollback', 'commit'] as const) {
              const what = `${texts.join('; ')}: broken before ${breaks}, ${outcome}`;
              await mesh.owner.query('update shop.item set v = 0');
              const gid = await mesh.begin();
              const say = async (closes: boolean): Promise<readonly string[]> => {
                const client = await mesh.client();
                const answers: string[] = [];
                for (const [index, text] of texts.entries()) {
                  if (closes && index === breaks) await way.close(fault);
                  answers.push(await told(client, `${text} /*atomesh_gid='${gid}'*/`));
                }
                client.destroy();
                await way.open();
                return answers;
              };
              const answers = await say(true);
              const refused = answers.find(isRefused);
              if (refused !== undefined) {
                refusals += 1;
                t.regex(refused, /coordinator cannot be reached.*Nothing was changed/, what);
                t.is(await rows(), '1 0,2 0', what);
                t.is(answers.length, texts.length);
                t.deepEqual((await say(false)).filter(isRefused), [], `${what}, tried again`);
              }
              t.is(await mesh.end(gid, outcome), outcome === 'commit' ? 'succeed' : 'failed', what);
              t.is(await rows(), outcome === 'commit' ? all : '1 0,2 0', what);
            }
          }
        }
        t.true(refusals > 10, `${refusals} refusals`);
        t.is(await mesh.leftovers(), '0 records, 0 locks');
        t.deepEqual(await mesh.lines("select count(*) from atomesh.branch_state where state = 'active'"), ['0']);
        await until('nothing is open', async () => {
          const [open] = await mesh.lines('select count(*) from information_schema.innodb_trx');
          return open === '0' ? open : undefined;
        });
      },
    );

    test.serial(`${name}, ${fault}: a wait for a row ends by its deadline, or with the holder`, async (t) => {
      for (const isAlone of [true, false]) {
        for (const ends of [undefined, 'commit', 'rollback'] as const) {
          await mesh.owner.query('update shop.item set v = 0');
          const what = `alone ${isAlone}, the holder ends by ${ends}`;
          const [one, two] = [await mesh.begin(), await mesh.begin()];
          const [holder, waiter] = [await mesh.client(), await mesh.client()];
          await holder.query(`${CHANGE} /*atomesh_gid='${one}'*/`);
          await waiter.query(`set @atomesh_gid = '${two}'`);
          if (!isAlone) await waiter.query('begin');
          await waiter.query('update item set v = v + 5 where id = 2');
          await way.close(fault);
          const waiting = told(waiter, CHANGE);
          if (ends !== undefined) await mesh.end(one, ends);
          const answer = await waiting;
          await way.open();
          if (ends === undefined) t.regex(answer, /^1205 .* is held by global transaction/, what);
          else t.regex(answer, ends === 'commit' || isAlone ? /^1 rows/ : /^1 rows|^1213 |^1205 /, what);
          if (!isAlone) await waiter.query('rollback').catch(() => undefined);
          if (ends === undefined) await mesh.end(one, 'rollback');
          await mesh.end(two, 'rollback');
          t.is(await rows(), ends === 'commit' ? '1 1,2 0' : '1 0,2 0', what);
          for (const client of [holder, waiter]) client.destroy();
        }
      }
      t.is(await mesh.leftovers(), '0 records, 0 locks');
    });
  }
}
