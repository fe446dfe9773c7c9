/** Orders: writes one for each purchase. Nothing in the table keeps a purchase from having two; the barrier does. */
import pg from 'pg';
import { postgresBarrier, serveBehindBarrier } from '../../src/client/index.ts';
import { reply, serveRoutes, setting } from '../support/routes.ts';

const pool = new pg.Pool({ connectionString: setting('DATABASE_URL'), max: 10, connectionTimeoutMillis: 5000 });
pool.on('error', (error) => console.error('an idle connection broke:', error.message));
const barrier = postgresBarrier(pool);

serveRoutes({
  '/order': (request) =>
    serveBehindBarrier(request, barrier, async (tx, _branch, body) => {
      await tx.query('insert into orders (purchase) values ($1)', [(body as { purchase: string }).purchase]);
    }),
  '/ready': () => Promise.resolve(reply(200, {})),
});
