/** The same words to a server alone and to a sidecar, inside a global transaction: what is answered, and which rows are there behind it. */
import type mysql from 'mysql2/promise';
import type { Mesh } from '../inside/mesh.ts';

/** What a statement answers: its rows, or what the OK says of rows and of the session; or its error. A connection that is lost is one word. */
export async function told(client: mysql.Connection, sql: string): Promise<string> {
  try {
    const [result] = await client.query<mysql.ResultSetHeader | mysql.RowDataPacket[]>(sql);
    if (Array.isArray(result)) return JSON.stringify(result);
    // In a transaction, autocommit.
    return `${result.affectedRows} rows, ${result.serverStatus & 3}`;
  } catch (error) {
    const { errno, message } = error as Error & { readonly errno?: number };
    // The driver has words of its own for a connection that has ended, and numbers below those of servers.
    return errno === undefined || errno < 1000 ? 'gone' : `${errno} ${message}`;
  }
}

export interface SideBySide {
  /** What was said, and answered by the server alone and through the sidecar. */
  readonly lines: readonly (readonly [sql: string, alone: string, inside: string])[];
  readonly different: readonly string[];
}

/** Says it all: alone in the database `plain`, and through the sidecar in `shop`, there with what `inside` makes of each text. */
export async function sideBySide(
  mesh: Mesh,
  texts: readonly string[],
  inside: (text: string, index: number) => string,
): Promise<SideBySide> {
  const [plain, client] = [await mesh.plain(), await mesh.client()];
  const lines: (readonly [string, string, string])[] = [];
  for (const [index, text] of texts.entries())
    lines.push([text, await told(plain, text), await told(client, inside(text, index))]);
  plain.destroy();
  client.destroy();
  // What can be prepared is open from its first word on, of which a server speaks with its first table only.
  const different = lines.filter(
    ([sql, alone, other]) =>
      alone !== other && !(sql.startsWith('savepoint') && alone === '0 rows, 0' && other === '0 rows, 1'),
  );
  return { lines, different: different.map(([sql, alone, other]) => `${sql}: ${alone}, inside ${other}`) };
}
