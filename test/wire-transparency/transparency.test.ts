import test from 'ava';
import { hunt, type Hunt } from './hunt.ts';
import { startTwins, type Twins } from './twins.ts';

const CHUNKS = [1, 7, 65_536];
const seed = Date.now() % 0x7fff_ffff;

/** Messages that a run makes the server send, but for one or two that chance may leave out: otherwise it has shown little. */
const HEARD_OUTSIDE = '123ACDEGHINSTVZcdnst'.split('');
const HEARD_INSIDE = '123CDEHINTZcdnst'.split('');
const LEFT_OUT_MAX = 2;
const CAPTURED_MIN = 25;
/** Talks with a COPY in them, the rarest that are wanted, are one of twenty-five. */
const ROUNDS_MAX = 20;

/** Plays rounds of talks, one with most runs, until what they have shown is enough. Answers the messages that were wanted in vain. */
async function huntUntilHeard(
  twins: Twins,
  round: Omit<Hunt, 'seed'>,
  wanted: readonly string[],
  isEnough: () => boolean = () => true,
): Promise<readonly string[]> {
  const heard = new Set<string>();
  const missing = (): readonly string[] => wanted.filter((type) => !heard.has(type));
  for (let played = 0; played < ROUNDS_MAX; played += 1) {
    const { messages } = await hunt(twins, { ...round, seed: seed + played });
    for (const type of messages.keys()) heard.add(type);
    if (missing().length <= LEFT_OUT_MAX && isEnough()) break;
  }
  return missing();
}

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
      const missing = await huntUntilHeard(twins, { talks: 120, isInside: false }, HEARD_OUTSIDE);
      t.true(missing.length <= LEFT_OUT_MAX, missing.join(''));
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
    const captured = (): number => twins.sidecars.reduce((sum, { counts }) => sum + (counts['captured'] ?? 0), 0);
    const missing = await huntUntilHeard(
      twins,
      { talks: 50, isInside: true },
      HEARD_INSIDE,
      () => captured() > CAPTURED_MIN,
    );
    t.true(missing.length <= LEFT_OUT_MAX, missing.join(''));
    t.true(captured() > CAPTURED_MIN, `only ${captured()} statements were captured`);
  },
);
