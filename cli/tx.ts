/** `atomesh tx`: looks at the transactions of a coordinator, and has it try again. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { connectCoordinator } from '../src/client/connect.ts';
import type { CoordinatorClient } from '../src/client/coordinator-client.ts';
import type { CallbackView, TransactionView } from '../src/contract/messages.ts';
import { type Gid, type GlobalStatus, type Instant, parseGid } from '../src/contract/transaction.ts';
import { now } from '../src/platform/clock.ts';
import { CommandFailed, EXIT } from './exit.ts';
import { age, oneLine, textTable } from './table.ts';

interface Common {
  readonly url: string;
  readonly json?: true;
}

const TIMEOUT_MS = 10_000;
const STATUSES: readonly GlobalStatus[] = ['prepared', 'submitted', 'aborting', 'succeed', 'failed'];

const list = common('list')
  .description('list transactions, in the order of their gid')
  .addOption(new Option('--status <status>', 'only those of this status').choices(STATUSES))
  .option('--limit <count>', 'at most so many (1 to 1000)', limit, 50)
  .option('--after <gid>', 'those after this gid: the next page', gid)
  .action(async (options: Common & { status?: GlobalStatus; limit: number; after?: Gid }) => {
    const { status, after } = options;
    const filter = {
      limit: options.limit,
      ...(status === undefined ? {} : { status }),
      ...(after === undefined ? {} : { after }),
    };
    const found = await ask(options, (client) => client.list(filter));
    if (options.json) return print(JSON.stringify(found, null, 2));
    if (found.transactions.length === 0) return print('no transactions');
    print(listText(found.transactions, now()));
    if (found.next !== undefined) print(`more: atomesh tx list --after ${found.next}`);
  });

const show = common('show')
  .description('show one transaction with its branches')
  .argument('<gid>', 'its id', gid)
  .action(async (id: Gid, options: Common) => {
    const view = await ask(options, (client) => client.read(id));
    if (view === undefined)
      throw new CommandFailed(EXIT.failure, `the coordinator does not know the transaction ${id}`);
    print(options.json ? JSON.stringify(view, null, 2) : showText(view, now()));
  });

const retry = common('retry')
  .description('have every unfinished branch asked again now, a dirty one too')
  .argument('<gid>', 'the id of the transaction', gid)
  .action(async (id: Gid, options: Common) => {
    const view = await ask(options, (client) => client.retry(id));
    print(options.json ? JSON.stringify(view, null, 2) : showText(view, now()));
  });

export const txCommand: Command = new Command('tx')
  .description('look at global transactions (token by ATOMESH_TOKEN)')
  .addCommand(list)
  .addCommand(show)
  .addCommand(retry);

/** One line a transaction. */
function listText(views: readonly TransactionView[], at: Instant): string {
  const rows = views.map((view) => {
    const done = view.branches.filter(({ status }) => status === 'succeed' || status === 'abandoned').length;
    const branches = `${done}/${view.branches.length}`;
    return [view.gid, view.mode, statusText(view), age(at - view.createdAt), branches, view.initiator ?? ''];
  });
  return textTable(['GID', 'MODE', 'STATUS', 'AGE', 'DONE', 'BEGUN BY'], rows);
}

/** Everything about one transaction. */
function showText(view: TransactionView, at: Instant): string {
  const facts: readonly (readonly [string, string | undefined])[] = [
    ['gid', view.gid],
    ['mode', view.mode],
    ['status', statusText(view)],
    ['begun', `${time(view.createdAt)} (${age(at - view.createdAt)} ago)`],
    ['begun by', view.initiator],
    ['rolls back at', view.deadline === undefined ? undefined : time(view.deadline)],
    ['finished', view.finishedAt === undefined ? undefined : time(view.finishedAt)],
    ['reason', view.reason],
    ['run', view.run === undefined ? undefined : String(view.run)],
    ['steps', view.steps?.join(', ')],
    ['callback', view.callback === undefined ? undefined : callbackText(view.callback, at)],
  ];
  const head = facts.flatMap(([name, value]) =>
    value === undefined ? [] : [`${`${name}:`.padEnd(15)}${oneLine(value)}`],
  );
  if (view.branches.length === 0) return [...head, 'no branches'].join('\n');
  const rows = view.branches.map((branch) => {
    const next = branch.nextAttemptAt === undefined ? '' : `in ${age(branch.nextAttemptAt - at)}`;
    const { branchId, kind, resource, status, attempts, attemptsMax, lastError } = branch;
    const tries = attemptsMax === undefined ? String(attempts) : `${attempts}/${attemptsMax}`;
    return [branchId, kind, resource, status, tries, next, lastError ?? ''];
  });
  return [...head, '', textTable(['BRANCH', 'KIND', 'RESOURCE', 'STATUS', 'TRIES', 'NEXT', 'LAST ERROR'], rows)].join(
    '\n',
  );
}

/** How the initiator is asked, and how that went so far. */
function callbackText({ operation, url, attempts, nextAttemptAt, lastError }: CallbackView, at: Instant): string {
  const next = nextAttemptAt === undefined ? '' : `, next in ${age(nextAttemptAt - at)}`;
  return `${operation} ${url}, ${attempts} tries${next}${lastError === undefined ? '' : `: ${lastError}`}`;
}

function statusText(view: TransactionView): string {
  return view.needsAttention ? `${view.status} (needs attention)` : view.status;
}

function time(instant: Instant): string {
  return new Date(instant).toISOString();
}

function common(name: string): Command {
  return new Command(name)
    .addOption(
      new Option('--url <url>', 'the coordinator').env('ATOMESH_COORDINATOR_URL').default('http://127.0.0.1:36789'),
    )
    .option('--json', 'as JSON, for programs');
}

async function ask<T>({ url }: Common, question: (client: CoordinatorClient) => Promise<T>): Promise<T> {
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) throw new CommandFailed(EXIT.usage, `${url} is not an http URL`);
  const token = process.env['ATOMESH_TOKEN'];
  const client = connectCoordinator({ url, timeoutMs: TIMEOUT_MS, ...(token ? { token } : {}) });
  try {
    return await question(client);
  } finally {
    await client.close();
  }
}

function gid(text: string): Gid {
  const parsed = parseGid(text);
  if (parsed === undefined) throw new InvalidArgumentError('A gid has 1 to 128 of the characters A-Za-z0-9._:{}-.');
  return parsed;
}

function limit(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > 1000) throw new InvalidArgumentError('Between 1 and 1000.');
  return count;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
