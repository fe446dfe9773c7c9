/** The connection between sidecar and server ends, at any moment of a local transaction. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import test from 'ava';
import { until } from '../../../examples/support/until.ts';
import { Random } from '../../simulation/random.ts';
import { startMesh } from '../inside/mesh.ts';
import { SERVERS } from '../second-phase/world.ts';

const SCHEMA = `
create table item (id int primary key, v int);
insert into item values (1, 0), (2, 0);
create table log (id int auto_increment primary key, what int);
create trigger noted after insert on log for each row update item set v = v + 100 where id = 2;`;

/** What is said, and the values of the two rows when it has all taken effect. */
const TALKS: readonly (readonly [texts: readonly string[], all: string])[] = [
  [
    [
      'begin',
      'update item set v = v + 1 where id = 1',
      'savepoint a',
      'insert into item values (2, 9) on duplicate key update v = v + 1',
      'commit',
    ],
    '1,1',
  ],
  [['begin', 'update item set v = v + 1 where id = 1', 'insert into log (what) values (1)', 'commit'], '1,100'],
  [['update item set v = v + 1'], '1,1'],
  [['insert into log (what) values (1)'], '0,100'],
];

/** A connection on which this is said is cut off, that many pieces later in either direction. */
const ARMED = 'select 1 /* armed */';

class Wire {
  readonly server: Server;
  to = 0;
  /** Pieces until the cut. */
  left = 0;

  constructor() {
    this.server = createServer((near) => {
      const far = connect(this.to, '127.0.0.1');
      const cut = (): void => {
        near.destroy();
        far.destroy();
      };
      let isArmed = false;
      const pass = (to: Socket, chunk: Buffer): void => {
        isArmed ||= chunk.includes(ARMED);
        if (isArmed && this.left > 0) {
          this.left -= 1;
          if (this.left === 0) return cut();
        }
        to.write(chunk);
      };
      near.on('data', (chunk: Buffer) => pass(far, chunk));
      far.on('data', (chunk: Buffer) => pass(near, chunk));
      for (const side of [near, far]) side.on('error', cut).on('close', cut);
    });
  }
}

for (const [name, start] of SERVERS) {
  test(`${name}: a connection that is lost leaves all of a local transaction or nothing, and nothing when it is rolled back`, async (t) => {
    const seed = Date.now() % 0x7fff_ffff;
    t.log(`seed ${seed}`);
    const random = new Random(seed);
    const wire = new Wire();
    wire.server.listen(0, '127.0.0.1');
    await once(wire.server, 'listening');
    const { port } = wire.server.address() as AddressInfo;
    await using mesh = await startMesh({
      start: async () => {
        const server = await start();
        wire.to = server.port;
        return server;
      },
      schema: SCHEMA,
      database: { escalate: 'xa', upstream: `mysql://127.0.0.1:${port}/shop` },
    });
    let cuts = 0;
    for (const [texts, all] of TALKS) {
      for (const outcome of ['rollback', 'commit'] as const) {
        for (let pieces = random.between(1, 4); ; pieces += random.between(2, 5)) {
          await mesh.owner.query('update shop.item set v = 0');
          const gid = await mesh.begin();
          const client = await mesh.client();
          wire.left = pieces;
          let isDone = true;
          for (const text of [ARMED, ...texts.map((each) => `${each} /*atomesh_gid='${gid}'*/`)])
            isDone =
              isDone &&
              (await client
                .query(text)
                .then(() => true)
                .catch(() => false));
          const wasCut = wire.left === 0;
          wire.left = 0;
          client.destroy();
          const what = `${texts.join('; ')}: ${outcome}, cut after ${pieces} pieces`;
          t.is(await mesh.end(gid, outcome), outcome === 'commit' ? 'succeed' : 'failed', what);
          const values = (await mesh.lines('select v from shop.item order by id')).join(',');
          const possible = outcome === 'rollback' ? ['0,0'] : isDone ? [all] : ['0,0', all];
          t.true(possible.includes(values), `${what}: ${values}`);
          if (!wasCut) break;
          cuts += 1;
        }
      }
    }
    t.true(cuts > 15, `only ${cuts} cuts`);
    t.is(await mesh.leftovers(), '0 records, 0 locks');
    await until('nothing is open', async () => {
      const [open] = await mesh.lines('select count(*) from information_schema.innodb_trx');
      return open === '0' ? open : undefined;
    });
    wire.server.close();
  });
}
