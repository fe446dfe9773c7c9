import test from 'ava';
import { settingsFault } from '../../../proxy/mysql/setup/settings.ts';

const fault = (settings: Readonly<Record<string, string>>): string | undefined =>
  settingsFault(new Map(Object.entries(settings)))?.message;

test('a binary log of statements is refused, and any other passes', (t) => {
  t.regex(fault({ log_bin: 'ON', binlog_format: 'STATEMENT' }) ?? '', /binlog_format/);
  t.is(fault({ log_bin: 'OFF', binlog_format: 'STATEMENT' }), undefined);
  for (const binlog_format of ['ROW', 'MIXED']) t.is(fault({ log_bin: 'ON', binlog_format }), undefined);
  t.is(fault({}), undefined);
});

test('a cluster all of whose members take changes is refused: locks are those of one member', (t) => {
  t.regex(fault({ wsrep_on: 'ON' }) ?? '', /cluster/);
  const group = { group_replication_group_name: '5d1f8b7e-0000-0000-0000-000000000000' };
  t.regex(fault({ ...group, group_replication_single_primary_mode: 'OFF' }) ?? '', /cluster/);
  t.is(fault({ ...group, group_replication_single_primary_mode: 'ON' }), undefined);
  t.is(
    fault({ wsrep_on: 'OFF', group_replication_group_name: '', group_replication_single_primary_mode: 'OFF' }),
    undefined,
  );
});
