import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import fc from 'fast-check';
import type pg from 'pg';
import { until } from '../../examples/support/until.ts';
import type { Gid } from '../../src/contract/transaction.ts';
import { NOTHING_LEFT, type Mesh } from './mesh.ts';
import { commented, reset, startShopMesh } from './prove.ts';
import type { FrontendMessage } from '../../proxy/postgres/wire/messages.ts';
import { openWire, say } from './wire-client.ts';

/** Long, so that nothing here passes because a wait has run out. */
const LOCK_TIMEOUT_MS = 20_000;

let mesh: Mesh;
let before: Awaited<ReturnType<Mesh['dump']>>;
test.before(async () => {
  mesh = await startShopMesh(18, LOCK_TIMEOUT_MS);
  before = await mesh.dump();
});
test.after.always(() => mesh[Symbol.asyncDispose]());
test.afterEach.always(() => reset(mesh));

type Say = (text: string) => readonly FrontendMessage[];

const WAYS: Readonly<Record<string, Say>> = {
  simple: (text) => [say.query(text)],
  extended: (text) => [...say.run(text), say.sync],
};

const ADD = 'UPDATE item SET qty = qty + 10 WHERE id = 1';

/** Waits until a statement with such a text waits for a lock on the server. */
async function isWaiting(text: string): Promise<void> {
  await until(`a statement with ${text} waits for a lock`, async () => {
    const { rows } = await mesh.twin.query(
      "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1",
      [`%${text}%`],
    );
    return rows.length > 0 ? true : undefined;
  });
}

/** A session outside the mesh takes the row that the statements here change. */
async function outsiderTakesTheRow(): Promise<AsyncDisposable & { giveBack(): Promise<void> }> {
  await mesh.owner.query('BEGIN; SELECT FROM item WHERE id = 1 FOR UPDATE');
  const giveBack = async (): Promise<void> => void (await mesh.owner.query('ROLLBACK'));
  return { giveBack, [Symbol.asyncDispose]: giveBack };
}

/** Resolves when a statement has met the holder's row lock, and the sidecar asks what has become of the holder. */
async function isMet(holder: Gid): Promise<void> {
  await mesh.line.heard(`GET /v1/transactions/${holder}`);
}

/** The SQLSTATE that a query ends with. */
async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'none',
    (error: pg.DatabaseError) => error.code ?? error.message,
  );
}

/** Sends the client's cancel request to the sidecar. */
function cancel(client: pg.Client): void {
  const { processID, secretKey } = client as unknown as { readonly processID: number; readonly secretKey: number };
  const request = Buffer.alloc(16);
  for (const [index, word] of [16, 80_877_102, processID, secretKey].entries()) request.writeInt32BE(word, index * 4);
  connect(mesh.through.port ?? 0, '127.0.0.1')
    .on('error', () => undefined)
    .end(request);
}

/** Waits until the coordinator has rolled the whole back. */
async function rolledBack(gid: Gid): Promise<void> {
  const { status } = await mesh.over(gid);
  if (status !== 'failed') throw new Error(`global transaction ${gid} is ${status}`);
}

/** The lines that are neither rows nor completions. */
function endings(lines: readonly string[]): string[] {
  return lines.filter((line) => /^(?:error|ready)/.test(line)).map((line) => line.split(' ').slice(0, 3).join(' '));
}

/** Where the statement that meets the outsider stands in its local transaction. */
const PLACES: Readonly<Record<string, readonly string[]>> = {
  'a statement outside a block': [],
  'the first statement of a block': ['BEGIN'],
  'a later statement of a block': ['BEGIN', 'UPDATE lonely SET v = 8', 'SAVEPOINT a'],
};

for (const [way, messages] of Object.entries(WAYS)) {
  for (const [place, lead] of Object.entries(PLACES)) {
    test.serial(
      `${place} that waits for an outsider's lock ends with its global transaction, by the ${way} protocol`,
      async (t) => {
        await using wire = await openWire(mesh.through);
        const gid = await mesh.begin();
        await using outsider = await outsiderTakesTheRow();
        for (const text of lead) await wire.ask(...messages(commented(text, gid)));
        wire.send(...messages(commented(ADD, gid)));
        await isWaiting('atomesh_c');
        await mesh.coordinator.abort(gid, {});
        const isInBlock = lead.length > 0;
        t.deepEqual(endings(await wire.answers.ready(1)), ['error ERROR 40000', isInBlock ? 'ready E' : 'ready I']);
        await rolledBack(gid);
        if (isInBlock) {
          t.deepEqual(endings(await wire.ask(...messages('SELECT 1'))), ['error ERROR 40000', 'ready E']);
          t.deepEqual((await wire.ask(...messages('COMMIT'))).slice(-2), ['done ROLLBACK', 'ready I']);
        }
        t.deepEqual((await wire.ask(...messages('SELECT 1'))).slice(-2), ['done SELECT 1', 'ready I']);
        t.deepEqual(await mesh.dump(), before);
        t.is(await mesh.leftovers(), NOTHING_LEFT);
        // The session is as good as new.
        await outsider.giveBack();
        const next = await mesh.begin();
        t.is((await wire.ask(...messages(commented(ADD, next)))).at(-2), 'done UPDATE 1');
        await mesh.end(next, 'rollback');
        t.deepEqual(await mesh.dump(), before);
      },
    );
  }
}

test.serial(
  'a statement that waits for an outsider at the deadline ends then, and not when the outsider does',
  async (t) => {
    await using wire = await openWire(mesh.through);
    await using _ = await outsiderTakesTheRow();
    const gid = await mesh.begin(500);
    await wire.ask(say.query(commented('BEGIN', gid)));
    const lines = await wire.ask(say.query(ADD));
    t.deepEqual(endings(lines), ['error ERROR 40000', 'ready E']);
    await rolledBack(gid);
    t.is(await mesh.leftovers(), NOTHING_LEFT);
  },
);

test.serial('a read that waits for an outsider ends with its global transaction too', async (t) => {
  await using wire = await openWire(mesh.through);
  await using _ = await outsiderTakesTheRow();
  const gid = await mesh.begin();
  await wire.ask(say.query(commented('BEGIN', gid)), say.query('UPDATE lonely SET v = 8'));
  wire.send(...say.run('SELECT qty FROM item WHERE id = 1 FOR UPDATE'), say.sync);
  await isWaiting('FOR UPDATE');
  await mesh.coordinator.abort(gid, {});
  t.deepEqual(endings(await wire.answers.ready(1)), ['error ERROR 40000', 'ready E']);
  await rolledBack(gid);
  t.deepEqual((await wire.ask(say.query('ROLLBACK'))).slice(-2), ['done ROLLBACK', 'ready I']);
  t.deepEqual(await mesh.dump(), before);
});

/** What stands ahead of a pipeline, and how that ends. */
const PIPELINES: readonly (readonly [lead: readonly string[], end: string])[] = [
  [[], 'ready I'],
  [['BEGIN'], 'ready E'],
];

for (const [lead, end] of PIPELINES) {
  test.serial(
    `a pipeline ${lead.length === 0 ? 'of its own' : 'in a block'} that is stopped half-way gets one error, and nothing behind it`,
    async (t) => {
      await using wire = await openWire(mesh.through);
      await using _ = await outsiderTakesTheRow();
      const gid = await mesh.begin();
      for (const text of lead) await wire.ask(say.query(commented(text, gid)));
      wire.send(
        ...say.run(commented('UPDATE lonely SET v = 8', gid)),
        ...say.run(commented(ADD, gid)),
        ...say.run('DELETE FROM lonely'),
        ...say.run('SELECT 1'),
        say.sync,
      );
      await isWaiting('atomesh_c');
      await mesh.coordinator.abort(gid, {});
      t.deepEqual(endings(await wire.answers.ready(1)), ['error ERROR 40000', end]);
      await rolledBack(gid);
      t.deepEqual((await wire.ask(say.query('ROLLBACK'))).at(-1), 'ready I');
      t.deepEqual((await wire.ask(say.query('SELECT 1'))).slice(-2), ['done SELECT 1', 'ready I']);
      t.deepEqual(await mesh.dump(), before);
      t.is(await mesh.leftovers(), NOTHING_LEFT);
    },
  );
}

test.serial('a statement that waits for the row of another gid ends when its own is rolled back', async (t) => {
  const [holder, waiter] = [await mesh.begin(), await mesh.begin()];
  const one = await mesh.client();
  await using wire = await openWire(mesh.through);
  await one.query(commented(ADD, holder));
  await wire.ask(say.query(commented('BEGIN', waiter)), say.query('UPDATE lonely SET v = 8'));
  wire.send(say.query(ADD));
  await isMet(holder);
  await mesh.coordinator.abort(waiter, {});
  t.deepEqual(endings(await wire.answers.ready(1)), ['error ERROR 40000', 'ready E']);
  await rolledBack(waiter);
  t.is((await wire.ask(say.query('ROLLBACK'))).at(-1), 'ready I');
  await mesh.end(holder, 'rollback');
  t.deepEqual(await mesh.dump(), before);
  await one.end();
});

for (const [place, lead] of Object.entries(PLACES)) {
  test.serial(`${place} that waits for an outsider's lock can be cancelled by its client`, async (t) => {
    const client = await mesh.client();
    await using outsider = await outsiderTakesTheRow();
    const gid = await mesh.begin();
    for (const text of lead) await client.query(commented(text, gid));
    const waiting = codeOf(client.query({ text: commented(`${ADD} RETURNING $1::int`, gid), values: [1] }));
    await isWaiting('atomesh_c');
    cancel(client);
    t.is(await waiting, '57014');
    if (lead.length > 0) await client.query('ROLLBACK');
    await outsider.giveBack();
    t.is((await client.query(commented(ADD, gid))).rowCount, 1, 'the gid goes on');
    await mesh.end(gid, 'rollback');
    t.deepEqual(await mesh.dump(), before);
    await client.end();
  });
}

/** What locks a row that somebody else holds, without waiting for that: by itself or together with what comes behind. */
const LOCKING_READS: Readonly<Record<string, readonly string[]>> = {
  'SELECT … FOR UPDATE of a subquery': ['SELECT qty FROM (SELECT * FROM item) AS i WHERE id = 1 FOR UPDATE'],
  'SELECT … FOR NO KEY UPDATE of an earlier savepoint': [
    'SELECT qty FROM (SELECT * FROM item) AS i WHERE id = 1 FOR NO KEY UPDATE',
    'SAVEPOINT a',
  ],
  'a cursor FOR SHARE': ['DECLARE c CURSOR FOR SELECT qty FROM item WHERE id = 1 FOR SHARE', 'FETCH 1 FROM c'],
};

for (const [lock, texts] of Object.entries(LOCKING_READS)) {
  for (const [way, messages] of Object.entries(WAYS)) {
    for (const when of ['before', 'while'] as const) {
      test.serial(
        `a block that keeps a row by ${lock} gives up at once when its holder rolls back ${when} it waits, by the ${way} protocol`,
        async (t) => {
          const [holder, waiter] = [await mesh.begin(), await mesh.begin()];
          const one = await mesh.client();
          await using wire = await openWire(mesh.through);
          await one.query(commented(ADD, holder));
          for (const text of ['BEGIN', ...texts]) await wire.ask(...messages(commented(text, waiter)));
          if (when === 'before') await mesh.coordinator.abort(holder, {});
          wire.send(...messages(commented(ADD, waiter)));
          if (when === 'while') {
            await isMet(holder);
            await mesh.coordinator.abort(holder, {});
          }
          // These lines are waited for half as long as lockTimeout.
          t.deepEqual(endings(await wire.answers.ready(1)), ['error ERROR 40001', 'ready E']);
          t.deepEqual((await wire.ask(...messages('ROLLBACK'))).slice(-2), ['done ROLLBACK', 'ready I']);
          await rolledBack(holder);
          for (const text of ['BEGIN', ...texts, ADD, 'COMMIT']) {
            t.regex((await wire.ask(...messages(commented(text, waiter)))).at(-1) ?? '', /^ready [TI]$/, text);
          }
          await mesh.end(waiter, 'commit');
          const { rows } = await mesh.owner.query('SELECT qty FROM item WHERE id = 1');
          t.deepEqual(rows, [{ qty: 11 }]);
          t.is(await mesh.leftovers(), NOTHING_LEFT);
          await one.end();
        },
      );
    }
  }
}

test.serial('going back to a savepoint behind the read does not help: the row is still kept', async (t) => {
  const [holder, waiter] = [await mesh.begin(), await mesh.begin()];
  const [one, two] = [await mesh.client(), await mesh.client()];
  await one.query(commented(ADD, holder));
  await two.query(commented('BEGIN', waiter));
  await two.query('SELECT FROM (SELECT * FROM item) AS i WHERE id = 1 FOR UPDATE');
  await two.query('SAVEPOINT a');
  await mesh.coordinator.abort(holder, {});
  for (let turn = 0; turn < 2; turn += 1) {
    t.is(await codeOf(two.query(ADD)), '40001');
    await two.query('ROLLBACK TO a');
  }
  await two.query('ROLLBACK');
  await rolledBack(holder);
  t.deepEqual(await mesh.dump(), before);
  await Promise.all([one.end(), two.end()]);
});

test.serial('a block that has only read and changed rows of its own waits for the rollback', async (t) => {
  const [holder, waiter] = [await mesh.begin(), await mesh.begin()];
  const [one, two] = [await mesh.client(), await mesh.client()];
  await one.query(commented(ADD, holder));
  // What a local transaction before has locked is given back.
  await two.query('BEGIN; SELECT FROM item FOR UPDATE; COMMIT');
  await two.query(commented('BEGIN', waiter));
  await two.query('SELECT FROM item WHERE id = 1');
  // It has waited for whoever held these rows: nobody's rollback needs them.
  await two.query('SELECT FROM item WHERE id = 3 FOR UPDATE');
  await two.query('UPDATE item SET qty = 0 WHERE id = 2');
  // An outsider keeps the holder's rollback from ending before the statement has met it.
  await mesh.owner.query('BEGIN; SELECT FROM item WHERE id = 1 FOR KEY SHARE');
  await mesh.coordinator.abort(holder, {});
  const waiting = two.query(ADD);
  await isMet(holder);
  await mesh.owner.query('COMMIT');
  t.is((await waiting).rowCount, 1);
  await rolledBack(holder);
  await two.query('COMMIT');
  await mesh.end(waiter, 'rollback');
  t.deepEqual(await mesh.dump(), before);
  await Promise.all([one.end(), two.end()]);
});

/** When, in milliseconds, and by what a client is surprised. */
const surprises = fc.record({
  way: fc.constantFrom(...Object.values(WAYS)),
  texts: fc.constantFrom<readonly string[]>(
    [ADD],
    ['BEGIN', 'UPDATE lonely SET v = 8', ADD, 'UPDATE item SET qty = 0 WHERE id = 2', 'COMMIT'],
  ),
  abortedAfter: fc.integer({ min: 0, max: 14 }),
  givenBackAfter: fc.integer({ min: 0, max: 20 }),
});

test.serial('whenever the whole is rolled back, nothing of it stays and the session goes on', async (t) => {
  await using wire = await openWire(mesh.through);
  const seed = Date.now() % 0x7fff_ffff;
  t.log(`seed ${seed}`);
  const property = fc.asyncProperty(surprises, async ({ way, texts, abortedAfter, givenBackAfter }) => {
    const outsider = await outsiderTakesTheRow();
    const gid = await mesh.begin();
    const aborted = pause(abortedAfter).then(() => mesh.coordinator.abort(gid, {}));
    const givenBack = pause(givenBackAfter).then(() => outsider.giveBack());
    const lines: string[] = [];
    for (const text of texts) lines.push(...(await wire.ask(...way(commented(text, gid)))));
    await Promise.all([aborted, givenBack]);
    t.is(lines.at(-1), 'ready I', lines.join(' / '));
    t.deepEqual((await wire.ask(...way('SELECT 1'))).slice(-2), ['done SELECT 1', 'ready I']);
    await rolledBack(gid);
    t.deepEqual(await mesh.dump(), before);
    t.is(await mesh.leftovers(), NOTHING_LEFT);
  });
  await fc.assert(property, { seed, numRuns: 60 });
});
