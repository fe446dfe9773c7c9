import test from 'ava';
import { AnswerReader } from '../../../proxy/mysql/session/answer-reader.ts';
import type { Asked } from '../../../proxy/mysql/session/asked.ts';
import type { Heard } from '../../../proxy/mysql/session/transaction.ts';
import { CAPABILITY } from '../../../proxy/mysql/wire/capabilities.ts';
import { COMMAND } from '../../../proxy/mysql/wire/commands.ts';
import { encodePackets } from '../../../proxy/mysql/wire/frames.ts';

/** An OK, with the flags of the session. */
const ok = (status: number): Buffer => Buffer.from([0, 0, 0, status, 0, 0, 0]);
const [MORE, NO_MORE] = [0x0a, 0x02];

/** Expects a query and a ping, and says what of both is heard when these packets come. */
function heardOf(...packets: readonly (readonly [payload: Buffer, sequence: number])[]): readonly string[] {
  const heard: string[] = [];
  const reader = new AnswerReader(CAPABILITY.protocol41 | CAPABILITY.deprecateEof | CAPABILITY.multiResults, {
    toClient: () => undefined,
    onPrepared: () => undefined,
    onNotPrepared: () => undefined,
    onHeard: () => undefined,
    onAnswered: () => undefined,
  });
  const asked = (name: string): Asked => ({
    by: 'sidecar',
    effect: 'inside',
    collect: (role) => heard.push(`${name} ${role}`),
    onEnd: (end: Heard | undefined) => heard.push(`${name} over${end?.kind === 'error' ? `, error ${end.errno}` : ''}`),
  });
  reader.expect(COMMAND.query, asked('query'));
  reader.expect(COMMAND.ping, asked('ping'));
  for (const [payload, sequence] of packets) reader.read(encodePackets(payload, sequence));
  return [...heard, `${reader.unanswered} unanswered`];
}

test('results of one answer count on, also past 255', (t) => {
  const wanted = ['query result-end', 'query end', 'query over', 'ping end', 'ping over', '0 unanswered'];
  for (const first of [1, 7, 254, 255])
    t.deepEqual(heardOf([ok(MORE), first], [ok(NO_MORE), (first + 1) & 0xff], [ok(NO_MORE), 1]), wanted, `${first}`);
});

test('an answer that the server has given up between two results ends with the next one, which counts anew', (t) => {
  for (const first of [1, 2, 255])
    t.deepEqual(
      heardOf([ok(MORE), first], [ok(NO_MORE), 1]),
      ['query result-end', 'query over, error 1317', 'ping end', 'ping over', '0 unanswered'],
      `${first}`,
    );
});
