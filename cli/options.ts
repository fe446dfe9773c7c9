/** Reads configuration files for commands: faults end the command, warnings go on. */
import { type ConfigFault, formatFaults } from '../config/fault.ts';
import { defaultCoordinatorOptions, loadCoordinatorConfig, loadSidecarConfig, readConfigFile } from '../config/load.ts';
import type { Loaded } from '../config/load.ts';
import { systemStrings, type Strings } from '../config/strings.ts';
import type { SidecarOptions } from '../proxy/options.ts';
import type { CoordinatorOptions } from '../src/options.ts';
import { CommandFailed, EXIT } from './exit.ts';

export interface Configured<Options> {
  readonly options: Options;
  readonly warnings: readonly ConfigFault[];
}

/** The coordinator's options from a file, or its defaults without one. Throws `CommandFailed` (78) with every fault. */
export function coordinatorConfig(file: string | undefined): Configured<CoordinatorOptions> {
  if (file === undefined) return { options: defaultCoordinatorOptions(), warnings: [] };
  return configured(file, loadCoordinatorConfig);
}

/** The sidecar's options from a file. Throws `CommandFailed` (78) with every fault. */
export function sidecarConfig(file: string): Configured<SidecarOptions> {
  return configured(file, loadSidecarConfig);
}

function configured<Options>(
  file: string,
  load: (text: string, file: string, strings: Strings) => Loaded<Options>,
): Configured<Options> {
  const read = readConfigFile(file);
  const loaded = read.kind === 'text' ? load(read.text, file, systemStrings) : read;
  if (loaded.kind === 'invalid') throw new CommandFailed(EXIT.config, formatFaults(loaded.faults));
  return loaded;
}
