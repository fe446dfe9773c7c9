import { readFile } from 'node:fs/promises';
import test from 'ava';
import { squeezed } from '../kinds.ts';
import { TRAPS, trapsTable } from './traps.ts';

test('each of the fifty traps ends in a way that a test shows, and docs/statements.md says which', async (t) => {
  t.is(TRAPS.length, 50);
  for (const [index, { name, file, title }] of TRAPS.entries()) {
    const text = await readFile(new URL(`../../${file}`, import.meta.url), 'utf8');
    t.true(text.includes(title), `T${index + 1}, ${name}: ${file} has no "${title}"`);
  }
  const page = await readFile(new URL('../../../docs/statements.md', import.meta.url), 'utf8');
  const from = page.indexOf('<!-- traps -->');
  const written = page.slice(from, page.indexOf('<!-- end of the traps -->')).replace('<!-- traps -->', '');
  t.true(from > 0);
  t.is(squeezed(written), squeezed(trapsTable()));
});
