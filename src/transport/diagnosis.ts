/** What a participant says of a branch that it found dirty, beside the error itself. */
import { z } from 'zod';
import type { Diagnosis } from '../contract/messages.ts';

/** It is kept with the transaction, in memory and in the store. */
const CHARACTERS_MAX = 16_384;

const value = z.string().nullable().exactOptional();

const DIAGNOSIS: z.ZodType<Diagnosis> = z.object({
  reason: z.string(),
  table: z.string(),
  rows: z
    .array(
      z.object({
        table: z.string(),
        columns: z.array(
          z.object({
            name: z.string(),
            before: value,
            after: value,
            current: value,
            changed: z.boolean(),
            differs: z.boolean(),
          }),
        ),
      }),
    )
    .exactOptional(),
  rowsMore: z.int().positive().exactOptional(),
});

/** The `diagnosis` in the body of an answer; undefined when there is none, or none that can be kept. */
export function diagnosisIn(body: string): Diagnosis | undefined {
  try {
    const { diagnosis } = z.object({ diagnosis: DIAGNOSIS }).parse(JSON.parse(body));
    return JSON.stringify(diagnosis).length > CHARACTERS_MAX ? undefined : diagnosis;
  } catch {
    return undefined;
  }
}
