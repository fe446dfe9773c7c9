/** How an initiator numbers its branches, as DTM does (`client/dtmcli/dtmimp/trans_base.go`, `BranchIDGen`). */
import { CodedError } from '../../contract/errors.ts';

const PER_LEVEL_MAX = 99;
/** DTM: a branch whose id is this long, or longer, has no sub-branches. */
const PARENT_CHARACTERS_MAX = 20;

/**
 * Gives the ids of the branches below `parent` (empty for the initiator of the global transaction): `01`, `02`, … each behind
 * the parent's own. Throws `CodedError` TOO_MANY_BRANCHES beyond 99, and when `parent` is too long to have branches.
 */
export function createBranchIds(parent: string): () => string {
  let last = 0;
  return () => {
    if (last === PER_LEVEL_MAX) {
      throw new CodedError(
        'TOO_MANY_BRANCHES',
        `one level of a global transaction has at most ${PER_LEVEL_MAX} branches`,
        {
          hint: 'Let branches call further ones as their sub-branches, or split the work into several global transactions.',
        },
      );
    }
    if (parent.length >= PARENT_CHARACTERS_MAX) {
      throw new CodedError('TOO_MANY_BRANCHES', `branch ${parent} is nested too deeply to have branches of its own`, {
        hint: 'Let a branch higher up call this participant.',
      });
    }
    last += 1;
    return parent + String(last).padStart(2, '0');
  };
}
