/** Every order of an operation, its compensation, and a duplicate of each: takes effect once or never, whatever is late. */
import test, { type ExecutionContext } from 'ava';
import type pg from 'pg';
import type { Arrival, OperationOf } from '../../proxy/branch/barrier.ts';
import type { BranchId, Gid } from '../../src/contract/transaction.ts';
import { codeOf, markOf, run, startWorld, untilWaiting, type Isolation, type Protocol, type World } from './world.ts';

const MODES = [
  { forward: 'try', backward: 'cancel' },
  { forward: 'action', backward: 'compensate' },
] as const;
const PROTOCOLS: readonly Protocol[] = ['simple', 'extended'];
const ISOLATIONS: readonly Isolation[] = ['READ COMMITTED', 'REPEATABLE READ'];
/** A row that was written meanwhile: seen by READ COMMITTED, a conflict above it. */
const TOO_LATE: Readonly<Record<Isolation, readonly string[]>> = {
  'READ COMMITTED': ['40000', '25000'],
  'REPEATABLE READ': ['40001'],
};

interface Way {
  readonly mode: (typeof MODES)[number];
  readonly protocol: Protocol;
  readonly isolation: Isolation;
}

const WAYS: readonly Way[] = MODES.flatMap((mode) =>
  PROTOCOLS.flatMap((protocol) => ISOLATIONS.map((isolation) => ({ mode, protocol, isolation }))),
);

/** One branch, with an account of its own that holds 100. */
class Branch {
  static #count = 0;
  readonly world: World;
  readonly way: Way;
  readonly gid: Gid;
  readonly forward: OperationOf;
  readonly backward: OperationOf;

  constructor(world: World, way: Way) {
    this.world = world;
    this.way = way;
    this.gid = `gid-${(Branch.#count += 1)}` as Gid;
    const branch = '01' as BranchId;
    this.forward = { gid: this.gid, branch, task: way.mode.forward };
    this.backward = { gid: this.gid, branch, task: way.mode.backward };
  }

  async open(): Promise<this> {
    await this.world.owner.query('INSERT INTO account VALUES ($1, 100)', [this.gid]);
    return this;
  }

  /** What the application does: takes 30, or gives them back. */
  change(client: pg.Client, operation: OperationOf, comment = ''): Promise<unknown> {
    const sum = operation === this.forward ? -30 : 30;
    return run(
      client,
      this.way.protocol,
      `UPDATE account SET amount = amount + ${sum} WHERE id = '${this.gid}'${comment}`,
    );
  }

  /** Begins a local transaction, and takes its snapshot. */
  async begin(client: pg.Client, operation: OperationOf): Promise<void> {
    const { protocol, isolation } = this.way;
    await run(client, protocol, `BEGIN ISOLATION LEVEL ${isolation} /*atomesh_gid='${markOf(operation)}'*/`);
    await run(client, protocol, 'SELECT amount FROM account');
  }

  end(client: pg.Client, verb: 'COMMIT' | 'ROLLBACK'): Promise<unknown> {
    return run(client, this.way.protocol, verb);
  }

  /** A whole request, as a sidecar serves it. */
  async serve(client: pg.Client, operation: OperationOf, inBlock: boolean): Promise<Arrival> {
    const { barrier } = this.world;
    const arrival = await barrier.arrive(operation);
    if (arrival !== 'open') return arrival;
    if (inBlock) {
      await this.begin(client, operation);
      await this.change(client, operation);
      await this.end(client, 'COMMIT');
    } else await this.change(client, operation, ` /*atomesh_gid='${markOf(operation)}'*/`);
    return barrier.complete(operation);
  }

  async is(t: ExecutionContext, amount: number): Promise<void> {
    t.is(await this.world.amount(this.gid), amount);
    const { forward, backward } = this.way.mode;
    const rows = await this.world.rows(this.gid);
    t.true(rows.every((row) => row.includes(` ${forward} `) || row.includes(` ${backward} `)));
    t.deepEqual(await this.world.owner.query('SELECT FROM atomesh.undo_record').then(({ rowCount }) => rowCount), 0);
  }
}

let world: World;
let one: pg.Client;
let two: pg.Client;
test.before(async () => {
  world = await startWorld();
});
test.beforeEach(async () => {
  one = await world.client();
  two = await world.client();
});
test.afterEach.always(async () => {
  await Promise.all([one.end(), two.end()]);
});
test.after.always(() => world[Symbol.asyncDispose]());

function titled(what: string, way: Way): string {
  const { mode, protocol, isolation } = way;
  return `${what}: ${mode.forward} and ${mode.backward}, ${protocol} protocol, ${isolation}`;
}

/** All sequences of both, up to four. */
const SEQUENCES: readonly string[] = [1, 2, 3, 4].flatMap((length) =>
  Array.from({ length: 2 ** length }, (_, bits) => bits.toString(2).padStart(length, '0')),
);

for (const way of WAYS) {
  test.serial(titled('one after the other, in every order', way), async (t) => {
    for (const sequence of SEQUENCES) {
      const branch = await new Branch(world, way).open();
      let state: 'new' | 'effective' | 'undone' | 'never' = 'new';
      for (const [index, letter] of sequence.split('').entries()) {
        const isForward = letter === '0';
        const answer = await branch.serve(one, isForward ? branch.forward : branch.backward, index % 2 === 0);
        let expected: Arrival = 'done';
        if (isForward && state === 'never') expected = 'fenced';
        else if (isForward && state === 'new') state = 'effective';
        else if (!isForward && state === 'new') {
          expected = 'absorbed';
          state = 'never';
        } else if (!isForward && state === 'effective') state = 'undone';
        t.is(answer, expected, sequence);
      }
      await branch.is(t, state === 'effective' ? 70 : 100);
    }
  });

  test.serial(titled('the compensation waits for an open local transaction, then undoes it', way), async (t) => {
    const branch = await new Branch(world, way).open();
    await branch.begin(one, branch.forward);
    await branch.change(one, branch.forward);
    const undoing = branch.serve(two, branch.backward, true);
    await untilWaiting(world);
    await branch.end(one, 'COMMIT');
    t.is(await undoing, 'done');
    await branch.is(t, 100);
  });

  test.serial(titled('the compensation of a local transaction that rolls back is absorbed', way), async (t) => {
    const branch = await new Branch(world, way).open();
    await branch.begin(one, branch.forward);
    await branch.change(one, branch.forward);
    const undoing = branch.serve(two, branch.backward, true);
    await untilWaiting(world);
    await branch.end(one, 'ROLLBACK');
    t.is(await undoing, 'absorbed');
    t.is(await branch.serve(one, branch.forward, true), 'fenced');
    await branch.is(t, 100);
  });

  test.serial(titled('a local transaction that changes rows after its compensation fails', way), async (t) => {
    const branch = await new Branch(world, way).open();
    t.is(await world.barrier.arrive(branch.forward), 'open');
    await branch.begin(one, branch.forward);
    t.is(await branch.serve(two, branch.backward, true), 'absorbed');
    t.true(TOO_LATE[way.isolation].includes((await codeOf(branch.change(one, branch.forward))) ?? ''));
    await branch.end(one, 'ROLLBACK');
    t.is(await codeOf(branch.change(one, branch.forward, ` /*atomesh_gid='${markOf(branch.forward)}'*/`)), '40000');
    t.is(await world.barrier.complete(branch.forward), 'fenced');
    await branch.is(t, 100);
  });

  for (const which of ['forward', 'backward'] as const) {
    const what = `a duplicate of the ${which === 'forward' ? 'operation' : 'compensation'}`;
    test.serial(titled(`${what} waits for the first, and fails when that commits`, way), async (t) => {
      const branch = await new Branch(world, way).open();
      if (which === 'backward') await branch.serve(one, branch.forward, true);
      const operation = branch[which];
      await branch.begin(one, operation);
      await branch.begin(two, operation);
      await branch.change(one, operation);
      const duplicate = codeOf(branch.change(two, operation));
      await untilWaiting(world);
      await branch.end(one, 'COMMIT');
      t.true(TOO_LATE[way.isolation].includes((await duplicate) ?? ''));
      await branch.end(two, 'ROLLBACK');
      t.is(await world.barrier.complete(operation), 'done');
      await branch.is(t, which === 'forward' ? 70 : 100);
    });

    test.serial(titled(`${what} goes on when the first rolls back`, way), async (t) => {
      const branch = await new Branch(world, way).open();
      if (which === 'backward') await branch.serve(one, branch.forward, true);
      const operation = branch[which];
      await branch.begin(one, operation);
      await branch.begin(two, operation);
      await branch.change(one, operation);
      const duplicate = branch.change(two, operation);
      await untilWaiting(world);
      await branch.end(one, 'ROLLBACK');
      await duplicate;
      const completing = world.barrier.complete(operation);
      await untilWaiting(world);
      await branch.end(two, 'COMMIT');
      t.is(await completing, 'done');
      await branch.is(t, which === 'forward' ? 70 : 100);
    });
  }
}

for (const protocol of PROTOCOLS) {
  for (const isolation of ISOLATIONS) {
    const way: Way = { mode: MODES[0], protocol, isolation };
    test.serial(titled('a message and its back-check, in every order', way), async (t) => {
      const { barrier } = world;
      const early = await new Branch(world, way).open();
      const message = (branch: Branch) => ` /*atomesh_gid='${branch.gid}/00/msg'*/`;
      t.is(await barrier.backCheck(early.gid), 'rolled-back');
      t.is(await codeOf(early.change(one, early.forward, message(early))), '40000');
      t.is(await barrier.backCheck(early.gid), 'rolled-back');
      t.is(await world.amount(early.gid), 100);

      const sent = await new Branch(world, way).open();
      await sent.change(one, sent.forward, message(sent));
      t.is(await barrier.backCheck(sent.gid), 'committed');
      t.is(await codeOf(sent.change(one, sent.forward, message(sent))), '25000');
      t.is(await world.amount(sent.gid), 70);
      t.deepEqual(await world.rows(sent.gid), ['msg 00 msg msg']);

      for (const verb of ['COMMIT', 'ROLLBACK'] as const) {
        const open = await new Branch(world, way).open();
        await run(one, protocol, `BEGIN ISOLATION LEVEL ${isolation}${message(open)}`);
        await open.change(one, open.forward);
        const check = barrier.backCheck(open.gid);
        await untilWaiting(world);
        await open.end(one, verb);
        t.is(await check, verb === 'COMMIT' ? 'committed' : 'rolled-back');
        t.is(await world.amount(open.gid), verb === 'COMMIT' ? 70 : 100);
      }

      const late = await new Branch(world, way).open();
      await run(one, protocol, `BEGIN ISOLATION LEVEL ${isolation}${message(late)}`);
      await run(one, protocol, 'SELECT amount FROM account');
      t.is(await barrier.backCheck(late.gid), 'rolled-back');
      t.true(TOO_LATE[isolation].includes((await codeOf(late.change(one, late.forward))) ?? ''));
      await late.end(one, 'ROLLBACK');
      t.is(await world.amount(late.gid), 100);
    });
  }
}
