/** Plays what a client says and keeps everything that it hears, in the bytes of each message. */
import { HEADER_BYTES } from '../../proxy/postgres/wire/frames.ts';
import type { FrontendMessage } from '../../proxy/postgres/wire/messages.ts';
import { close, copyFail, sync } from '../sql-passthrough/support/messages.ts';
import { RawClient, type Received } from '../sql-passthrough/support/raw-client.ts';

/** What a client says in one session: in each turn everything at once, and then it listens until that is answered. */
export interface Talk {
  readonly parameters: Readonly<Record<string, string>>;
  readonly turns: readonly (readonly FrontendMessage[])[];
  /** It says Terminate instead of only closing. */
  readonly isPolite: boolean;
}

const CLOSES = 9;
/** No talk closes so much in a row. */
const END_OF_TURN = `${'3'.repeat(CLOSES)}Z`;
/**
 * Ends every turn alike, whatever state the session is in: a COPY that is still open is given up, what is skipped behind an error ends,
 * and then come answers that nothing else has. Nothing of it depends on a transaction, or ends one.
 */
const TAIL: readonly FrontendMessage[] = [
  copyFail,
  sync,
  ...Array.from({ length: CLOSES }, () => close('portal', 'no such portal')),
  sync,
];

/** Everything that the server said, from the answer to the start-up packet on. Rejects when an answer stays away for a minute. */
export async function play(talk: Talk, port: number): Promise<readonly Received[]> {
  using client = new RawClient({ port });
  await client.startUp({ user: 'postgres', database: 'postgres', ...talk.parameters });
  await client.ready();
  for (const turn of talk.turns) {
    if (client.isEnded) break;
    const from = client.frames.length;
    await client.send([...turn, ...TAIL]);
    await client.until('the end of a turn', () => client.isEnded || isAnswered(client.frames, from));
  }
  if (talk.isPolite && !client.isEnded) await client.send([{ kind: 'terminate' }]);
  else if (!client.isEnded) client.socket.end();
  await client.closed();
  if (client.fault !== undefined) throw new Error(`what was heard is not the protocol: ${client.fault}`);
  return client.frames;
}

function isAnswered(frames: readonly Received[], from: number): boolean {
  const last = frames.slice(Math.max(from, frames.length - END_OF_TURN.length));
  return last.map(({ type }) => type).join('') === END_OF_TURN;
}

/** A message as text, without what differs between two sessions of one server: keys and process ids. */
export function exactLine({ type, bytes }: Received): string {
  const body = Buffer.from(bytes.subarray(HEADER_BYTES));
  if (type === 'K') return `K ${body.length} bytes`;
  if (type === 'A') body.fill(0, 0, 4);
  return `${type} ${body.toString('latin1')}`;
}
