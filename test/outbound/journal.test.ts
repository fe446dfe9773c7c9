import test from 'ava';
import type { Gate, HeldAnswer, Verdict } from '../../proxy/http/admission.ts';
import { openGates } from '../../proxy/outbound/gates.ts';
import type { Journal, JournaledCall, JournalEntry } from '../../proxy/outbound/journal.ts';
import { CodedError } from '../../src/contract/errors.ts';
import { ask } from '../proxy-http/support.ts';
import { service, world } from './world.ts';

interface Recorded extends Journal {
  readonly calls: JournaledCall[];
  readonly bodies: string[];
  readonly ends: string[];
}

/** A journal that says `entry` of every call, and notes what its gate hears. */
function journalOf(entry: (call: JournaledCall, gate: Gate) => JournalEntry): Recorded {
  const ends: string[] = [];
  const calls: JournaledCall[] = [];
  const bodies: string[] = [];
  const gate: Gate = {
    keeps: 100,
    answered: ({ status, body }: HeldAnswer): Promise<Verdict> => {
      ends.push(`answered ${status} ${String(body)}`);
      return Promise.resolve({ kind: 'pass', headers: ['x-recorded', '1'] });
    },
    failed: (error) => {
      ends.push(`failed ${error.code}`);
      return Promise.resolve([]);
    },
    clientLeft: () => void ends.push('left'),
  };
  return {
    calls,
    bodies,
    ends,
    async enter(call) {
      calls.push(call);
      bodies.push(String(await call.body()));
      return entry(call, gate);
    },
  };
}

const goes = (_call: JournaledCall, gate: Gate): JournalEntry => ({
  kind: 'call',
  run: 1,
  step: '1:POST /x',
  headers: ['idempotency-key', 'k'],
  gate,
});

test('calls under the mark of a run are entered, all others are not', async (t) => {
  const hotel = await service(t);
  const journal = journalOf(goes);
  const { outbound, begin } = await world(t, [], { journal });
  const gid = await begin('workflow');
  const post = (mark: string): ReturnType<typeof ask> =>
    ask(outbound.port, { method: 'POST', path: `${hotel.url}/x?y=1`, headers: { 'atomesh-gid': mark }, body: 'b' });
  await post(gid);
  await post(`${gid}/01/try`);
  await post(`${gid}/00/msg`);
  t.is(journal.calls.length, 0);
  const answer = await post(`${gid}/00/run1`);
  t.is(answer.headers['x-recorded'], '1');
  t.is(journal.calls[0]?.url, `${hotel.url}/x?y=1`);
  t.is(journal.calls[0]?.isBranch, false);
  t.deepEqual(journal.bodies, ['b']);
  t.deepEqual(journal.ends, ['answered 200 {}']);
  t.is(hotel.seen[3]?.headers['idempotency-key'], 'k');
  t.is(hotel.seen[3]?.body, 'b');
  t.is(hotel.seen[3]?.headers['atomesh-gid'], gid);
});

test('what the journal answers or refuses calls nobody', async (t) => {
  const hotel = await service(t);
  const own = { status: 201, headers: ['x-own', '1'], body: Buffer.from('recorded') };
  const journal = journalOf(({ url }) =>
    url.endsWith('/known')
      ? { kind: 'answer', answer: own, run: 1, step: '1:POST /known', headers: [] }
      : { kind: 'refuse', error: new CodedError('REPLAY_MISMATCH', 'not what it was') },
  );
  const { outbound, asked, begin } = await world(
    t,
    [{ match: `POST ${hotel.url}/**`, saga: { compensate: `POST ${hotel.url}/undo` } }],
    { journal },
  );
  const headers = { 'atomesh-gid': `${await begin('workflow')}/00/run1` };
  const known = await ask(outbound.port, { method: 'POST', path: `${hotel.url}/known`, headers, body: '' });
  t.is(`${known.status} ${known.body}`, '201 recorded');
  const other = await ask(outbound.port, { method: 'POST', path: `${hotel.url}/other`, headers, body: '' });
  t.is(other.status, 500);
  t.is(hotel.seen.length, 0);
  t.deepEqual(asked, ['enlist'], 'the branch of the recorded call is one of this run too');
  t.true(journal.calls.every(({ isBranch }) => isBranch));
});

test('the same step of two runs is the same branch', async (t) => {
  const hotel = await service(t);
  const journal = journalOf(goes);
  const { outbound, client, begin } = await world(
    t,
    [{ match: `POST ${hotel.url}/x`, saga: { compensate: `POST ${hotel.url}/undo` } }],
    { journal },
  );
  const gid = await begin('workflow');
  const headers = { 'atomesh-gid': `${gid}/00/run1` };
  for (let time = 0; time < 2; time += 1) {
    await ask(outbound.port, { method: 'POST', path: `${hotel.url}/x`, headers, body: '' });
  }
  t.deepEqual(
    hotel.seen.map((seen) => [seen.headers['atomesh-branch'], seen.headers['idempotency-key']]),
    [
      ['01', 'k'],
      ['01', 'k'],
    ],
  );
  t.is((await client.read(gid))?.branches.length, 1);
});

test('a message is recorded as answered, and a call that cannot be enlisted as failed', async (t) => {
  const mail = await service(t);
  const journal = journalOf(goes);
  const { outbound, client, begin } = await world(t, [{ match: `POST ${mail.url}/send`, message: {} }], { journal });
  const gid = await begin('workflow');
  const send = (): ReturnType<typeof ask> =>
    ask(outbound.port, {
      method: 'POST',
      path: `${mail.url}/send`,
      headers: { 'atomesh-gid': `${gid}/00/run1` },
      body: '',
    });
  t.is((await send()).status, 202);
  await client.abort(gid, {});
  t.is((await send()).status, 409);
  t.deepEqual(journal.ends, ['answered 202 {}', 'failed TRANSACTION_DECIDED']);
  t.is(mail.seen.length, 0);
});

const ANSWER: HeldAnswer = { status: 200, headers: ['a', '1'], body: Buffer.from('b') };
const ERROR = new CodedError('INTERNAL', 'replaced');
const OWN = { status: 201, headers: [], body: Buffer.from('own') };

function gateOf(name: string, verdict: Verdict, heard: string[], keeps?: number): Gate {
  return {
    ...(keeps === undefined ? {} : { keeps }),
    answered: ({ status, headers }) => {
      heard.push(`${name} answered ${status} ${headers.join(' ')}`);
      return Promise.resolve(verdict);
    },
    failed: (error) => {
      heard.push(`${name} failed ${error.code}`);
      return Promise.resolve([name, 'f']);
    },
    clientLeft: () => void heard.push(`${name} left`),
  };
}

const VERDICTS: readonly (readonly [first: Verdict, second: Verdict, heard: readonly string[], end: Verdict])[] = [
  [
    { kind: 'pass', headers: ['x', '1'] },
    { kind: 'pass', headers: ['y', '2'] },
    ['1 answered 200 a 1', '2 answered 200 a 1 x 1'],
    { kind: 'pass', headers: ['x', '1', 'y', '2'] },
  ],
  [
    { kind: 'pass', headers: [] },
    { kind: 'replace', error: ERROR, headers: [] },
    ['1 answered 200 a 1', '2 answered 200 a 1'],
    { kind: 'replace', error: ERROR, headers: [] },
  ],
  [
    { kind: 'replace', error: ERROR, headers: [] },
    { kind: 'pass', headers: [] },
    ['1 answered 200 a 1', '2 failed INTERNAL'],
    { kind: 'replace', error: ERROR, headers: ['2', 'f'] },
  ],
  [
    { kind: 'answer', answer: OWN },
    { kind: 'pass', headers: [] },
    ['1 answered 200 a 1', '2 answered 201 '],
    { kind: 'answer', answer: OWN },
  ],
];

for (const [first, second, heard, end] of VERDICTS) {
  test(`two gates: ${first.kind}, then ${second.kind}`, async (t) => {
    const lines: string[] = [];
    const gate = openGates(gateOf('1', first, lines, 5), gateOf('2', second, lines, 3));
    t.is(gate.keeps, 5);
    t.deepEqual(await gate.answered(ANSWER), end);
    t.deepEqual(lines, heard);
  });
}

test('both gates hear of a failure and of a client that leaves', async (t) => {
  const lines: string[] = [];
  const pass: Verdict = { kind: 'pass', headers: [] };
  const gate = openGates(gateOf('1', pass, lines), gateOf('2', pass, lines));
  t.deepEqual(await gate.failed(ERROR), { kind: 'replace', error: ERROR, headers: ['1', 'f', '2', 'f'] });
  gate.clientLeft();
  t.deepEqual(lines, ['1 failed INTERNAL', '2 failed INTERNAL', '1 left', '2 left']);
});
