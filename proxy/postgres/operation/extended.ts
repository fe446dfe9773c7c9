/** The extended protocol inside an operation: the row of the barrier goes out ahead of the client's Execute. */
import { assert } from '../../../src/platform/assert.ts';
import { enteredOperation, type Admission } from '../../sql/session.ts';
import { currentWork, type Conversation } from '../session/conversation.ts';
import { sendRow } from './row.ts';

/** Adds the row to the batch. Up to the Sync it shares its fate with what follows: when it is refused, the server skips that. */
export function addRow(c: Conversation, { checkEarlierWrites }: Extract<Admission, { kind: 'enter' }>): void {
  const work = currentWork(c);
  assert(work?.kind === 'operation', 'only operations are entered');
  sendRow(c, work.operation, { checkEarlierWrites, told: true });
  c.state = enteredOperation(c.state);
}
