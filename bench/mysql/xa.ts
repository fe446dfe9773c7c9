/** What a local transaction costs that could be prepared, and one that is, on MariaDB without and with a binary log, written through at each commit. */
import { startMariadb } from '../../examples/support/mariadb-server.ts';
import { ProgramMissing } from '../../examples/support/programs.ts';
import { alternate, askLoad, startChild, type Part, type Result } from '../measure.ts';
import type { XaAnswer, XaLoad } from './xa-process.ts';

const SECONDS = 1;
const ROUNDS = 5;

const SCHEMA = `create database bench; use bench; set global innodb_flush_log_at_trx_commit = 1;
  create table account (id int primary key, balance bigint not null, note text);
  insert into account select seq, 0, md5(seq) from seq_1_to_200000;`;

async function run(): Promise<readonly Result[]> {
  try {
    return [
      ...(await measure('no binary log', [])),
      ...(await measure('binary log', ['--log-bin', '--sync-binlog=1'])),
    ];
  } catch (error) {
    if (!(error instanceof ProgramMissing)) throw error;
    console.log(`mysql-xa: not measured: ${error.message}`);
    return [];
  }
}

async function measure(log: string, options: readonly string[]): Promise<readonly Result[]> {
  await using server = await startMariadb(options);
  await server.run(SCHEMA);
  await using load = await startChild('mysql/xa-process.ts');
  const results: Result[] = [];
  for (const clients of [1, 16]) {
    const ask = (kind: XaLoad['kind']) => async (): Promise<number> =>
      (await askLoad<XaAnswer>(load, { port: server.port, clients, seconds: SECONDS, kind } satisfies XaLoad))
        .perSecond;
    const rates = await alternate(ROUNDS, {
      plain: ask('plain'),
      'one-phase': ask('one-phase'),
      reconnecting: ask('reconnecting'),
      prepared: ask('prepared'),
    });
    for (const [value, baseline, what] of [
      [rates['one-phase'], rates.plain, 'XA in one phase beside BEGIN and COMMIT'],
      [rates.prepared, rates.reconnecting, 'prepared beside BEGIN and COMMIT, each on a new connection'],
      [rates.prepared, rates.plain, 'prepared on a new connection beside BEGIN and COMMIT'],
    ] as const) {
      const name = `${what}, ${clients} ${clients === 1 ? 'client' : 'clients'}, ${log}`;
      results.push({ name, value, unit: '1/s', baseline, ratio: value / baseline, pass: true });
    }
  }
  return results;
}

export const mysqlXaPart: Part = { name: 'mysql-xa', run };
