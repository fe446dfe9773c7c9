import test from 'ava';
import fc from 'fast-check';
import { readSteps, type Replay } from '../../proxy/workflow/replay.ts';
import { callName, decodeStep, encodeStep, hashOf, type CallIdentity, type Step } from '../../proxy/workflow/step.ts';
import { decodeRequest, encodeRequest } from '../../proxy/workflow/stored-request.ts';

const SEED = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);

const identity = fc.record({
  method: fc.constantFrom('GET', 'POST', 'PUT'),
  url: fc.constantFrom(
    'http://a/x',
    'http://a/x?q=1',
    `http://b/${'long/'.repeat(60)}`,
    `http://b/${'long/'.repeat(60)}z`,
  ),
  hash: fc.constantFrom('', hashOf('one'), hashOf('two')),
});
const answer = fc.record({
  status: fc.integer({ min: 200, max: 599 }),
  headers: fc.array(fc.string(), { maxLength: 4 }),
  body: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
});
const call = identity.chain((one) => fc.integer({ min: 1, max: 999 }).map((occurrence) => ({ ...one, occurrence })));
const step: fc.Arbitrary<Step> = fc.oneof(
  call.map((one) => ({ kind: 'started' as const, call: one })),
  fc.tuple(call, answer).map(([one, given]) => ({ kind: 'finished' as const, call: one, answer: given })),
  call.map((one) => ({ kind: 'tried' as const, call: one })),
  fc
    .tuple(answer, fc.boolean(), fc.nat())
    .map(([given, commits, run]) => ({ kind: 'answer' as const, answer: given, commits, run })),
);

function check(t: { log(text: string): void }, property: fc.IProperty<never> | object): void {
  t.log(`seed ${SEED}`);
  fc.assert(property as fc.IProperty<unknown>, { seed: SEED, numRuns: 300 });
}

/** Lets every call take its place, as they come; a contradicted one waits and comes again after the others. */
function takeAll(replay: Replay, calls: readonly CallIdentity[]): string[] {
  let waiting = calls;
  const kinds: string[] = [];
  for (;;) {
    const left = waiting.filter((wanted) => {
      const { kind } = replay.take(wanted);
      if (kind === 'contradicted') return true;
      kinds.push(kind);
      return false;
    });
    if (left.length === waiting.length) return [...kinds, ...left.map(() => 'contradicted')];
    waiting = left;
  }
}

/** The steps that a run leaves which makes these calls and finishes all of them. */
function recordsOf(calls: readonly CallIdentity[]): ReturnType<typeof encodeStep>[] {
  const { replay } = readSteps([]);
  return calls.map((wanted, index) => {
    const taken = replay.take(wanted);
    if (taken.kind !== 'new') throw new Error('nothing is recorded yet');
    return encodeStep({
      kind: 'finished',
      call: taken.call,
      answer: { status: 200, headers: [], body: Buffer.from(String(index)) },
    });
  });
}

test('a step is read as it was written', (t) => {
  check(
    t,
    fc.property(step, (written) => t.deepEqual(decodeStep(encodeStep(written)), written) ?? true),
  );
});

test('what is no step of ours is none, whatever it is', (t) => {
  const json = fc.jsonValue().map((value) => Buffer.from(JSON.stringify(value)).toString('base64'));
  check(
    t,
    fc.property(fc.oneof(fc.string(), json), (data) => {
      t.is(decodeStep({ step: 'x', data }), undefined);
      t.is(decodeRequest(data), undefined);
    }),
  );
});

test('a stored request is read as it was written', (t) => {
  const request = fc.record({
    method: fc.string(),
    path: fc.string(),
    headers: fc.array(fc.string()),
    body: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    commitOn: fc.constant([[200, 299]] as const),
  });
  check(
    t,
    fc.property(request, (written) => {
      t.deepEqual(decodeRequest(encodeRequest(written, 'nonce')), written as never);
    }),
  );
});

test('calls have names of at most 200 characters, and different calls different ones', (t) => {
  check(
    t,
    fc.property(call, call, (one, other) => {
      t.true(callName(one).length <= 200);
      const isSame = JSON.stringify(one) === JSON.stringify(other);
      t.is(callName(one) === callName(other), isSame);
    }),
  );
});

test('a program that makes the same calls again, in whatever order, repeats none of them', (t) => {
  const calls = fc.array(identity, { maxLength: 12 });
  const orders = calls.chain((made) =>
    fc.tuple(fc.constant(made), fc.shuffledSubarray(made, { minLength: made.length, maxLength: made.length })),
  );
  check(
    t,
    fc.property(orders, ([made, again]) => {
      const { replay } = readSteps(recordsOf(made));
      t.deepEqual(new Set(takeAll(replay, again)), new Set(made.length === 0 ? [] : ['recorded']));
      t.deepEqual(replay.ahead, []);
    }),
  );
});

test('a program that goes on from any point makes exactly the calls that are not recorded', (t) => {
  check(
    t,
    fc.property(fc.array(identity, { maxLength: 12 }), fc.nat({ max: 12 }), (made, finished) => {
      const { replay } = readSteps(recordsOf(made).slice(0, finished));
      const kinds = takeAll(replay, made);
      t.is(kinds.filter((kind) => kind === 'recorded').length, Math.min(finished, made.length));
      t.is(kinds.filter((kind) => kind === 'new').length, Math.max(0, made.length - finished));
    }),
  );
});

test('a call with another body than the recorded one is never new while that one has not been made', (t) => {
  const [wanted] = [{ method: 'POST', url: 'http://a/x', hash: hashOf('one') }];
  const { replay } = readSteps(recordsOf([wanted]));
  const other = { ...wanted, hash: hashOf('two') };
  t.is(replay.take(other).kind, 'contradicted');
  t.is(replay.take(wanted).kind, 'recorded');
  t.is(replay.take(other).kind, 'new');
});

test('of two equal calls at once, the second may be recorded and the first not', (t) => {
  const wanted = { method: 'GET', url: 'http://a/x', hash: '' };
  const { replay } = readSteps(recordsOf([wanted, wanted]).slice(1));
  t.deepEqual(takeAll(replay, [wanted, wanted]), ['new', 'recorded']);
});

test('a program that went on after an answer that was none for good goes the same way again', (t) => {
  const [first, second] = ['one', 'two'].map((text) => ({ method: 'PUT', url: 'http://a/x', hash: hashOf(text) }));
  if (first === undefined || second === undefined) return t.fail();
  const records = recordsOf([second]);
  t.deepEqual(
    takeAll(readSteps(records).replay, [first, second]),
    ['recorded', 'new'],
    'another order of calls at once',
  );
  t.is(readSteps(records).replay.take(first).kind, 'contradicted');
  const tried = encodeStep({ kind: 'tried', call: { ...first, occurrence: 1 } });
  t.is(readSteps([tried, ...records]).replay.take(first).kind, 'new');
  t.is(readSteps([tried, ...records]).obstacle, undefined);
});

test('a call that was not answered for good is the same step when it is tried again, in this run and in the next', (t) => {
  const { replay } = readSteps([]);
  const wanted = { method: 'POST', url: 'http://a/x', hash: '' };
  const first = replay.take(wanted);
  if (first.kind !== 'new') return t.fail();
  replay.release(first.call);
  t.deepEqual(replay.take(wanted), first);
  t.deepEqual(readSteps([]).replay.take(wanted), first);
});

test('a call whose answer the program did not hear is answered from the records when it is tried again', (t) => {
  const { replay } = readSteps([]);
  const wanted = { method: 'POST', url: 'http://a/x', hash: '' };
  const first = replay.take(wanted);
  if (first.kind !== 'new') return t.fail();
  replay.finish(first.call, { status: 200, headers: [], body: Buffer.from('a') });
  replay.release(first.call);
  t.is(replay.take(wanted).kind, 'recorded');
  t.deepEqual(replay.ahead, []);
});

test('a call that began and never ended, and a step that nobody can read, let no further run begin', (t) => {
  const place = { method: 'POST', url: 'http://a/x', hash: '', occurrence: 1 };
  const started = encodeStep({ kind: 'started', call: place });
  const finished = encodeStep({
    kind: 'finished',
    call: place,
    answer: { status: 200, headers: [], body: Buffer.from('') },
  });
  t.regex(readSteps([started]).obstacle ?? '', /1:POST http:\/\/a\/x took effect/);
  t.is(readSteps([started, finished]).obstacle, undefined);
  t.regex(readSteps([{ step: 'theirs', data: 'e30=' }]).obstacle ?? '', /"theirs"/);
});
