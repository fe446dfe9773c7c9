/**
 * The shop front: answers prices from a cache in Redis, and forgets them when it is told to.
 *
 * Who finds no price takes a lease, reads the database, and fills the cache only if the lease is still his. Forgetting takes the
 * lease away with the price. Otherwise somebody who had read the old price could put it back after it was forgotten, and there it
 * would stay (R. Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013, section 3.2.1).
 */
import pg from 'pg';
import { createClient } from 'redis';
import { type BranchReply, type BranchRequest, newGid, serveBranch } from '../../src/client/index.ts';
import { reply, serveRoutes, setting, textOf } from '../support/routes.ts';

const pool = new pg.Pool({ connectionString: setting('DATABASE_URL'), max: 10, connectionTimeoutMillis: 5000 });
pool.on('error', (error) => console.error('an idle connection broke:', error.message));
const redis = createClient({ url: setting('REDIS_URL') });
redis.on('error', (error: Error) => console.error('redis:', error.message));
await redis.connect();

const LEASE_SECONDS = 10;
const FILL = `if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[1], ARGV[2])
return 1`;

serveRoutes({
  '/price': show,
  '/ready': () => Promise.resolve(reply(200, {})),
  // A branch of the message. To forget twice is to forget: it needs no barrier.
  '/forget': (request) => serveBranch(request, (_branch, body) => forget((body as { item: string }).item)),
});

async function show(request: BranchRequest): Promise<BranchReply> {
  const item = textOf(request, 'item') ?? '';
  const cached = await redis.get(`price:${item}`);
  if (cached !== null) return reply(200, { price: cached, from: 'cache' });
  const lease = newGid();
  await redis.set(`lease:${item}`, lease, { expiration: { type: 'EX', value: LEASE_SECONDS } });
  const { rows } = await pool.query<{ price: string }>('select price from price where item = $1', [item]);
  const [found] = rows;
  if (found === undefined) return reply(404, { error: 'no such item' });
  await redis.eval(FILL, { keys: [`price:${item}`, `lease:${item}`], arguments: [lease, found.price] });
  return reply(200, { price: found.price, from: 'database' });
}

async function forget(item: string): Promise<void> {
  await redis.del([`price:${item}`, `lease:${item}`]);
}
