/** How much of a dirty branch an operator is shown, whatever its database is. */
import type { RowDiagnosis } from '../../src/contract/messages.ts';

/** Rows that are in the way: some of them by column, and how many more there are. */
export interface RowsInTheWay {
  readonly rows: readonly RowDiagnosis[];
  readonly rowsMore: number;
}

/** So many changed rows of a branch are looked at; of one that changed more, nothing beyond the first obstacle is known. */
export const EXAMINED_MAX = 10_000;
const SHOWN_MAX = 20;
/** Of the rows that are shown, as JSON: the diagnosis is kept with the global transaction. */
const CHARACTERS_MAX = 10_000;

/** As many of the rows as an operator reads, each as `show` has it. */
export async function shownRows<Row>(
  inTheWay: readonly Row[],
  show: (row: Row) => RowDiagnosis | Promise<RowDiagnosis>,
): Promise<RowsInTheWay> {
  const rows: RowDiagnosis[] = [];
  let characters = 0;
  for (const row of inTheWay.slice(0, SHOWN_MAX)) {
    const shown = await show(row);
    characters += JSON.stringify(shown).length;
    if (characters > CHARACTERS_MAX) break;
    rows.push(shown);
  }
  return { rows, rowsMore: inTheWay.length - rows.length };
}
