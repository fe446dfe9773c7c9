import test from 'ava';
import { beginTcc, startBranches, startDtm, STORES } from './dtm.ts';

for (const store of STORES) {
  test(`${store}: a sidecar joins a transaction of DTM's protocol, and each branch is called in its own way`, async (t) => {
    await using branches = await startBranches();
    await using dtm = await startDtm(store);
    await beginTcc(dtm, 'mixed-1', branches.url);
    const operations = { commit: `${branches.url}/commit`, rollback: `${branches.url}/rollback` };
    const branch = { kind: 'undo', resource: 'orders/db', operations };
    t.is((await dtm.request('POST', '/v1/transactions/mixed-1/branches', JSON.stringify(branch))).status, 200);
    t.is((await dtm.post('submit', { gid: 'mixed-1', trans_type: 'tcc', wait_result: true })).status, 200);
    t.deepEqual(
      branches.requests.map(({ path = '', headers }) => [
        path.split('?')[0],
        headers['atomesh-op'],
        path.includes('op='),
      ]),
      [
        ['/commit', 'commit', false],
        ['/confirm', undefined, true],
        ['/confirm', undefined, true],
      ],
    );
    t.like(branches.requests[0]?.headers, { 'atomesh-gid': 'mixed-1' });
  });
}
