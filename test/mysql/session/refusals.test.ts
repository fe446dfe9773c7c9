import test from 'ava';
import { brokenBy } from '../../../proxy/mysql/session/refusals.ts';
import { CodedError } from '../../../src/contract/errors.ts';

test('a session that ends because the database could not be asked says so, and a defect asks to be reported', (t) => {
  const lost = new CodedError('UPSTREAM_UNREACHABLE', 'the holders of row locks cannot be read: Connection lost', {
    hint: 'Check credentials of this database.',
  });
  t.deepEqual(brokenBy(lost), {
    errno: 1105,
    code: '08006',
    message: 'the holders of row locks cannot be read: Connection lost',
    hint: 'The local transaction is rolled back: try it again. Check credentials of this database.',
  });
  t.is(brokenBy(new TypeError('undefined is not a function')).message, 'the sidecar failed');
});
