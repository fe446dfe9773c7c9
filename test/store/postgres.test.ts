import test from 'ava';
import { startPostgres, type PostgresServer } from '../../examples/support/postgres-server.ts';
import { openLog } from '../../src/platform/log.ts';
import { newId } from '../../src/platform/random.ts';
import { openPostgresStore } from '../../src/store/postgres.ts';
import { storeLaws } from './laws.ts';

const LOG = openLog('test', 'silent');
/** Another database to hold to the laws: `postgres://…`. Each test makes a schema of its own there. */
const OTHER = process.env['ATOMESH_TEST_STORE_URL'];
/** The oldest and the newest that are supported. */
const MAJORS = OTHER === undefined ? ([14, 18] as const) : [];

function lawsAt(name: string, urlOf: () => string): void {
  storeLaws(test, name, async () => {
    const options = { url: urlOf(), schema: `s${newId()}` };
    let store = await openPostgresStore(options, LOG);
    return {
      store,
      reopen: async () => {
        await store.close();
        store = await openPostgresStore(options, LOG);
        return store;
      },
      close: () => store.close(),
    };
  });
}

const servers = new Map<number, PostgresServer>();
test.before(async () => {
  for (const major of MAJORS) servers.set(major, await startPostgres({ major }));
});
test.after.always(async () => {
  for (const server of servers.values()) await server[Symbol.asyncDispose]();
});

for (const major of MAJORS) lawsAt(`postgres ${major}`, () => servers.get(major)?.url('postgres') ?? '');
if (OTHER !== undefined) lawsAt('another database', () => OTHER);
