#!/usr/bin/env node
/** `atomesh`: the one executable. Each command is a file of its own; this one gives them a common end. */
import { Command, CommanderError } from 'commander';
import { openLog } from '../src/platform/log.ts';
import { configCommand } from './config.ts';
import { coordinatorCommand } from './coordinator.ts';
import { dbCommand } from './db.ts';
import { demoCommand } from './demo.ts';
import { CommandFailed, describeError, EXIT, isExpected } from './exit.ts';
import { healthCommand } from './health.ts';
import { runCommand } from './run/command.ts';
import { sidecarCommand } from './sidecar.ts';
import { locksCommand } from './tx/locks.ts';
import { txCommand } from './tx/tx.ts';
import { VERSION } from './version.ts';

const COMMANDS = [
  coordinatorCommand,
  sidecarCommand,
  runCommand,
  dbCommand,
  txCommand,
  locksCommand,
  configCommand,
  healthCommand,
  demoCommand,
];

// A defect must not go unseen, and must not leave a process that half works. Rejections nobody handles arrive here too.
process.on('uncaughtException', endByDefect);
// Whoever read our output has gone (`atomesh tx list | head`): there is nobody left to write to.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

await run(process.argv.slice(2));
// The command is over: connections that are kept open for reuse must not keep the process.
process.exit();

async function run(words: readonly string[]): Promise<void> {
  const program = new Command('atomesh')
    .description('Distributed transactions for services in any language.')
    .version(VERSION);
  for (const command of COMMANDS) program.addCommand(command);
  settle(program);
  try {
    await program.parseAsync([...words], { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    } else if (error instanceof CommandFailed) {
      if (error.message !== '') process.stderr.write(`${error.message}\n`);
      process.exitCode = error.exitCode;
    } else if (isExpected(error)) {
      process.stderr.write(`atomesh: ${describeError(error)}\n`);
      process.exitCode = EXIT.failure;
    } else {
      endByDefect(error);
    }
  }
}

/** Commands that are files of their own inherit nothing: each is told to throw where commander would exit. */
function settle(command: Command): void {
  command.exitOverride().showHelpAfterError('Add --help to see what it takes.');
  for (const inner of command.commands) settle(inner);
}

function endByDefect(error: unknown): never {
  openLog('atomesh', 'fatal').fatal({ err: error }, `a defect in atomesh: ${describeError(error)}`);
  process.exit(EXIT.defect);
}
