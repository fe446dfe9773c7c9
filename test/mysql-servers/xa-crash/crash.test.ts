import test from 'ava';
import { Random } from '../../simulation/random.ts';
import { SERVERS } from '../second-phase/world.ts';
import { openStage } from './stage.ts';
import { nameOf, STORIES, tell } from './story.ts';

/** All are told by run.ts. */
const STORIES_TOLD = 4;

for (const [name, start] of SERVERS) {
  test(`${name}: whoever dies around XA PREPARE, both databases end the same, and nothing stays prepared or locked`, async (t) => {
    const seed = Date.now() % 100_000;
    t.log(`seed ${seed}`);
    const random = new Random(seed);
    await using stage = await openStage(start);
    let kept = 0;
    for (let told = 0; told < STORIES_TOLD; told += 1) {
      const story = STORIES[Math.floor(random.next() * STORIES.length)];
      if (story === undefined) continue;
      t.log(nameOf(story));
      if (await tell(stage, story, kept)) kept += 1;
    }
    t.pass();
  });
}
