import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { BranchKind } from '../../src/contract/transaction.ts';
import { requiredOperations } from '../../src/engine/operations.ts';
import { enlistRequestOf } from '../../src/http/requests.ts';

const KINDS: readonly BranchKind[] = ['undo', 'xa', 'tcc', 'saga', 'msg'];

test('a branch of each kind needs the operations that the engine will ask of it, and no others', (t) => {
  for (const kind of KINDS) {
    const needed = requiredOperations(kind);
    const bodyOf = (operations: readonly string[]): string =>
      JSON.stringify({
        kind,
        resource: 'a/a',
        operations: Object.fromEntries(operations.map((operation) => [operation, 'http://127.0.0.1:1/'])),
      });
    t.true(enlistRequestOf(bodyOf(needed)).ok, kind);
    for (const left of needed) {
      const refused = enlistRequestOf(bodyOf(needed.filter((operation) => operation !== left)));
      t.true(!refused.ok && refused.error.message.includes(`operations.${left}: missing`), `${kind} without ${left}`);
    }
  }
});

test('the hint of a refused request names a page that exists', (t) => {
  const refused = enlistRequestOf('{}');
  const [page = ''] = /docs\/\S+\.md/.exec(refused.ok ? '' : (refused.error.hint ?? '')) ?? [];
  t.regex(page, /^docs\//);
  t.true(existsSync(join(import.meta.dirname, '../..', page)));
});
