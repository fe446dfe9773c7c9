/** What a client may ask about its last statement, where statements of ours have run since. */
import type { Remembered } from '../text/effects.ts';
import { rowsIn, type Reply } from './reply.ts';

export interface LastStatement extends Remembered {
  /** The answer to SHOW WARNINGS right behind it; undefined where there was nothing to be shown. */
  readonly warnings: Reply | undefined;
}

/** `warnings`: the answer to SHOW WARNINGS; `warningCount`: what the statement's own answer says, which may be more. */
export function lastStatement(
  affectedRows: bigint,
  warnings: Reply | undefined,
  warningCount = warnings === undefined ? 0 : rowsIn(warnings).length,
): LastStatement {
  const levels = (warnings === undefined ? [] : rowsIn(warnings)).map(([level]) => level ?? '');
  return { affectedRows, foundRows: undefined, warningCount, levels, warnings };
}

/** The packets of an answer that has these of the rows of SHOW WARNINGS, by number; undefined where the server's own will do. */
export function warningsAnswer(
  { warnings, levels }: LastStatement,
  rows: readonly number[],
): readonly Buffer[] | undefined {
  if (warnings === undefined) return undefined;
  const { packets } = warnings;
  const start = packets.length - 1 - levels.length;
  return [
    ...packets.slice(0, start),
    ...rows.flatMap((row) => packets.slice(start + row, start + row + 1)),
    ...packets.slice(-1),
  ];
}

/** What a session remembers beyond its local transactions. */
export interface SessionMemory {
  /** Statements have had warnings here: they are asked for from then on. */
  expectsWarnings: boolean;
}
