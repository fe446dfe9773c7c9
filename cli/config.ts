/** `atomesh config check`: says whether a configuration file is right, without starting anything. */
import { Command, Option } from 'commander';
import { formatFaults } from '../config/fault.ts';
import { type ConfigKind, kindOf, readConfigFile } from '../config/load.ts';
import { coordinatorConfig, sidecarConfig } from './options.ts';

const check = new Command('check')
  .description('list every fault of a configuration file; exit code 78 when there is one')
  .argument('<file>', 'the YAML file')
  .addOption(
    new Option('--kind <kind>', 'what the file is for; guessed by default').choices(['sidecar', 'coordinator']),
  )
  .action((file: string, { kind }: { kind?: ConfigKind }) => {
    const read = readConfigFile(file);
    const known = kind ?? (read.kind === 'text' ? kindOf(read.text) : 'sidecar');
    const { warnings } = known === 'sidecar' ? sidecarConfig(file) : coordinatorConfig(file);
    if (warnings.length > 0) process.stderr.write(`${formatFaults(warnings)}\n`);
    const noted = warnings.length === 0 ? '' : `, with ${warnings.length} warning${warnings.length === 1 ? '' : 's'}`;
    process.stdout.write(`${file} is right for a ${known}${noted}\n`);
  });

export const configCommand: Command = new Command('config')
  .description('look at configuration files')
  .addCommand(check);
