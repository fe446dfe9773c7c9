import anyTest, { type TestFn } from 'ava';
import { startPostgres, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { DEATHS, faultOf } from './deaths.ts';
import { openStage, type Stage } from './stage.ts';

const test = anyTest as TestFn<{ server: PostgresServer; stage: Stage }>;

test.before(async (t) => {
  t.timeout(60_000);
  t.context.server = await startPostgres();
  t.context.stage = await openStage(t.context.server, 'shop');
});
test.after.always(async (t) => {
  await t.context.stage?.[Symbol.asyncDispose]();
  await t.context.server?.[Symbol.asyncDispose]();
});

/** All of them take minutes: `node test/mesh-crash/run.ts`. These are where it hurts most. */
const SAMPLE = [
  '/workflow app two',
  '/workflow sidecar coordinator after answer',
  '/message app msgCOMMIT',
  '/message sidecar msganswer',
  '/tcc app tryanswer',
  '/tcc sidecar self after confirm',
  '/tcc coordinator coordinator after submit',
  '/saga sidecar bank after action',
];

for (const name of SAMPLE) {
  test.serial(`all or nothing, once, and as the client was told: ${name}`, async (t) => {
    t.timeout(60_000);
    const death = DEATHS.find(({ path, victim, gate }) => `${path} ${victim} ${gate}` === name);
    if (death === undefined) return t.fail('there is no such death');
    t.is(await faultOf(t.context.stage, death), undefined);
  });
}
