import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import test from 'ava';
import { CodedError } from '../../src/contract/errors.ts';
import type { Gid, Instant } from '../../src/contract/transaction.ts';
import { versionFault } from '../../src/store/sqlite-schema.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { storeLaws } from './laws.ts';
import { transactionOf } from './sample.ts';

const LEASE = { owner: 'a', until: 5000 as Instant };
const gid = (text: string): Gid => text as Gid;

async function folder(): Promise<{ path: string } & AsyncDisposable> {
  const dir = await mkdtemp(join(tmpdir(), 'atomesh-sqlite-'));
  return { path: join(dir, 'store.db'), [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) };
}

function integrityOf(path: string): unknown {
  const database = new DatabaseSync(path);
  try {
    return database.prepare('PRAGMA integrity_check').get()?.['integrity_check'];
  } finally {
    database.close();
  }
}

storeLaws(test, 'sqlite', async () => {
  const home = await folder();
  let store = await openSqliteStore(home.path);
  return {
    store,
    reopen: async () => {
      await store.close();
      store = await openSqliteStore(home.path);
      return store;
    },
    close: async () => {
      await store.close();
      await home[Symbol.asyncDispose]();
    },
  };
});

test('SQLite before 3.51.3 is refused with its reason, later ones are not', (t) => {
  for (const version of ['3.51.2', '3.50.9', '3.7.0', '2.9.9', '0', 'x'])
    t.regex(versionFault(version) ?? '', /write-ahead log/);
  for (const version of ['3.51.3', '3.51.10', '3.52.0', '3.53.4', '4.0.0']) t.is(versionFault(version), undefined);
});

test('a second opener is refused with an error that names the file', async (t) => {
  await using home = await folder();
  const store = await openSqliteStore(home.path);
  const error = await t.throwsAsync(openSqliteStore(home.path), { instanceOf: CodedError });
  t.is(error?.code, 'STORE_FAILED');
  t.true(error?.message.includes(home.path));
  t.regex(error?.hint ?? '', /other coordinator/);
  t.is(await store.insert(transactionOf(gid('g')), LEASE), 'inserted');
  // The refused attempt has not cost the first one its lock: another process is refused as well.
  const script =
    'new (require("node:sqlite").DatabaseSync)(process.argv[1]).exec("SELECT count(*) FROM sqlite_schema")';
  const other = spawnSync(process.execPath, ['-e', script, home.path], { encoding: 'utf8' });
  t.regex(other.stderr, /database is locked/);
  await store.close();
});

test('the file is readable by its owner only, its log too', async (t) => {
  await using home = await folder();
  const store = await openSqliteStore(home.path);
  await store.insert(transactionOf(gid('g')), LEASE);
  t.is((await stat(home.path)).mode & 0o777, 0o600);
  t.is((await stat(`${home.path}-wal`)).mode & 0o777, 0o600);
  await store.close();
});

test('files that are not ours are refused and left as they are', async (t) => {
  await using home = await folder();
  const dir = join(home.path, '..');
  const text = join(dir, 'text');
  await writeFile(text, 'x'.repeat(8192));
  await t.throwsAsync(openSqliteStore(text), { instanceOf: CodedError, message: /not a SQLite database/ });

  const foreign = join(dir, 'foreign.db');
  const database = new DatabaseSync(foreign);
  database.exec('CREATE TABLE customer (id INTEGER)');
  database.close();
  await t.throwsAsync(openSqliteStore(foreign), { instanceOf: CodedError, message: /another application/ });

  const newer = join(dir, 'newer.db');
  await (await openSqliteStore(newer)).close();
  const next = new DatabaseSync(newer);
  next.exec('PRAGMA user_version = 2');
  next.close();
  await t.throwsAsync(openSqliteStore(newer), { instanceOf: CodedError, message: /newer Atomesh/ });

  await t.throwsAsync(openSqliteStore(join(dir, 'no', 'folder.db')), { instanceOf: CodedError, message: /ENOENT/ });
});

test('what was acknowledged before kill -9 is there afterwards', async (t) => {
  await using home = await folder();
  const writer = spawn(process.execPath, [join(import.meta.dirname, 'process.ts'), home.path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const acknowledged = new Map<string, number>();
  const lines = createInterface(writer.stdout);
  lines.on('line', (line) => {
    const [name = '', version] = line.split(' ');
    acknowledged.set(name, Number(version));
    if (acknowledged.size === 2000) writer.kill('SIGKILL');
  });
  await once(lines, 'close');
  t.true(acknowledged.size >= 2000);

  const store = await openSqliteStore(home.path);
  const stored = new Map<string, number>();
  for (let after = ''; ;) {
    const page = await store.list({ limit: 1000, after });
    for (const { transaction, version } of page) stored.set(transaction.gid, version);
    const last = page.at(-1);
    if (last === undefined) break;
    after = last.transaction.gid;
  }
  for (const [name, version] of acknowledged) t.true((stored.get(name) ?? 0) >= version, `${name} at ${version}`);
  await store.close();
  t.is(integrityOf(home.path), 'ok');
});

test('a full file rejects the batch that meets it, and nothing of that batch is stored', async (t) => {
  await using home = await folder();
  const store = await openSqliteStore(home.path, undefined, { pagesMax: 40 });
  t.is(await store.insert(transactionOf(gid('first')), LEASE), 'inserted');
  const large = Array.from({ length: 40 }, (_, index) =>
    transactionOf(gid(`large${index}`), { reason: 'x'.repeat(8000) }),
  );
  const results = await Promise.allSettled(large.map((transaction) => store.insert(transaction, LEASE)));
  for (const result of results) {
    t.is(result.status, 'rejected');
    if (result.status === 'rejected') t.is((result.reason as CodedError).code, 'STORE_FAILED');
  }
  t.is((await store.list({ limit: 100 })).length, 1, 'nothing but the first is there');
  t.is(await store.insert(transactionOf(gid('small')), LEASE), 'inserted', 'what still fits goes on');
  await store.close();
  t.is(integrityOf(home.path), 'ok');
});

test('a full disk stops the store for good at the commit that fails, and keeps what was acknowledged', async (t) => {
  await using home = await folder();
  const mount = join(home.path, '..', 'small');
  await mkdir(mount);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', mount]).status !== 0) {
    t.log('skipped: mounting a small file system needs root');
    t.pass();
    return;
  }
  try {
    const path = join(mount, 'store.db');
    const store = await openSqliteStore(path);
    const kept: Gid[] = [];
    const fill = async (): Promise<void> => {
      for (let count = 0; count < 1000; count += 1) {
        const transaction = transactionOf(gid(`g${count}`), { reason: 'x'.repeat(4000) });
        await store.insert(transaction, LEASE);
        kept.push(transaction.gid);
      }
    };
    await t.throwsAsync(fill(), { instanceOf: CodedError });
    t.regex((await store.failed).message, /full/);
    await t.throwsAsync(store.read(gid('g0')), { instanceOf: CodedError }, 'it answers nothing any more');
    await store.close();
    spawnSync('mount', ['-o', 'remount,size=8m', mount]);
    const database = new DatabaseSync(path);
    const stored = new Set(
      database
        .prepare('SELECT gid FROM global_transaction')
        .all()
        .map((row) => row['gid']),
    );
    database.close();
    t.true(kept.length > 10);
    t.true(kept.every((name) => stored.has(name)));
    t.is(integrityOf(path), 'ok');
  } finally {
    spawnSync('umount', [mount]);
  }
});

test.serial('the event loop goes on during a burst of 5,000 writes', async (t) => {
  await using home = await folder();
  const store = await openSqliteStore(home.path);
  const body = { reason: 'x'.repeat(500) };
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  let inserted = 0;
  for (let round = 0; round < 10; round += 1) {
    const writes = Array.from({ length: 500 }, (_, index) =>
      store.insert(transactionOf(gid(`g${round}-${index}`), body), LEASE).then(() => (inserted += 1)),
    );
    await Promise.race(writes);
  }
  await store.save(transactionOf(gid('g9-499')), 1, LEASE, undefined, 'now');
  delay.disable();
  t.is(inserted, 5000);
  t.true(delay.percentile(99) < 50e6, `p99 ${delay.percentile(99) / 1e6} ms`);
  await store.close();
  t.is(integrityOf(home.path), 'ok');
});

test('writes that are ready together share one commit, and a soon write rides along or follows within its time', async (t) => {
  await using home = await folder();
  const store = await openSqliteStore(home.path);
  await store.insert(transactionOf(gid('g')), LEASE);
  const order: string[] = [];
  const soon = store.save(transactionOf(gid('g')), 1, LEASE, undefined, 'soon').then(() => order.push('soon'));
  const urgent = store.insert(transactionOf(gid('h')), LEASE).then(() => order.push('now'));
  await Promise.all([soon, urgent]);
  t.deepEqual(order, ['soon', 'now'], 'in the order of the calls, with one commit');
  t.is(await store.save(transactionOf(gid('g')), 2, LEASE, undefined, 'soon'), 'saved', 'alone it is committed too');
  await store.close();
});

test('closing commits what waits, and refuses what comes later', async (t) => {
  await using home = await folder();
  const store = await openSqliteStore(home.path);
  await store.insert(transactionOf(gid('g')), LEASE);
  const soon = store.save(transactionOf(gid('g'), { reason: 'kept' }), 1, LEASE, undefined, 'soon');
  await store.close();
  t.is(await soon, 'saved');
  await t.throwsAsync(store.read(gid('g')), { instanceOf: CodedError });
  const again = await openSqliteStore(home.path);
  t.is((await again.read(gid('g')))?.transaction.reason, 'kept');
  await again.close();
});
