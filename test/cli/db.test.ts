import test from 'ava';
import { startPostgres } from '../../examples/support/postgres-server.ts';
import { folder, run } from './support.ts';

function sidecarFile(upstreams: Readonly<Record<string, string>>, credentials: string): string {
  const databases = Object.entries(upstreams).map(([name, url], index) => {
    return `  - { name: ${name}, listen: "127.0.0.1:${15432 + index}", upstream: "${url}", credentials: ${credentials} }\n`;
  });
  return `service: orders\ncoordinator: { url: http://127.0.0.1:1 }\ndatabases:\n${databases.join('')}`;
}

test('db init prepares every database of a sidecar, as often as it is run', async (t) => {
  await using server = await startPostgres();
  await server.run('postgres', 'create role phase_two login');
  for (const name of ['a', 'b']) await server.run('postgres', `create database ${name}`);
  const upstream = (name: string): string => `postgres://127.0.0.1:${server.port}/${name}`;
  const file = folder(t).file('s.yaml', sidecarFile({ a: upstream('a'), b: upstream('b') }, '{ user: phase_two }'));
  const words = ['db', 'init', '--config', file];

  const refused = await run(t, words);
  t.is(refused.code, 1);
  t.regex(
    refused.err,
    /a: could not set up the schema atomesh: permission denied.*\n.*\nb: could not[^]*2 of 2 databases failed/,
  );

  for (const again of [1, 2]) {
    const done = await run(t, [...words, '--admin-user', 'postgres']);
    t.is(done.code, 0, `${again}: ${done.err}`);
    t.is(done.out, `a: the schema is in place at ${upstream('a')}\nb: the schema is in place at ${upstream('b')}\n`);
  }
  await t.notThrowsAsync(server.run('b', 'set role phase_two; delete from atomesh.undo_record'));
});

test('db init says what the server and its roles lack for prepared transactions, and only where some may be made', async (t) => {
  await using server = await startPostgres({ settings: { max_prepared_transactions: '5' } });
  await using off = await startPostgres({ settings: { max_prepared_transactions: '0' } });
  for (const each of [server, off])
    await each.run('postgres', 'create role phase_two login; create role "app 1" login');
  const hintsOf = async (port: number, ...options: readonly string[]): Promise<readonly string[]> => {
    const databases = options.map(
      (option, index) =>
        `  - { name: d${index}, listen: "127.0.0.1:${15432 + index}", upstream: "postgres://127.0.0.1:${port}/postgres", credentials: { user: phase_two }, ${option} }\n`,
    );
    const text = `service: orders\ncoordinator: { url: http://127.0.0.1:1 }\ndatabases:\n${databases.join('')}`;
    const words = ['db', 'init', '--config', folder(t).file('s.yaml', text), '--admin-user', 'postgres'];
    const { code, err } = await run(t, [...words, '--grant-to', 'app 1']);
    t.is(code, 0, err);
    return err.split('\n').filter((line) => line.includes('hint:'));
  };
  const [xa = '', undo = '', ...others] = await hintsOf(
    off.port,
    'mode: xa',
    'mode: undo',
    'escalate: off',
    'mode: none',
  );
  t.regex(xa, /^d0: hint: .* is 0, with which a sidecar with mode: xa does not start/);
  t.regex(undo, /^d1: hint: .* is 0, so changes without row images are refused/);
  t.deepEqual(others, []);
  const missing = 'd0: hint: phase_two cannot end what the application prepares; run: GRANT "app 1" TO "phase_two"';
  t.deepEqual(await hintsOf(server.port, 'mode: undo', 'escalate: off'), [missing]);
  await server.run('postgres', missing.replace(/^.*run: /, ''));
  t.deepEqual(await hintsOf(server.port, 'mode: undo', 'mode: xa'), []);
});

test('what db init prints does what db init does', async (t) => {
  await using server = await startPostgres();
  await server.run('postgres', 'create role phase_two login; create role app login');
  const url = `postgres://127.0.0.1:${server.port}/postgres`;
  const file = folder(t).file('s.yaml', sidecarFile({ a: url }, '{ user: phase_two }'));
  const { code, out } = await run(t, ['db', 'init', '--config', file, '--print', '--grant-to', 'app']);
  t.is(code, 0);
  await server.run('postgres', out);
  await t.notThrowsAsync(server.run('postgres', 'set role phase_two; delete from atomesh.row_lock'));
  await t.throwsAsync(server.run('postgres', 'set role app; delete from atomesh.row_lock'), {
    message: /permission denied/,
  });
});

test('db init says which databases there are, and where a password should have been', async (t) => {
  const file = folder(t).file('s.yaml', sidecarFile({ a: 'postgres://127.0.0.1:1/a' }, '{ user: x }'));
  const unknown = await run(t, ['db', 'init', '--config', file, '--database', 'c', '--print']);
  t.is(unknown.code, 64);
  t.regex(unknown.err, /has no database c; it has a/);
  const unset = await run(t, ['db', 'init', '--config', file, '--admin-user', 'x', '--admin-password-env', 'NOT_SET']);
  t.is(unset.code, 64);
  t.regex(unset.err, /NOT_SET is not set/);
  const unreachable = await run(t, ['db', 'init', '--config', file]);
  t.is(unreachable.code, 1);
  t.regex(unreachable.err, /a: could not set up the schema atomesh: connect ECONNREFUSED/);
});
