/**
 * What the laws are worth: `node test/mysql-servers/equality/mutants/run.ts [--seconds 300]` breaks the code under test, in a copy of it, one
 * place at a time, and hunts by `../hunt.ts` in each copy until the law is broken. Ends with 1 when a break is not found in time.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { monotonicSeconds } from '../../../../src/platform/clock.ts';

interface Mutant {
  readonly file: string;
  readonly from: string;
  readonly to: string;
  readonly law: 'rollback' | 'commit';
}

const MUTANTS: readonly Mutant[] = [
  // A column that sets itself is not written back.
  { file: 'proxy/mysql/rollback/tables.ts', from: '/^(?:timestamp|datetime)/', to: '/^never/', law: 'rollback' },
  // A CHAR keeps blanks that are not stored.
  {
    file: 'proxy/mysql/undo/image.ts',
    from: "return `HEX(TRIM(TRAILING ' ' FROM ${value}))`;",
    to: 'return `HEX(${value})`;',
    law: 'rollback',
  },
];

const COPIED = ['proxy', 'src', 'examples/support', 'test/mysql-servers', 'package.json', 'tsconfig.json'];
const ROOT = fileURLToPath(new URL('../../../..', import.meta.url));

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '300' } } });
let survivors = 0;
for (const mutant of MUTANTS) {
  const startedAt = monotonicSeconds();
  const isFound = await isFoundIn(mutant, values.seconds);
  if (!isFound) survivors += 1;
  const seconds = Math.round(monotonicSeconds() - startedAt);
  console.log(`${isFound ? 'found' : 'NOT FOUND'} after ${seconds} s: ${mutant.file}: ${mutant.to}`);
}
console.log(`mutants: ${MUTANTS.length - survivors} passed, ${survivors} failed`);
process.exitCode = survivors === 0 ? 0 : 1;

async function isFoundIn({ file, from, to, law }: Mutant, seconds: string): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-mutant-'));
  try {
    for (const each of COPIED) await cp(join(ROOT, each), join(folder, each), { recursive: true });
    await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
    const text = await readFile(join(folder, file), 'utf8');
    if (text.split(from).length !== 2) throw new Error(`${file} does not have once: ${from}`);
    await writeFile(
      join(folder, file),
      text.replace(from, () => to),
    );
    const hunt = join(folder, 'test/mysql-servers/equality/hunt.ts');
    const child = spawn(process.execPath, [hunt, '--law', law, '--through', 'parts', '--seconds', seconds], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-10_000);
    });
    await once(child, 'close');
    // What ends otherwise than by a law that is broken has found nothing.
    return output.includes(`--law ${law} --seed`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
