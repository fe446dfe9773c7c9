/** Settings of a server with which a change could not be taken back. Pure. */
import { CodedError } from '../../../src/contract/errors.ts';

/** Asks for the settings that are judged; each server answers those that it has. */
export const SETTINGS_SQL =
  "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format', 'wsrep_on', 'group_replication_group_name', 'group_replication_single_primary_mode')";

/**
 * What is wrong with these settings, by their names; undefined when nothing is. Sources: MySQL 8.0 reference manual, "Replication
 * Formats", "Group Replication Limitations"; MariaDB documentation, "MariaDB Galera Cluster - Known Limitations".
 */
export function settingsFault(settings: ReadonlyMap<string, string>): CodedError | undefined {
  const is = (name: string, value: string): boolean => settings.get(name)?.toUpperCase() === value;
  // InnoDB writes nothing under READ COMMITTED where the binary log takes statements (ER_BINLOG_STMT_MODE_AND_ROW_ENGINE).
  if (is('log_bin', 'ON') && is('binlog_format', 'STATEMENT')) {
    return new CodedError(
      'BAD_REQUEST',
      'binlog_format of the server is STATEMENT, with which row images cannot be kept',
      { hint: "Set binlog_format to ROW, or to MIXED, in the server's configuration." },
    );
  }
  const isGroup = (settings.get('group_replication_group_name') ?? '') !== '';
  const isMultiPrimary = isGroup && is('group_replication_single_primary_mode', 'OFF');
  if (!is('wsrep_on', 'ON') && !isMultiPrimary) return undefined;
  // The state of a branch is locked by whoever changes rows for it; a second phase on another member would not meet that lock.
  return new CodedError(
    'BAD_REQUEST',
    'the server belongs to a cluster all of whose members take changes, and none sees the locks of another',
    { hint: 'Use a server with replicas (group_replication_single_primary_mode = ON), or mode: none.' },
  );
}
