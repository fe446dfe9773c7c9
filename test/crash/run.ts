/**
 * Kills a coordinator over SQLite at every write that it makes while transactions of each kind go through it, lets some of the writes
 * fail, and takes its file up again: what was acknowledged is there and is driven to its end, nothing is half, and no decision turns.
 *
 * `node test/crash/run.ts [seed] [points]`: the order of the points, and how many of them; all, if not said. Needs strace.
 */
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { startCoordinator } from '../../src/coordinator.ts';
import { openLog } from '../../src/platform/log.ts';
import { Random } from '../simulation/random.ts';
import { begin, type Begun, resume, settled } from './initiator.ts';
import { crashOptions, FAIL_STOP } from './options.ts';
import { type Participants, startParticipants } from './participants.ts';
import { type Story, storiesOf } from './stories.ts';
import { countCalls, type Fault, startTraced } from './traced.ts';

/** Errors are tried at every so many calls; that no place is worse than another is what the kills show. */
const ERROR_STRIDE = 12;
/** Writes share commits as the moment wants it: a run may make some more of them than the one that was counted. */
const MORE = 1;

interface World {
  readonly folder: string;
  /** Where compiled code is kept, so that a process starts sooner. */
  readonly cache: string;
  readonly participants: Participants;
}

if (spawnSync('strace', ['-f', '-qq', '-o', '/dev/null', 'true']).status !== 0) {
  throw new Error('crash: strace cannot trace here: install the package strace and allow ptrace');
}
const [seed = String(Date.now() % 100_000), bound = 'Infinity'] = process.argv.slice(2);
console.log(`crash: seed ${seed}`);
const folder = await mkdtemp(join(tmpdir(), 'atomesh-crash-'));
let passed = 0;
let died = 0;
const failures: string[] = [];
try {
  await using participants = await startParticipants();
  const world = { folder, cache: join(folder, 'cache'), participants };
  const points = shuffled(await pointsOf(world), new Random(Number(seed))).slice(0, Number(bound));
  const next = points.entries();
  const work = async (): Promise<void> => {
    for (const [index, fault] of next) {
      const { faults, isHit } = await survive(world, `p${index}`, fault, index % 2 === 1);
      died += isHit ? 1 : 0;
      if (faults.length === 0) passed += 1;
      else failures.push(`${fault.kind} ${fault.syscall} ${fault.nth} (point ${index}):\n  ${faults.join('\n  ')}`);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
} finally {
  await rm(folder, { recursive: true, force: true });
}
for (const failure of failures) console.error(`crash: ${failure}`);
// A fault that nobody meets proves nothing.
if (died < passed * 0.8) failures.push('too few of the faults took place');
console.log(`crash: ${died} of ${passed + failures.length} faults took place; the others were beyond the last write`);
console.log(`crash: ${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length === 0 ? 0 : 1;

/** Every place where the process can die, and some where a write fails, as a run without faults shows them. */
async function pointsOf(world: World): Promise<readonly Fault[]> {
  const { faults } = await survive(world, 'count', undefined, false);
  if (faults.length > 0) throw new Error(`crash: without any fault: ${faults.join('; ')}`);
  const { pwrite64, fsync, unlink } = countCalls(join(world.folder, 'count'));
  return [
    ...pointsAt('pwrite64', 'before', pwrite64 + MORE),
    ...pointsAt('fsync', 'before', fsync + MORE),
    ...pointsAt('fsync', 'after', fsync + MORE),
    ...pointsAt('unlink', 'before', unlink),
    ...pointsAt('pwrite64', 'ENOSPC', pwrite64, ERROR_STRIDE),
    ...pointsAt('pwrite64', 'EIO', pwrite64, ERROR_STRIDE),
    ...pointsAt('fsync', 'EIO', fsync, ERROR_STRIDE / 3),
  ];
}

function pointsAt(syscall: Fault['syscall'], kind: Fault['kind'], count: number, stride = 1): readonly Fault[] {
  return Array.from({ length: Math.floor(count / stride) }, (_, index) => ({
    syscall,
    kind,
    nth: (index + 1) * stride,
  }));
}

/** One life of a coordinator that ends with `fault`, and the next one; what was wrong with either. */
async function survive(
  { folder: parent, cache, participants }: World,
  name: string,
  fault: Fault | undefined,
  isContrary: boolean,
): Promise<{ readonly faults: readonly string[]; readonly isHit: boolean }> {
  const own = join(parent, name);
  await mkdir(own);
  const stories = storiesOf(name, participants.url);
  const traced = await startTraced(own, cache, fault);
  const { progress, refusals } = await beginAt(traced.url, stories);
  const code = await traced.end();
  const isHit = fault !== undefined && countCalls(own)[fault.syscall] >= fault.nth;
  const faults = [...faultsOfEnd(fault, code, refusals, traced.url !== undefined)];

  // Whoever was refused before may say yes now: only what is stored keeps the decision.
  if (isContrary) for (const { gid } of stories) participants.relent(gid);
  const options = crashOptions(join(own, 'coordinator.db'));
  const coordinator = await startCoordinator(options, openLog('crash', 'silent'));
  const found = await Promise.all(
    progress.map(async (each) => {
      const { gid } = each.story;
      const lines = await resume(coordinator.url, each, isContrary, () => participants.asked(gid));
      return lines.map((line) => `${gid}: ${line}`);
    }),
  );
  await coordinator.close(1000);
  if (name !== 'count') await rm(own, { recursive: true, force: true });
  return { faults: [...faults, ...found.flat()], isHit };
}

async function beginAt(url: string | undefined, stories: readonly Story[]): Promise<Begun> {
  if (url === undefined) return { progress: stories.map((story) => ({ story, acknowledged: 0 })), refusals: [] };
  const begun = await begin(url, stories);
  await settled(url, stories);
  return begun;
}

/** What may be said while a coordinator dies, and how it may end. */
function faultsOfEnd(
  fault: Fault | undefined,
  code: number | null,
  refusals: readonly string[],
  hadBegun: boolean,
): readonly string[] {
  const isKill = fault === undefined || fault.kind === 'before' || fault.kind === 'after';
  if (isKill) return refusals.map((refusal) => `refused: ${refusal}`);
  // What is on disk after a failed fsync is not known: only a new start may say.
  if (fault.syscall === 'fsync' && hadBegun && code !== null && code !== FAIL_STOP) return [`it ended with ${code}`];
  return refusals
    .filter((refusal) => !/STORE_FAILED|store|disk/i.test(refusal))
    .map((refusal) => `refused: ${refusal}`);
}

function shuffled<T>(items: readonly T[], random: Random): readonly T[] {
  return items
    .map((item) => ({ item, rank: random.next() }))
    .sort((one, other) => one.rank - other.rank)
    .map(({ item }) => item);
}
