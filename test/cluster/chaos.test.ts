import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { now } from '../../src/platform/clock.ts';
import { Random } from '../simulation/random.ts';
import { faultsOf, type Member, openCluster, startParticipant, statusOf } from './cluster.ts';
import { startCuttable } from './cuttable.ts';

const LEASE_MS = 1000;
const STORM_MS = 6000;
const CLIENTS = 8;
/** Of an undecided transaction. */
const TIMEOUT_MS = 4000;

/** What the client of a transaction knows for certain. */
type Known = 'succeed' | 'failed';

/** Sends a request to one member after the other until one gives an answer that means something. */
async function insist(members: readonly Member[], random: Random, path: string, body: object): Promise<number> {
  for (const deadline = now() + 60_000; now() < deadline;) {
    const member = members[random.between(0, members.length - 1)];
    const answer = await member?.ask('POST', path, body, 1500).catch(() => undefined);
    if (answer !== undefined && answer.status < 500) return answer.status;
    await pause(50);
  }
  throw new Error(`${path} was never answered`);
}

/** Begins, enlists, and decides or not; answers how it has to end. */
async function transact(members: readonly Member[], random: Random, gid: string, url: string): Promise<Known> {
  await insist(members, random, '/v1/transactions', { gid, timeoutMs: TIMEOUT_MS, retryIntervalMs: 100 });
  for (const resource of ['one', 'two']) {
    const operations = { commit: `${url}/commit`, rollback: `${url}/rollback` };
    const status = await insist(members, random, `/v1/transactions/${gid}/branches`, {
      kind: 'xa',
      resource,
      operations,
    });
    // Too late: it was rolled back at its deadline.
    if (status === 409) return 'failed';
  }
  const decision = random.chance(0.6) ? 'submit' : random.chance(0.5) ? 'abort' : 'neither';
  if (decision === 'neither') return 'failed';
  const status = await insist(members, random, `/v1/transactions/${gid}/${decision}`, {});
  return decision === 'submit' && status === 200 ? 'succeed' : 'failed';
}

test('in a storm of kills, pauses and cuts no transaction is lost, none driven by two, none half done', async (t) => {
  const seed = (now() % 1_000_000) + 1;
  t.log(`seed ${seed}`);
  const random = new Random(seed);
  await using server = await startPostgres();
  await using cluster = await openCluster(server, LEASE_MS);
  await using participant = await startParticipant({ delayMs: 20, status: 200 });
  await using ways = new AsyncDisposableStack();
  const nodes = await Promise.all(
    ['a', 'b', 'c'].map(async (name) => {
      const way = ways.use(await startCuttable(server.port));
      const member = await cluster.add(name, { database: way.port });
      await member.process.start();
      return { way, member };
    }),
  );
  const members = nodes.map(({ member }) => member);

  const known = new Map<string, Known>();
  const endsAt = now() + STORM_MS;
  const client = async (number: number): Promise<void> => {
    for (let count = 0; now() < endsAt; count += 1) {
      const gid = `g${number}-${count}`;
      known.set(gid, await transact(members, random, gid, participant.url));
    }
  };
  const storm = async (): Promise<void> => {
    while (now() < endsAt) {
      const node = nodes[random.between(0, nodes.length - 1)];
      if (node === undefined) continue;
      const { member, way } = node;
      const strike = random.between(0, 4);
      participant.behaviour = { delayMs: random.between(1, 200), status: random.chance(0.2) ? 500 : 200 };
      if (strike === 0) {
        await member.process.kill();
        await member.process.start();
      } else if (strike === 1) {
        await member.process.pause();
        await pause(random.between(100, 2 * LEASE_MS));
        member.process.resume();
      } else {
        if (strike === 2) way.cut();
        else way.hang();
        await pause(random.between(100, 2 * LEASE_MS));
        way.mend();
      }
    }
  };
  await Promise.all([storm(), ...Array.from({ length: CLIENTS }, (_, number) => client(number))]);

  participant.behaviour = { delayMs: 1, status: 200 };
  t.true(known.size > CLIENTS, `${known.size} transactions`);
  for (const [gid, wanted] of known) {
    for (const member of members) t.is(await statusOf(member, gid, '20s'), wanted, `${gid} at ${member.name}`);
  }
  const asked = new Map<string, Set<string>>();
  for (const { gid, operation } of participant.calls) {
    asked.set(gid, (asked.get(gid) ?? new Set()).add(operation));
  }
  for (const [gid, operations] of asked) {
    t.deepEqual([...operations], [known.get(gid) === 'succeed' ? 'commit' : 'rollback'], gid);
  }
  for (const [gid, wanted] of known) if (wanted === 'succeed') t.true(asked.has(gid), gid);
  t.deepEqual(faultsOf(await cluster.history(), LEASE_MS), []);
  t.log(`${known.size} transactions, ${participant.calls.length} calls`);
});
