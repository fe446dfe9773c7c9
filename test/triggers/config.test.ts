import test from 'ava';
import { loadSidecarConfig } from '../../config/load.ts';
import { SIDECAR, stringsOf } from '../config/support.ts';

function faults(options: string): readonly string[] {
  const database = `{ name: shop, listen: 127.0.0.1:6543, upstream: 'postgres://h/shop', credentials: { user: u }, ${options} }`;
  const loaded = loadSidecarConfig(`${SIDECAR}databases:\n  - ${database}\n`, 'sidecar.yaml', stringsOf());
  return loaded.kind === 'valid' ? [] : loaded.faults.map(({ path, message }) => `${path}: ${message}`);
}

test('triggers are for undo mode, and exceptions from them for triggers', (t) => {
  t.deepEqual(faults('capture: triggers, captureExcept: [public.log]'), []);
  t.deepEqual(faults('capture: triggers, mode: xa'), ['databases[0].capture: with mode: xa there are no row images']);
  t.deepEqual(faults('captureExcept: [public.log]'), [
    'databases[0].captureExcept: without capture: triggers there are no triggers to leave out',
  ]);
});
