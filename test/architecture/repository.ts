/** The repository as a tree: every text file that is or could be committed. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Tree } from './checks.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** What .gitignore keeps out, and git's own folder. */
export function readRepository(): Tree {
  const ignored = readFileSync(join(ROOT, '.gitignore'), 'utf8').split('\n');
  const names = new Set([
    '.git',
    ...ignored.map((line) => line.trim().replace(/\/$/, '')).filter((line) => line !== ''),
  ]);
  const tree = new Map<string, string>();
  const visit = (folder: string): void => {
    for (const entry of readdirSync(join(ROOT, folder), { withFileTypes: true })) {
      if (names.has(entry.name) || entry.name.endsWith('.log')) continue;
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) visit(path);
      else if (entry.isFile()) addText(tree, path);
    }
  };
  visit('');
  return tree;
}

/** Files with a zero byte are no text. */
function addText(tree: Map<string, string>, path: string): void {
  const bytes = readFileSync(join(ROOT, path));
  if (!bytes.includes(0)) tree.set(path, bytes.toString('utf8'));
}
