/** `atomesh tx resolve`: what an operator decides about dirty branches. */
import { InvalidArgumentError, type Command } from 'commander';
import type { ResolveRequest } from '../../src/contract/messages.ts';
import { type BranchId, type Gid, parseBranchId } from '../../src/contract/transaction.ts';
import { now } from '../../src/platform/clock.ts';
import { CommandFailed, EXIT } from '../exit.ts';
import { ask, common, gid, print, systemUser, type Common } from './ask.ts';
import { showText } from './text.ts';

/** How long to wait for the branch to carry it out, before its state is shown. */
const WAIT_MS = 10_000;

interface Options extends Common {
  readonly branch?: BranchId;
  readonly all?: true;
  readonly applyBefore?: true;
  readonly keepCurrent?: true;
  readonly retry?: true;
  readonly by?: string;
  readonly reason?: string;
}

export const resolveCommand: Command = common('resolve')
  .description('decide about a dirty branch: its rows were changed by somebody else, and it waits')
  .argument('<gid>', 'the id of the transaction', gid)
  .option('--branch <id>', 'the branch, such as 01', branchId)
  .option('--all', 'every dirty branch of the transaction')
  .option('--apply-before', 'write the rows as they were before the transaction, over whatever is there now')
  .option('--keep-current', 'leave the rows as they are; what would restore them is forgotten for good')
  .option('--retry', 'ask again: the rows have been put right by hand')
  .option('--by <name>', 'who decides; the user of this system unless given')
  .option('--reason <text>', 'why; kept with the transaction')
  .action(async (id: Gid, options: Options) => {
    const request = requestOf(options);
    const view = await ask(options, async (client) => {
      const recorded = await client.resolve(id, request);
      // Another dirty branch ends the wait too: then what has been recorded is shown, under way.
      return (await client.read(id, WAIT_MS)) ?? recorded;
    });
    print(options.json ? JSON.stringify(view, null, 2) : showText(view, now()));
  });

function requestOf(options: Options): ResolveRequest {
  const { branch, all, applyBefore, keepCurrent, retry, by = systemUser(), reason } = options;
  const chosen = [
    ...(applyBefore ? (['apply-before'] as const) : []),
    ...(keepCurrent ? (['keep-current'] as const) : []),
    ...(retry ? (['retry'] as const) : []),
  ];
  const [how] = chosen;
  if (how === undefined || chosen.length > 1) {
    throw new CommandFailed(EXIT.usage, 'one of --apply-before, --keep-current and --retry is needed');
  }
  if ((branch === undefined) === (all === undefined)) {
    throw new CommandFailed(EXIT.usage, 'either --branch <id> or --all is needed');
  }
  return {
    how,
    ...(branch === undefined ? {} : { branch }),
    ...(by === undefined ? {} : { by }),
    ...(reason === undefined ? {} : { reason }),
  };
}

function branchId(text: string): BranchId {
  const parsed = parseBranchId(text);
  if (parsed === undefined) throw new InvalidArgumentError('A branch id has two digits, such as 01.');
  return parsed;
}
