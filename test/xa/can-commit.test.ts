import test from 'ava';
import { commented } from '../sql-e2e/prove.ts';
import { preparedNames, startXaMesh } from './prove.ts';
import { BARE } from './scripts.ts';

test('without a word of the coordinator nothing is prepared, where it is to be asked', async (t) => {
  await using mesh = await startXaMesh(18, 'escalate', { database: { xa: { canCommit: true, timeout: '300ms' } } });
  const before = await mesh.dump();
  const client = await mesh.client();
  const gid = await mesh.begin();
  await client.query(commented(BARE, gid));
  t.is((await preparedNames(mesh)).length, 1);
  await client.query(commented('BEGIN', gid));
  await client.query('INSERT INTO bare VALUES (7)');
  await mesh.line.cut();
  const error = await t.throwsAsync(client.query('COMMIT'), { message: /did not say within 300 ms/ });
  t.is((error as Error & { code?: string }).code, '08006');
  t.is((await preparedNames(mesh)).length, 1);
  await mesh.line.mend();
  await client.query(commented('BEGIN', gid));
  await client.query('INSERT INTO bare VALUES (8)');
  const aborted = mesh.end(gid, 'rollback');
  await t.throwsAsync(client.query('COMMIT'));
  await aborted;
  t.deepEqual(await mesh.dump(), before);
  t.deepEqual(await preparedNames(mesh), []);
});
