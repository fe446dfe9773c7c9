/** A process that writes transactions and says which were acknowledged, until it is killed. Run by `sqlite.test.ts`. */
import type { Gid, Instant } from '../../src/contract/transaction.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { transactionOf } from './sample.ts';

const path = process.argv[2] ?? '';
const store = await openSqliteStore(path);
const lease = { owner: 'writer', until: 1000 as Instant };

async function write(worker: number): Promise<never> {
  for (let count = 0; ; count += 1) {
    const transaction = transactionOf(`w${worker}-${count}` as Gid);
    await store.insert(transaction, lease);
    process.stdout.write(`${transaction.gid} 1\n`);
    await store.save({ ...transaction, reason: 'again' }, 1, lease, undefined, count % 2 === 0 ? 'now' : 'soon');
    process.stdout.write(`${transaction.gid} 2\n`);
  }
}

await Promise.all(Array.from({ length: 16 }, (_, worker) => write(worker)));
