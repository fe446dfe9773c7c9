/** `atomesh locks`: which rows unfinished global transactions hold in the databases of a sidecar, and who waits for them. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { request } from 'undici';
import type { LockPage, LockView } from '../../src/contract/locks.ts';
import { type Instant, parseGid } from '../../src/contract/transaction.ts';
import { now } from '../../src/platform/clock.ts';
import { CommandFailed, describeError, EXIT } from '../exit.ts';
import { age, textTable } from '../table.ts';

interface Options {
  readonly url: string;
  readonly database?: string;
  readonly gid?: string;
  readonly limit: string;
  readonly after?: string;
  readonly json?: true;
}

const ANSWER_MS_MAX = 20_000;

export const locksCommand: Command = new Command('locks')
  .description('list the row locks that unfinished global transactions hold, and who waits for them')
  .addOption(
    new Option('--url <url>', 'the admin listener of the sidecar')
      .env('ATOMESH_SIDECAR_ADMIN_URL')
      .default('http://127.0.0.1:9703'),
  )
  .option('--database <name>', 'only those in this database of the sidecar')
  .option('--gid <gid>', 'only those that this global transaction holds', gid)
  .option('--limit <count>', 'at most so many (1 to 1000)', '50')
  .option('--after <place>', 'those behind this place: the next page')
  .option('--json', 'as JSON, for programs')
  .action(async (options: Options) => {
    const page = await read(options);
    if (options.json) return print(JSON.stringify(page, null, 2));
    print(page.locks.length === 0 ? 'no row locks' : locksText(page.locks, now()));
    if (page.next !== undefined) print(`more: atomesh locks --after ${page.next}`);
  });

async function read({ url, database, gid: holder, limit, after }: Options): Promise<LockPage> {
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) throw new CommandFailed(EXIT.usage, `${url} is not an http URL`);
  const target = new URL('/locks', url);
  for (const [name, value] of Object.entries({ database, gid: holder, limit, after })) {
    if (value !== undefined) target.searchParams.set(name, value);
  }
  let status: number;
  let text: string;
  try {
    const { statusCode, body } = await request(target, { signal: AbortSignal.timeout(ANSWER_MS_MAX) });
    [status, text] = [statusCode, await body.text()];
  } catch (error) {
    throw new CommandFailed(EXIT.failure, `${url} did not answer: ${describeError(error)}`, { cause: error });
  }
  if (status !== 200) throw new CommandFailed(EXIT.failure, `${url} answered ${status}: ${text.slice(0, 500)}`);
  return pageOf(text, url);
}

function pageOf(text: string, url: string): LockPage {
  try {
    const page = JSON.parse(text) as LockPage;
    if (Array.isArray(page.locks)) return page;
  } catch {
    // Said below, like everything else that is no page.
  }
  throw new CommandFailed(EXIT.failure, `what answers at ${url} is no admin listener of a sidecar`);
}

function locksText(locks: readonly LockView[], at: Instant): string {
  const rows = locks.map(({ database, gid: holder, table, columns, values, shared, since, waiting }) => {
    const row = `${table} (${columns.join(', ')}) = (${values.map((value) => JSON.stringify(value)).join(', ')})`;
    const waits = waiting.map((one) => `${one.gid.length === 0 ? 'outside' : one.gid} (${age(at - one.since)})`);
    return [
      database,
      row,
      shared ? `${holder} (shared)` : holder,
      since === undefined ? '' : age(at - since),
      waits.join(', '),
    ];
  });
  return textTable(['DATABASE', 'ROW', 'HELD BY', 'SINCE', 'WAITED FOR BY'], rows);
}

function gid(text: string): string {
  if (parseGid(text) === undefined) {
    throw new InvalidArgumentError('A gid has 1 to 128 of the characters A-Za-z0-9._:{}-.');
  }
  return text;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
