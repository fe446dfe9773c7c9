/** What the sessions of one database need to prepare local transactions in the place of committing them. */
import { newId } from '../../../src/platform/random.ts';
import {
  createLocalPreparation,
  type LocalPreparation,
  type LocalPreparationOptions,
} from '../../branch/xa/preparation.ts';
import type { UndoBranch } from '../../sql/work.ts';
import { preparedName } from './names.ts';

export interface Preparation extends LocalPreparation {
  /** The role of the second phase, which must be able to end what is prepared. */
  readonly finisher: string;
  /** A name for a prepared transaction of the branch, never the same twice. */
  nameFor(branch: UndoBranch): string;
}

/** Nothing is prepared yet. */
export function createPreparation(finisher: string, options: LocalPreparationOptions): Preparation {
  const nameFor = (branch: UndoBranch): string => preparedName(branch, newId());
  return { finisher, nameFor, ...createLocalPreparation(options) };
}
