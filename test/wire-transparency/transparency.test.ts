import test from 'ava';
import { hunt } from './hunt.ts';
import { startTwins } from './twins.ts';

const CHUNKS = [1, 7, 65_536];
const seed = Date.now() % 0x7fff_ffff;

/** Messages that a run makes the server send, but for one or two that chance may leave out: otherwise it has shown little. */
const HEARD_OUTSIDE = '123ACDEGHINSTVZcdnst'.split('');
const HEARD_INSIDE = '123CDEHINTZcdnst'.split('');

test.serial('a client without a gid that waits for row locks hears what it hears without a sidecar', async (t) => {
  t.log(`seed ${seed}`);
  await using twins = await startTwins(18, [65_536], { writersOutside: 'wait' });
  const { talks } = await hunt(twins, { seed, talks: 20, isInside: false, isWaiting: true });
  t.is(talks, 20);
});

for (const major of [18, 16, 14] as const) {
  test.serial(
    `PostgreSQL ${major}: whatever a client says, in any order, it hears through a sidecar what it hears without, byte for byte`,
    async (t) => {
      t.log(`seed ${seed}`);
      await using twins = await startTwins(major, CHUNKS);
      const { talks, messages } = await hunt(twins, { seed, talks: 120, isInside: false });
      t.is(talks, 120);
      t.true(HEARD_OUTSIDE.filter((type) => !messages.has(type)).length <= 2, [...messages].join(''));
      for (const { counts } of twins.sidecars)
        t.deepEqual(counts, {}, 'something was taken for a part of a global transaction');
    },
  );
}

test.serial(
  'a client that has named a gid hears what it hears without a sidecar, but for what differs by design',
  async (t) => {
    t.log(`seed ${seed}`);
    await using twins = await startTwins(18, CHUNKS);
    const { messages } = await hunt(twins, { seed, talks: 50, isInside: true });
    t.true(HEARD_INSIDE.filter((type) => !messages.has(type)).length <= 2, [...messages].join(''));
    const captured = twins.sidecars.reduce((sum, { counts }) => sum + (counts['captured'] ?? 0), 0);
    t.true(captured > 25, `only ${captured} statements were captured`);
  },
);
