/** How branches are numbered. */
import type { BranchId } from '../../contract/transaction.ts';

/**
 * The id of the branch that is enlisted as the `sequence`-th, from 1: `01` to `98`, then `99` followed by four digits
 * (`990000` to `999899`), then `9999` followed by six, and so on. No id is the beginning of another, so none looks like a
 * sub-branch of another (DTM appends two digits per level), and the order of the texts is the order of enlistment.
 */
export function branchIdOf(sequence: number): BranchId {
  let prefix = '';
  let digits = 2;
  let rest = sequence;
  // A block of n digits ends below its last hundredth: those that begin with `99` lead to the next block.
  let room = 98;
  while (rest > room) {
    rest -= room;
    prefix += '99';
    digits += 2;
    room = 99 * 10 ** (digits - 2);
  }
  const first = prefix === '' ? 0 : 1;
  return (prefix + String(rest - first).padStart(digits, '0')) as BranchId;
}
