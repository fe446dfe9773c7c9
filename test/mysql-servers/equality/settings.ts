/** Settings of the session that statements run in. */
import fc from 'fast-check';

export interface Settings {
  readonly modes: readonly string[];
  readonly zone: string;
  readonly isolation: string;
  readonly autocommit: boolean;
  readonly countsFound: boolean;
  readonly collation: string;
  readonly increment: number;
}

export const settings: fc.Arbitrary<Settings> = fc.record({
  modes: fc.subarray(
    [
      'STRICT_TRANS_TABLES',
      'NO_ZERO_DATE,NO_ZERO_IN_DATE',
      'ANSI_QUOTES',
      'NO_BACKSLASH_ESCAPES',
      'PIPES_AS_CONCAT',
      'PAD_CHAR_TO_FULL_LENGTH',
      'HIGH_NOT_PRECEDENCE',
      'NO_AUTO_VALUE_ON_ZERO',
      'NO_UNSIGNED_SUBTRACTION',
      'ALLOW_INVALID_DATES',
      'IGNORE_SPACE',
      'REAL_AS_FLOAT',
    ],
    { maxLength: 4 },
  ),
  zone: fc.constantFrom('+00:00', '+05:30', '-11:00'),
  isolation: fc.constantFrom(
    'READ COMMITTED',
    'REPEATABLE READ',
    'REPEATABLE READ',
    'SERIALIZABLE',
    'READ UNCOMMITTED',
  ),
  autocommit: fc.constantFrom(true, true, false),
  countsFound: fc.boolean(),
  collation: fc.constantFrom('utf8mb4_general_ci', 'utf8mb4_general_ci', 'utf8mb4_bin', 'latin1_bin'),
  increment: fc.constantFrom(1, 1, 1, 3),
});
