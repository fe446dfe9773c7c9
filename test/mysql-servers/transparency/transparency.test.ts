import test from 'ava';
import { hasMysql, startMysql } from '../mysql-server.ts';
import { hunt, startTwins } from './hunt.ts';

const seed = Date.now() % 0x7fff_ffff;

test.serial(
  'whatever a client of MariaDB says, in any order, it hears through a sidecar what it hears without, packet by packet',
  async (t) => {
    t.log(`seed ${seed}`);
    await using twins = await startTwins([1, 7, 65_536]);
    const packets = await hunt(twins, { seed, talks: 24 });
    t.true(packets > 300, `only ${packets} packets were heard`);
    for (const { counts } of twins.sidecars) {
      t.deepEqual(counts, {}, 'something was taken for a part of a global transaction');
    }
  },
);

const withMysql = hasMysql ? test.serial : test.serial.skip;

withMysql('the same holds for a client of MySQL 8', async (t) => {
  t.log(`seed ${seed}`);
  await using twins = await startTwins([7, 65_536], startMysql);
  const packets = await hunt(twins, { seed, talks: 16 });
  t.true(packets > 200, `only ${packets} packets were heard`);
  for (const { counts } of twins.sidecars) t.deepEqual(counts, {});
});
