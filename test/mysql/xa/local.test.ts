import test from 'ava';
import {
  begin,
  end,
  insideFailure,
  type Answer,
  type Begun,
  type Beginning,
  type Ended,
  type LocalKind,
  type ServerError,
  type Turn,
} from '../../../proxy/mysql/xa/local.ts';
import { xidOf } from '../../../proxy/mysql/xa/names.ts';
import type { Gid } from '../../../src/contract/transaction.ts';

const xid = xidOf({ gid: 'g' as Gid, resource: 'shop/db' }, '0123456789abcdef');
const NAME = /X'[0-9a-f]+',X'[0-9a-f]+',\d+/g;
const PLAIN: LocalKind = { kind: 'plain' };
const XA: LocalKind = { kind: 'xa', xid };

const OK = undefined;
const error = (errno: number): ServerError => ({ kind: 'error', errno, packet: Buffer.from([0xff]) });

/** What is said turn by turn to a server that answers so, and what comes of it. */
function play<Result>(
  first: Turn<Result> | Result,
  answers: readonly (readonly Answer[])[],
): { readonly said: readonly string[]; readonly result: Result } {
  const said: string[] = [];
  let turn = first;
  for (const each of answers) {
    if (!isTurn(turn)) throw new Error('it was over before');
    said.push(turn.statements.join('; ').replaceAll(NAME, '@'));
    turn = turn.judge(each);
  }
  if (isTurn(turn)) throw new Error('it is not over');
  return { said, result: turn };
}

function isTurn<Result>(turn: Turn<Result> | Result): turn is Turn<Result> {
  return (turn as { readonly kind?: unknown }).kind === 'say';
}

/** The error that the client hears: its number, with `!` where the words are ours. */
function heard(result: Begun | Ended): string {
  const failure = 'failure' in result ? result.failure : undefined;
  if (failure === undefined) return '';
  return failure.kind === 'error' ? String(failure.errno) : `${failure.refusal.errno}! ${failure.refusal.code}`;
}

const BEGINNINGS: readonly (readonly [how: Beginning, plain: string, xa: string])[] = [
  [{}, 'START TRANSACTION', 'XA START @'],
  [{ access: 'READ ONLY' }, 'START TRANSACTION READ ONLY', 'SET TRANSACTION READ ONLY; XA START @'],
  [
    { isolation: 'SERIALIZABLE', access: 'READ WRITE' },
    'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; START TRANSACTION READ WRITE',
    'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE; XA START @',
  ],
  [
    { hasSnapshot: true, access: 'READ ONLY' },
    'START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY',
    "SET TRANSACTION READ ONLY; XA START @; SELECT state FROM atomesh.branch_state WHERE gid = '' AND resource = ''",
  ],
];

for (const [how, plain, xa] of BEGINNINGS) {
  test(`a local transaction begins as it was asked for: ${JSON.stringify(how)}`, (t) => {
    for (const [local, wanted] of [
      [PLAIN, plain],
      [XA, xa],
    ] as const) {
      const { said, result } = play(begin(local, how), [wanted.split('; ').map(() => OK)]);
      t.deepEqual(said, [wanted]);
      t.deepEqual(result, { kind: 'begun' });
    }
  });
}

const FAILED_BEGINNINGS: readonly {
  readonly why: string;
  readonly local: LocalKind;
  readonly how?: Beginning;
  readonly answers: readonly (readonly Answer[])[];
  readonly hears: string;
  readonly closes: boolean;
}[] = [
  { why: 'plain, refused', local: PLAIN, answers: [[error(1290)]], hears: '1290', closes: false },
  {
    why: 'plain, refused behind a setting that would outlive it',
    local: PLAIN,
    how: { isolation: 'SERIALIZABLE' },
    answers: [[OK, error(1290)]],
    hears: '1290',
    closes: true,
  },
  { why: 'another one is open', local: XA, answers: [[error(1400)]], hears: '1568! 25001', closes: false },
  { why: 'an XA transaction is open', local: XA, answers: [[error(1399)]], hears: '1568! 25001', closes: false },
  { why: 'a server without XA', local: XA, answers: [[error(1235)]], hears: '1235! 42000', closes: false },
  { why: 'the name is taken', local: XA, answers: [[error(1440)]], hears: '1235! 42000', closes: false },
  { why: 'interrupted', local: XA, answers: [[error(1317)]], hears: '1317', closes: false },
  {
    why: 'refused behind a setting that would outlive it',
    local: XA,
    how: { access: 'READ ONLY' },
    answers: [[OK, error(1400)]],
    hears: '1568! 25001',
    closes: true,
  },
  {
    why: 'begun without its setting',
    local: XA,
    how: { access: 'READ ONLY' },
    answers: [
      [error(1227), OK],
      [OK, OK],
    ],
    hears: '1227',
    closes: false,
  },
  {
    why: 'begun without its snapshot, and the server lets go of nothing',
    local: XA,
    how: { hasSnapshot: true },
    answers: [
      [OK, error(1142)],
      [OK, error(1290)],
    ],
    hears: '1142',
    closes: true,
  },
];

for (const { why, local, how, answers, hears, closes } of FAILED_BEGINNINGS) {
  test(`one that cannot begin leaves none open, and the client hears why: ${why}`, (t) => {
    const { said, result } = play(begin(local, how), answers);
    t.is(heard(result), hears);
    t.like(result, { kind: 'failed', closes });
    if (said.length > 1) t.is(said[1], 'XA END @; XA ROLLBACK @');
  });
}

const ENDS: readonly {
  readonly verb: 'commit' | 'prepare' | 'rollback';
  readonly local: LocalKind;
  /** The answers of each turn, the first in one phase, the second to the rollback that follows a failure. */
  readonly answers: readonly (readonly Answer[])[];
  readonly result: Partial<{ kind: Ended['kind']; closes: boolean }>;
  readonly hears?: string;
}[] = [
  { verb: 'commit', local: PLAIN, answers: [[OK]], result: { kind: 'committed' } },
  { verb: 'commit', local: XA, answers: [[OK, OK]], result: { kind: 'committed' } },
  { verb: 'prepare', local: XA, answers: [[OK, OK]], result: { kind: 'prepared' } },
  { verb: 'rollback', local: PLAIN, answers: [[OK]], result: { kind: 'rolled-back', closes: false } },
  { verb: 'rollback', local: PLAIN, answers: [[error(1317)]], result: { kind: 'rolled-back', closes: true } },
  { verb: 'rollback', local: XA, answers: [[OK, OK]], result: { kind: 'rolled-back', closes: false } },
  // Behind a deadlock, MySQL and MariaDB.
  { verb: 'rollback', local: XA, answers: [[error(1614), OK]], result: { kind: 'rolled-back', closes: false } },
  { verb: 'rollback', local: XA, answers: [[error(1399), OK]], result: { kind: 'rolled-back', closes: false } },
  {
    verb: 'rollback',
    local: XA,
    answers: [[error(1397), error(1397)]],
    result: { kind: 'rolled-back', closes: false },
  },
  { verb: 'rollback', local: XA, answers: [[OK, error(1290)]], result: { kind: 'rolled-back', closes: true } },
  {
    verb: 'commit',
    local: PLAIN,
    answers: [[error(1205)], [OK]],
    result: { kind: 'rolled-back', closes: false },
    hears: '1205',
  },
  { verb: 'commit', local: PLAIN, answers: [[error(1180)]], result: { kind: 'unknown' }, hears: '1180' },
  // FLUSH TABLES WITH READ LOCK: it is gone at once.
  ...(['commit', 'prepare'] as const).map((verb) => ({
    verb,
    local: XA,
    answers: [
      [OK, error(1205)],
      [error(1399), error(1397)],
    ],
    result: { kind: 'rolled-back', closes: false } as const,
    hears: '1205',
  })),
  // read_only, as MariaDB has it.
  {
    verb: 'commit',
    local: XA,
    answers: [
      [OK, error(1290)],
      [error(1399), error(1290)],
    ],
    result: { kind: 'rolled-back', closes: true },
    hears: '1290',
  },
  // It had been rolled back before its end.
  ...(['commit', 'prepare'] as const).map((verb) => ({
    verb,
    local: XA,
    answers: [
      [error(1399), error(1399)],
      [error(1399), OK],
    ],
    result: { kind: 'rolled-back', closes: false } as const,
    hears: '1213! 40001',
  })),
  {
    verb: 'commit',
    local: XA,
    answers: [
      [error(1614), error(1614)],
      [error(1397), error(1397)],
    ],
    result: { kind: 'rolled-back', closes: false },
    hears: '1213! 40001',
  },
  // The server does not say what has become of it, and has it no more.
  ...(['commit', 'prepare'] as const).map((verb) => ({
    verb,
    local: XA,
    answers: [
      [OK, error(1401)],
      [error(1399), error(1397)],
    ],
    result: { kind: 'unknown' } as const,
    hears: '1180! HY000',
  })),
  {
    verb: 'commit',
    local: XA,
    answers: [
      [OK, error(1180)],
      [error(1397), error(1397)],
    ],
    result: { kind: 'unknown' },
    hears: '1180',
  },
  // It has it still, and gives it up.
  {
    verb: 'prepare',
    local: XA,
    answers: [
      [OK, error(1401)],
      [error(1399), OK],
    ],
    result: { kind: 'rolled-back', closes: false },
    hears: '1180! HY000',
  },
];

const SAID = {
  plain: { commit: 'COMMIT AND NO CHAIN NO RELEASE', prepare: '', rollback: 'ROLLBACK AND NO CHAIN NO RELEASE' },
  xa: {
    commit: 'XA END @; XA COMMIT @ ONE PHASE',
    prepare: 'XA END @; XA PREPARE @',
    rollback: 'XA END @; XA ROLLBACK @',
  },
} as const;

for (const { verb, local, answers, result: wanted, hears = '' } of ENDS) {
  const numbers = answers.map((turn) => turn.map((each) => each?.errno ?? 'OK').join(' ')).join(', ');
  test(`${verb}, ${local.kind}, answered by ${numbers}: ${wanted.kind}`, (t) => {
    const { said, result } = play(end(local, verb), answers);
    t.like(result, wanted);
    t.is(heard(result), hears);
    t.is(said[0], SAID[local.kind][verb]);
    if (said.length > 1) t.is(said[1], SAID[local.kind].rollback);
  });
}

test('what was begun without a name cannot be prepared', (t) => {
  t.throws(() => end(PLAIN, 'prepare'));
});

test('errors that speak of XA are said in words that a client knows', (t) => {
  t.is(insideFailure(1399)?.code, '25000');
  t.is(insideFailure(4091)?.code, '0A000');
  for (const errno of [1402, 1613, 1614]) t.is(insideFailure(errno)?.code, '40001');
  for (const errno of [1205, 1213, 1062]) t.is(insideFailure(errno), undefined);
});
