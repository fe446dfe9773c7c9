/** A shop that takes one order and dies: after the commit of its database, before it has told the coordinator. */
import pg from 'pg';
import { connectDtm, parseGid } from '../../src/client/index.ts';
import { ordersBarrier, placeOrder } from './orders.ts';

const { COORDINATOR_URL = '', DATABASE_URL = '', GRANT_URL = '', BACK_CHECK_URL = '', GID = '' } = process.env;

const gid = parseGid(GID);
if (gid === undefined) throw new Error('GID is no gid');
const barrier = ordersBarrier(new pg.Pool({ connectionString: DATABASE_URL, max: 1 }));

await placeOrder(
  connectDtm({ url: COORDINATOR_URL }),
  {
    ...barrier,
    call: async (branch, work) => {
      await barrier.call(branch, work);
      return process.kill(process.pid, 'SIGKILL') as never;
    },
  },
  { grant: GRANT_URL, backCheck: BACK_CHECK_URL },
  { gid, customer: 'bob', price: 50 },
);
