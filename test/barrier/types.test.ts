import test from 'ava';
import type { MongoClient as MongodbClient, ClientSession } from 'mongodb';
import type { Connection as MysqlConnection, Pool as MysqlPool, PoolConnection } from 'mysql2/promise';
import type { Client, Pool, PoolClient } from 'pg';
import { createClient, createClientPool, createCluster } from 'redis';
import { mongoBarrier } from '../../src/client/barrier/mongo.ts';
import { mysqlBarrier } from '../../src/client/barrier/mysql.ts';
import { postgresBarrier } from '../../src/client/barrier/postgres.ts';
import type { RedisClient } from '../../src/client/barrier/redis.ts';
import type { BranchIdentity } from '../../src/client/barrier/types.ts';

const branch = {} as BranchIdentity;

/** Never called: that it compiles says that the drivers' own types fit, and that the work gets the driver's connection. */
async function usesOfDrivers(
  postgres: Pool,
  single: Client,
  mysql: MysqlPool,
  one: MysqlConnection,
  mongo: MongodbClient,
) {
  const inPostgres = postgresBarrier(postgres);
  await inPostgres.call(branch, async (tx: PoolClient) => tx.query('select 1'));
  await inPostgres.within(single, branch, async (tx: Client) => tx.query('select 1'));
  const inMysql = mysqlBarrier(mysql);
  await inMysql.call(branch, async (tx: PoolConnection) => tx.execute('select 1'));
  await inMysql.within(one, branch, async (tx: MysqlConnection) => tx.execute('select 1'));
  const inMongo = mongoBarrier(mongo);
  await inMongo.call(branch, async (session: ClientSession) =>
    mongo
      .db('shop')
      .collection('stock')
      .updateOne({}, { $inc: { count: 1 } }, { session }),
  );
}

function redisClients(): readonly RedisClient[] {
  return [createClient(), createClient({ RESP: 3 }), createClientPool(), createCluster({ rootNodes: [] })];
}

test('the clients of pg, mysql2, mongodb and redis fit as their own types describe them', (t) => {
  t.is(typeof usesOfDrivers, 'function');
  t.is(typeof redisClients, 'function');
});
