/** `atomesh db triggers`: the triggers that write row images in databases with `capture: triggers`. */
import { Command } from 'commander';
import {
  installTriggers,
  removeTriggers,
  triggerStatus,
  type TablePatterns,
  type TableState,
} from '../../proxy/postgres/triggers/install.ts';
import { chooseDatabases, onDatabases, type ChosenDatabase, type DatabaseChoice } from './databases.ts';
import { CommandFailed, describeError, EXIT } from '../exit.ts';

interface TriggerOptions extends DatabaseChoice {
  readonly tables?: readonly string[];
}

/** What one of the commands does to one database. */
type Work = (chosen: ChosenDatabase, patterns: TablePatterns) => Promise<readonly TableState[]>;

export const triggersCommand: Command = new Command('triggers')
  .description('triggers that write row images, for databases with capture: triggers')
  .addCommand(
    command('install', 'put them on all tables, or bring them up to date; run it after every change of the schema', {
      work: ({ connection, finisher }, patterns) => installTriggers(connection, patterns, finisher),
      isGood: ({ state }) => state !== 'missing' && state !== 'stale',
    }),
  )
  .addCommand(
    command('remove', 'take them away', {
      work: ({ connection }, patterns) => removeTriggers(connection, patterns),
      isGood: () => true,
    }),
  )
  .addCommand(
    command('status', 'say which tables lack them, or have some that are out of date', {
      work: ({ connection }, patterns) => triggerStatus(connection, patterns),
      isGood: ({ state }) => state !== 'missing' && state !== 'stale',
    }),
  );

function command(
  name: string,
  description: string,
  { work, isGood }: { readonly work: Work; readonly isGood: (state: TableState) => boolean },
): Command {
  return onDatabases(new Command(name))
    .description(description)
    .option('--tables <pattern...>', 'only these tables: schema.table, with * for any characters')
    .action(async (options: TriggerOptions) => {
      const databases = chooseDatabases(options);
      let failures = 0;
      for (const chosen of databases) {
        const states = await statesOf(chosen, options, work);
        if (states === undefined || !states.every(isGood)) failures += 1;
      }
      if (failures === 0) return;
      throw new CommandFailed(EXIT.failure, `${failures} of ${databases.length} databases are not ready`);
    });
}

/** Undefined when the database refuses, which standard error then says. */
async function statesOf(
  chosen: ChosenDatabase,
  { tables }: TriggerOptions,
  work: Work,
): Promise<readonly TableState[] | undefined> {
  const { name, captureExcept } = chosen.database;
  try {
    const states = await work(chosen, { except: captureExcept, ...(tables === undefined ? {} : { only: tables }) });
    for (const { table, state, detail } of states)
      process.stdout.write(`${name}: ${table} ${state}${detail === undefined ? '' : `: ${detail}`}\n`);
    return states;
  } catch (error) {
    process.stderr.write(`${name}: ${describeError(error)}\n`);
    return undefined;
  }
}
