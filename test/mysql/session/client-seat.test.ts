import test from 'ava';
import { SessionOver } from '../../../proxy/mysql/inside/seat.ts';
import { Binding } from '../../../proxy/mysql/session/binding.ts';
import { ClientSeat } from '../../../proxy/mysql/session/client-seat.ts';
import { STATUS } from '../../../proxy/mysql/wire/outcome.ts';

test('nothing of a session that is over is to be interrupted: the number of its connection may be somebody else’s', async (t) => {
  const nothing = (): void => undefined;
  const seat = new ClientSeat({
    binding: new Binding(STATUS.autocommit),
    capabilities: 0n,
    isMariadb: true,
    toServer: nothing,
    expect: nothing,
    pass: nothing,
    sockets: () => ({ toClient: nothing, keepUpstream: nothing, takeUpstream: () => undefined }),
    dropValues: nothing,
    hangUp: nothing,
    takesSeveral: () => false,
  });
  t.false(seat.isInterruptible);
  const asked = seat.ask([{ sql: 'UPDATE item SET v = 1' }]);
  t.true(seat.isInterruptible);
  seat.over();
  t.false(seat.isInterruptible);
  await t.throwsAsync(asked, { instanceOf: SessionOver });
});
