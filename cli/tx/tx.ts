/** `atomesh tx`: looks at the transactions of a coordinator, has it try again, and decides what it cannot. */
import { Command, InvalidArgumentError, Option } from 'commander';
import type { Gid, GlobalStatus } from '../../src/contract/transaction.ts';
import { now } from '../../src/platform/clock.ts';
import { CommandFailed, EXIT } from '../exit.ts';
import { ask, common, gid, print, systemUser, type Common } from './ask.ts';
import { resolveCommand } from './resolve.ts';
import { listText, showText } from './text.ts';

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
  .option('--by <name>', 'who asks; the user of this system unless given')
  .option('--reason <text>', 'why; kept with each branch that is dirty')
  .action(async (id: Gid, options: Common & { by?: string; reason?: string }) => {
    const { by = systemUser(), reason } = options;
    const request = { ...(by === undefined ? {} : { by }), ...(reason === undefined ? {} : { reason }) };
    const view = await ask(options, (client) => client.retry(id, request));
    print(options.json ? JSON.stringify(view, null, 2) : showText(view, now()));
  });

const stop = common('stop')
  .description('give a transaction up: it has failed, and no branch is called any more, to compensate neither')
  .argument('<gid>', 'the id of the transaction', gid)
  .option('--by <name>', 'who decides; the user of this system unless given')
  .option('--reason <text>', 'why; kept with the transaction')
  .action(async (id: Gid, options: Common & { by?: string; reason?: string }) => {
    const { by = systemUser(), reason } = options;
    const request = { ...(by === undefined ? {} : { by }), ...(reason === undefined ? {} : { reason }) };
    const view = await ask(options, (client) => client.stop(id, request));
    print(options.json ? JSON.stringify(view, null, 2) : showText(view, now()));
  });

export const txCommand: Command = new Command('tx')
  .description('look at global transactions (token by ATOMESH_TOKEN)')
  .addCommand(list)
  .addCommand(show)
  .addCommand(retry)
  .addCommand(resolveCommand)
  .addCommand(stop);

function limit(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > 1000) throw new InvalidArgumentError('Between 1 and 1000.');
  return count;
}
