/** A server counts connections that are cut in the middle of a login, and takes none of a host behind so many. */
import { networkInterfaces } from 'node:os';
import test from 'ava';
import { startMariadb } from '../../../examples/support/mariadb-server.ts';
import { CUSTOMER, denied, managed, open, refusalOf, SECRET, told } from './stage.ts';
import { until } from '../../../examples/support/until.ts';
import { startListening } from '../listening.ts';
import { CACHING_SHA2, Talk } from './talk.ts';

const ERRORS_MAX = 5;
/** Of connections over the loopback interface a server counts nothing. */
const address = Object.values(networkInterfaces())
  .flat()
  .find((each) => each?.internal === false && each.family === 'IPv4')?.address;
const withAddress = address === undefined ? test.skip : test;

withAddress(
  'wrong passwords at the sidecar, and clients that go without a word, do not have its host blocked by the server',
  async (t) => {
    await using server = await startMariadb([
      '--bind-address=0.0.0.0',
      '--skip-name-resolve=0',
      `--max-connect-errors=${ERRORS_MAX}`,
    ]);
    await server.run(
      `create database k; create user native@'%' identified by '${SECRET}'; grant all on k.* to native@'%'`,
    );
    const options = managed({ user: 'native', password: SECRET }, { upstream: `mysql://${address}:${server.port}/k` });
    await using sidecar = await startListening({ to: server.port, options });
    for (let count = 0; count < ERRORS_MAX * 2; count += 1) {
      t.deepEqual(await refusalOf(sidecar.port, { password: 'wrong' }), denied('orders'));
      using talk = new Talk(sidecar.port);
      await talk.greeting();
      talk.socket.end();
      await talk.closed();
      using cut = new Talk(sidecar.port);
      cut.answer(await cut.greeting(), { method: CACHING_SHA2, answer: Buffer.alloc(0) });
      await cut.next();
      cut.socket.resetAndDestroy();
    }
    const connection = await open(sidecar.port, { password: CUSTOMER });
    t.like(await told(connection), { me: 'native' });
    await connection.end();
    // That the server does count: whom it greets, and who goes without a word.
    await t.notThrowsAsync(
      until('the server takes no connection of the host', async () => {
        using talk = new Talk(server.port, address);
        const said = (await talk.next())?.toString() ?? '';
        return said.includes('is blocked because of many connection errors') ? true : undefined;
      }),
    );
  },
);
