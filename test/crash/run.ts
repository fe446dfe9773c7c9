/**
 * Kills a coordinator over SQLite at every write and fsync that it makes, from its start on, while transactions of each kind go through it; lets
 * these fail too; and takes its file up again: what was acknowledged is there and is driven to its end, nothing is half, and no decision turns.
 *
 * `node test/crash/run.ts [seed] [errors]`: the order of the points, and how many of the writes and fsyncs to let fail after the start; all, if
 * not said. The kills, and the errors at the start, are always all. Needs strace.
 */
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { startCoordinator } from '../../src/coordinator.ts';
import { openLog } from '../../src/platform/log.ts';
import { Random } from '../simulation/random.ts';
import { begin, type Begun, resume, settled } from './initiator.ts';
import { crashOptions, FAIL_STOP } from './options.ts';
import { type Participants, startParticipants } from './participants.ts';
import { type Story, storiesOf } from './stories.ts';
import { callsIn, type End, type Fault, hitBy, type Program, startTraced } from './traced.ts';

/** Writes share commits as the moment wants it: a run may make some more of them than the one that was counted. */
const MORE = 1;

interface World {
  readonly folder: string;
  /** Where compiled code is kept, so that a process starts sooner. */
  readonly cache: string;
  readonly participants: Participants;
}

interface Points {
  /** All kills, and all errors at the start. */
  readonly always: readonly Fault[];
  /** Errors later on: a sample of them will do. */
  readonly errors: readonly Fault[];
  /** An fsync late in the life of the process. */
  readonly late: Fault;
}

if (spawnSync('strace', ['-f', '-qq', '-o', '/dev/null', 'true']).status !== 0) {
  throw new Error('crash: strace cannot trace here: install the package strace and allow ptrace');
}
const [seed = String(Date.now() % 100_000), bound = 'Infinity'] = process.argv.slice(2);
console.log(`crash: seed ${seed}`);
// As strace names it.
const folder = await realpath(await mkdtemp(join(tmpdir(), 'atomesh-crash-')));
let passed = 0;
let died = 0;
const failures: string[] = [];
try {
  await using participants = await startParticipants();
  const world = { folder, cache: join(folder, 'cache'), participants };
  const random = new Random(Number(seed));
  const { always, errors, late } = await pointsOf(world);
  // Who does not see a process that goes on after a failed fsync sees nothing at all.
  const { faults: seen } = await survive(world, 'mutant', late, false, 'mutant');
  if (!seen.some((fault) => fault.includes('went on'))) failures.push(`the mutant was not noticed: ${seen.join('; ')}`);
  const next = shuffled([...always, ...shuffled(errors, random).slice(0, Number(bound))], random).entries();
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
// A fault that nobody meets proves nothing; but on a busy machine more writes share a commit than when they were counted.
if (died < passed * 0.7) failures.push('too few of the faults took place');
console.log(`crash: ${died} of ${passed + failures.length} faults took place; the others were beyond the last write`);
console.log(`crash: ${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length === 0 ? 0 : 1;

/** Every place where the process can die and where a write or fsync can fail, as runs without faults show them. */
async function pointsOf(world: World): Promise<Points> {
  const atStart = await countsOfStart(world);
  const { faults } = await survive(world, 'count', undefined, false);
  if (faults.length > 0) throw new Error(`crash: without any fault: ${faults.join('; ')}`);
  const inAll = countsIn(join(world.folder, 'count'));
  const errors = [
    ...pointsAt('pwrite64', 'ENOSPC', inAll.pwrite64),
    ...pointsAt('pwrite64', 'EIO', inAll.pwrite64),
    ...pointsAt('fsync', 'EIO', inAll.fsync),
  ];
  const isAtStart = ({ syscall, nth }: Fault): boolean => nth <= atStart[syscall];
  return {
    always: [
      ...pointsAt('pwrite64', 'before', inAll.pwrite64 + MORE),
      ...pointsAt('fsync', 'before', inAll.fsync + MORE),
      ...pointsAt('fsync', 'after', inAll.fsync + MORE),
      ...pointsAt('unlink', 'before', inAll.unlink),
      ...errors.filter(isAtStart),
    ],
    errors: errors.filter((fault) => !isAtStart(fault)),
    // Not the very last, which may be missing when writes happen to share a commit.
    late: { syscall: 'fsync', kind: 'EIO', nth: Math.floor(inAll.fsync * 0.7) },
  };
}

type Counts = Readonly<Record<Fault['syscall'], number>>;

function countsIn(folder: string): Counts {
  const countOf = (syscall: Fault['syscall']): number => callsIn(folder, syscall).length;
  return { pwrite64: countOf('pwrite64'), fsync: countOf('fsync'), unlink: countOf('unlink') };
}

/** What it takes to make the file and to listen. */
async function countsOfStart({ folder: parent, cache }: World): Promise<Counts> {
  const own = join(parent, 'start');
  await mkdir(own);
  await (await startTraced(own, cache, undefined, 'coordinator')).end();
  return countsIn(own);
}

function pointsAt(syscall: Fault['syscall'], kind: Fault['kind'], count: number): readonly Fault[] {
  return Array.from({ length: count }, (_, index) => ({ syscall, kind, nth: index + 1 }));
}

/** One life of a coordinator that ends with `fault`, and the next one; what was wrong with either. */
async function survive(
  { folder: parent, cache, participants }: World,
  name: string,
  fault: Fault | undefined,
  isContrary: boolean,
  program: Program = 'coordinator',
): Promise<{ readonly faults: readonly string[]; readonly isHit: boolean }> {
  const own = join(parent, name);
  await mkdir(own);
  const stories = storiesOf(name, participants.url);
  const traced = await startTraced(own, cache, fault, program);
  const { progress, refusals } = await beginAt(traced.url, stories);
  const end = await traced.end();
  const hit = hitBy(fault, own);
  const faults = [...faultsOfAnswers(fault, refusals)];
  // SQLite does without the sync of a folder where it fails, and so does whoever finds the file again.
  const isForgiven = fault?.kind === 'EIO' && hit === own;
  if (fault !== undefined && hit !== undefined && !isForgiven) {
    faults.push(...faultsOfEnd(fault, end, traced.url !== undefined));
  }

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
  return { faults: [...faults, ...found.flat()], isHit: hit !== undefined };
}

async function beginAt(url: string | undefined, stories: readonly Story[]): Promise<Begun> {
  if (url === undefined) return { progress: stories.map((story) => ({ story, acknowledged: 0 })), refusals: [] };
  const begun = await begin(url, stories);
  await settled(url, stories);
  return begun;
}

/** What may be said while a coordinator dies: nothing, or that its store has failed. */
function faultsOfAnswers(fault: Fault | undefined, refusals: readonly string[]): readonly string[] {
  const isError = fault?.kind === 'ENOSPC' || fault?.kind === 'EIO';
  return refusals
    .filter((refusal) => !isError || !/STORE_FAILED|store|disk/i.test(refusal))
    .map((refusal) => `refused: ${refusal}`);
}

/** How it may end that has met its fault. What is on disk after a failed write or fsync is not known: only a new start may say. */
function faultsOfEnd({ kind }: Fault, end: End, hasListened: boolean): readonly string[] {
  if (kind === 'before' || kind === 'after') return end.kind === 'struck' ? [] : ['it outlived its end'];
  if (end.kind !== 'exited') return [`it went on after ${kind}`];
  const isRight = hasListened ? end.code === FAIL_STOP : end.code !== 0;
  return isRight ? [] : [`it ended with ${end.code} after ${kind}`];
}

function shuffled<T>(items: readonly T[], random: Random): readonly T[] {
  return items
    .map((item) => ({ item, rank: random.next() }))
    .sort((one, other) => one.rank - other.rank)
    .map(({ item }) => item);
}
