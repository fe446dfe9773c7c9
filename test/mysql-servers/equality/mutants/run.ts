/**
 * What the laws are worth: `node test/mysql-servers/equality/mutants/run.ts [--seconds 60] [--seeds 3] [--only TEXT] [--server MariaDB|MySQL]` breaks the
 * code under test, in a copy of it, one place at a time, and hunts by `../hunt.ts` in each copy until the law is broken. Tells how many batches
 * that took with each seed, and ends with 1 when a break is not found in time.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

interface Mutant {
  readonly what: string;
  readonly file: string;
  readonly from: string;
  readonly to: string;
  readonly law: 'rollback' | 'commit';
  readonly through: 'parts' | 'sidecar' | 'escalating';
}

const RUN = 'proxy/mysql/inside/capture/run.ts';
const UNDO = { law: 'rollback', through: 'sidecar' } as const;
const TOLD = { law: 'commit', through: 'sidecar' } as const;

const MUTANTS: readonly Mutant[] = [
  {
    ...UNDO,
    what: 'a record is forgotten where a statement has several',
    file: RUN,
    from: 'recordStatements(records, branch,',
    to: 'recordStatements(records.slice(0, 1), branch,',
  },
  {
    ...UNDO,
    what: 'what was before and what came behind are exchanged',
    file: 'proxy/mysql/undo/record.ts',
    from: '[before ?? null, after ?? null]',
    to: '[after ?? null, before ?? null]',
  },
  {
    ...UNDO,
    what: 'records are taken back in the order in which they were written',
    file: 'proxy/mysql/rollback/records.ts',
    from: 'BigInt(b.position) - BigInt(a.position)',
    to: 'BigInt(a.position) - BigInt(b.position)',
  },
  {
    ...UNDO,
    what: 'the last column has no image',
    file: 'proxy/mysql/catalog.ts',
    from: 'images.length > 0 ? images : undefined',
    to: 'images.length > 0 ? images.slice(0, Math.max(1, images.length - 1)) : undefined',
  },
  {
    ...UNDO,
    what: 'a column that sets itself is not written back',
    file: 'proxy/mysql/rollback/tables.ts',
    from: '/^(?:timestamp|datetime)/',
    to: '/^never/',
  },
  {
    ...UNDO,
    what: 'a CHAR keeps blanks that are not stored',
    file: 'proxy/mysql/undo/image.ts',
    from: "return `HEX(TRIM(TRAILING ' ' FROM ${value}))`;",
    to: 'return `HEX(${value})`;',
  },
  {
    ...UNDO,
    what: 'a gid that BEGIN names is lost behind an error',
    file: 'proxy/mysql/session/binding.ts',
    from: "const isNext = effect === 'begins' || ",
    to: "const isNext = (effect === 'begins' && step.ended === 'yes') || false && ",
  },
  {
    ...UNDO,
    what: 'rows are not locked for others',
    file: RUN,
    from: 'locks, commits }, taking)',
    to: 'locks: [], commits }, taking)',
  },
  {
    ...TOLD,
    what: 'ROW_COUNT() is not remembered',
    file: 'proxy/mysql/inside/last-statement.ts',
    from: 'return { affectedRows, warningCount',
    to: 'return { affectedRows: affectedRows > 1n ? 1n : affectedRows, warningCount',
  },
  {
    ...TOLD,
    what: 'warnings are not remembered',
    file: RUN,
    from: 'const warnings = wanted.asksWarnings ? others[0] : undefined;',
    to: 'const warnings = undefined;',
  },
  {
    ...TOLD,
    what: 'the warnings of an error are not remembered',
    file: RUN,
    from: 'return { ...failure, last: lastStatement(-1n, warnings) };',
    to: 'return failure;',
  },
  {
    ...TOLD,
    what: 'a change is pinned to all but the last row that was read',
    file: 'proxy/mysql/undo/pinned.ts',
    from: 'const images = (before[index] ?? []).map(({ image }) => image);\n    const pin',
    to: 'const images = (before[index] ?? []).map(({ image }) => image).slice(0, 2);\n    const pin',
  },
  {
    law: 'rollback',
    through: 'escalating',
    what: 'what escalates is committed',
    file: 'proxy/mysql/inside/ending.ts',
    from: "let prepares = local.prepares && work.kind === 'undo';",
    to: 'let prepares = false;',
  },
];

const COPIED = [
  'proxy',
  'src',
  'examples/support',
  'test/mysql-servers',
  'test/rollback-equality',
  'package.json',
  'tsconfig.json',
];
const ROOT = fileURLToPath(new URL('../../../..', import.meta.url));

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seeds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    server: { type: 'string', default: 'MariaDB' },
  },
});
const chosen = MUTANTS.filter(({ what }) => what.includes(values.only));
let survivors = 0;
for (const mutant of chosen) {
  const counts: string[] = [];
  for (let seed = 1; seed <= Number(values.seeds); seed += 1) counts.push(await batchesUntilFound(mutant, seed * 1000));
  if (counts.every((count) => count.startsWith('>'))) survivors += 1;
  console.log(`${counts.join(' ').padEnd(20)} ${mutant.law} ${mutant.through}: ${mutant.what}`);
}
console.log(`mutants: ${chosen.length - survivors} passed, ${survivors} failed`);
process.exitCode = survivors === 0 ? 0 : 1;

/** How many batches have been tried when the law was broken, that one included; with `>` in front when it was not. */
async function batchesUntilFound({ file, from, to, law, through }: Mutant, seed: number): Promise<string> {
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
    const { seconds, server } = values;
    const options = { law, through, seconds, server, seed: String(seed), shrink: '0' };
    const child = spawn(
      process.execPath,
      [hunt, ...Object.entries(options).flatMap(([name, value]) => [`--${name}`, value])],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-20_000);
    });
    await once(child, 'close');
    const batches = /^seed \d+: \{"batches":(\d+)/m.exec(output)?.[1] ?? '?';
    // What ends otherwise than by a law that is broken has found nothing.
    return output.includes(`--law ${law} --seed`) ? batches : `>${batches}`;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
