/**
 * A process that writes transactions and says which were acknowledged, until it is killed or its store fails: then it says with what, and
 * what the store answers from then on. Run by `sqlite.test.ts`.
 */
import { CodedError } from '../../src/contract/errors.ts';
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

const codeOf = (error: unknown): string => (error instanceof CodedError ? error.code : String(error));
const refusal = await Promise.all(Array.from({ length: 16 }, (_, worker) => write(worker))).catch(codeOf);
await store.failed;
const later = await store.read('w0-0' as Gid).then(() => 'an answer', codeOf);
process.stdout.write(`failed: ${String(refusal)}, then ${later}\n`);
