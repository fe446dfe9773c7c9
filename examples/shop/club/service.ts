/** The customers' club: gives points on a card. Its database is MariaDB; what it does for Atomesh is what the other services do. */
import mysql from 'mysql2/promise';
import { count, Refusal, serve, text, type Call, type Reply } from '../service.ts';

const pool = mysql.createPool({
  uri: process.env['DATABASE_URL'] ?? 'mysql://127.0.0.1:13306/club',
  connectionLimit: 5,
  connectTimeout: 5000,
});

serve({ 'POST /points': givePoints });

async function givePoints({ gid, body }: Call): Promise<Reply> {
  const order = text(body, 'order');
  const card = text(body, 'card');
  const points = count(body, 'points');

  return await inTransaction(gid, async (connection) => {
    const [given] = await connection.execute<mysql.ResultSetHeader>(
      'update card set points = points + ? where id = ?',
      [points, card],
    );
    if (given.affectedRows === 0) throw new Refusal(409, `there is no card of ${card}`);
    await connection.execute('insert into booking (order_id, card_id, points) values (?, ?, ?)', [order, card, points]);
    return { status: 201, body: { card, points } };
  });
}

/** Runs `work` in one local transaction, which belongs to the global transaction `gid` if there is one. */
async function inTransaction<T>(
  gid: string | undefined,
  work: (connection: mysql.PoolConnection) => Promise<T>,
): Promise<T> {
  const connection = await pool.getConnection();
  try {
    await connection.query(`begin${gidComment(gid)}`);
    const result = await work(connection);
    await connection.query('commit');
    connection.release();
    return result;
  } catch (error) {
    // With its connection the local transaction ends, whatever state it is in.
    connection.destroy();
    throw error;
  }
}

/** A local transaction carries its gid in a comment. Only what has a gid's form may become part of a statement's text. */
function gidComment(gid: string | undefined): string {
  return gid !== undefined && /^[A-Za-z0-9._:{}-]{1,128}$/.test(gid) ? ` /*atomesh_gid='${gid}'*/` : '';
}
