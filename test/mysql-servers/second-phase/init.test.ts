import { spawn } from 'node:child_process';
import { once } from 'node:events';
import test from 'ava';
import mysql from 'mysql2/promise';
import { programOf } from '../../../examples/support/programs.ts';
import type { MariadbServer } from '../../../examples/support/mariadb-server.ts';
import { insertClaimsSql, takeOverSql } from '../../../proxy/mysql/locks/row-locks.ts';
import { checkSchema, initialiseDatabase } from '../../../proxy/mysql/setup/init.ts';
import { ENTER_BRANCH, INSERT_RECORD, schemaScript } from '../../../proxy/mysql/schema.ts';
import { openPreparedTransactions } from '../../../proxy/mysql/xa/prepared.ts';
import type { Gid } from '../../../src/contract/transaction.ts';
import { folder, run } from '../../cli/support.ts';
import { RESOURCE, SERVERS, rowsOf } from './world.ts';

for (const [name, start] of SERVERS) {
  let server: MariadbServer;
  test.before(`${name} is started`, async () => {
    server = await start();
    await server.run(`create database shop; create table shop.note (id int primary key);
      create user app@'127.0.0.1'; create user finisher@'127.0.0.1'; create user library@'127.0.0.1'; create user stranger@'127.0.0.1';
      grant select, insert on shop.* to app@'127.0.0.1'`);
  });
  test.after.always(`${name} is stopped`, () => server?.[Symbol.asyncDispose]());

  const as = (user: string) => ({ host: '127.0.0.1', port: server.port, user });

  test.serial(
    `${name}: a server without the schema, or with another version of it, is told from one that is ready`,
    async (t) => {
      await t.throwsAsync(checkSchema(as('atomesh')), { message: /no database atomesh/, code: 'BAD_REQUEST' });
      const options = {
        grantTo: 'app@127.0.0.1',
        grantBarrier: "'library'@'127.0.0.1'",
        finisher: 'finisher@127.0.0.1',
      };
      for (let round = 0; round < 2; round += 1) await initialiseDatabase(as('atomesh'), options);
      for (const user of ['atomesh', 'finisher']) await t.notThrowsAsync(checkSchema(as(user)), user);
      await t.throwsAsync(checkSchema(as('app')), { message: /may not use/, code: 'BAD_REQUEST' });
      await server.run('update atomesh.schema_version set version = 0');
      await t.throwsAsync(checkSchema(as('finisher')), { message: /another version/, code: 'BAD_REQUEST' });
      await server.run('delete from atomesh.schema_version');
      await t.throwsAsync(checkSchema(as('finisher')), { message: /not complete/, code: 'BAD_REQUEST' });
      await initialiseDatabase(as('atomesh'));
      await t.notThrowsAsync(checkSchema(as('finisher')));
      await t.throwsAsync(checkSchema(as('nobody')), { code: 'UPSTREAM_UNREACHABLE' });
      await t.throwsAsync(checkSchema({ ...as('finisher'), port: 1 }), { code: 'UPSTREAM_UNREACHABLE' });
      await t.throwsAsync(initialiseDatabase(as('stranger')), { message: /denied/i, code: 'INTERNAL' });
    },
  );

  test.serial(
    `${name}: an account of the application captures and takes part, and reaches nothing else of the schema`,
    async (t) => {
      await server.run(`insert into atomesh.branch_state (gid, resource, state) values ('g', '${RESOURCE}', 'active')`);
      const app = await mysql.createConnection(as('app'));
      t.teardown(() => app.destroy());
      await app.query('begin');
      t.deepEqual(await rowsOf(app, ENTER_BRANCH, ['g', RESOURCE]), [{ state: 'active' }]);
      await app.query('insert into shop.note values (1)');
      await app.query(INSERT_RECORD, ['g', RESOURCE, '[]', Buffer.alloc(32)]);
      await app.query("insert into atomesh.row_lock (relation, lock_key, gid, resource) values ('t', 'k', 'g', 'r')");
      t.deepEqual(await rowsOf(app, "select gid from atomesh.row_lock where relation = 't'"), [{ gid: 'g' }]);
      const claim = { relation: 't', key: 'k' };
      for (let n = 0; n < 2; n += 1) await app.query(insertClaimsSql([claim], { gid: 'g' as Gid, resource: 'r' }));
      await app.query(takeOverSql([claim], 'g' as Gid, { gid: 'h' as Gid, resource: 'r' }));
      await app.query("call atomesh.enter_operation('tcc', 'g', '01', 'try', -5)");
      // None of this was counted, so the client's own number is not changed by it.
      t.deepEqual(await rowsOf(app, 'select last_insert_id() as id'), [{ id: 0 }]);
      await app.query('commit');
      for (const sql of [
        'select body from atomesh.undo_record',
        'select secret from atomesh.seal_secret',
        'delete from atomesh.undo_record',
        'delete from atomesh.row_lock',
        'delete from atomesh.parent_claim',
        "update atomesh.parent_claim set gid = 'u'",
        "update atomesh.undo_record set body = '[]'",
        "insert into atomesh.branch_state (gid, resource, state) values ('h', 'r', 'rolled_back')",
        "update atomesh.branch_state set state = 'active'",
        "insert into atomesh.barrier (trans_type, gid, branch_id, op, barrier_id, reason) values ('tcc', 'g1', '01', 'cancel', '01', 'cancel')",
        'select * from atomesh.operation_answer',
      ]) {
        await t.throwsAsync(app.query(sql), { message: /denied/i }, sql);
      }
      app.destroy();
      const library = await mysql.createConnection(as('library'));
      await library.query(
        "insert into atomesh.barrier (trans_type, gid, branch_id, op, barrier_id) values ('tcc', 'l', '01', 'try', '01')",
      );
      const [row] = await rowsOf<{ id: number }>(library, "select id from atomesh.barrier where gid = 'l'");
      t.true(Number.isSafeInteger(row?.id) && (row?.id ?? 0) > 0, 'programs in JavaScript delete by this number');
      library.destroy();
      const stranger = await mysql.createConnection(as('stranger'));
      await t.throwsAsync(stranger.query("call atomesh.enter_operation('tcc', 'g', '01', 'try', -5)"), {
        message: /denied/i,
      });
      stranger.destroy();
    },
  );

  test.serial(`${name}: who may not list what is prepared is told so at the start`, async (t) => {
    const opened = openPreparedTransactions({ database: RESOURCE, connection: as('finisher') });
    if (name === 'MariaDB') {
      await t.notThrowsAsync(opened.then((each) => each.close()));
      return;
    }
    await t.throwsAsync(opened, { code: 'BAD_REQUEST', message: /finisher may not list prepared/ });
    await server.run("grant xa_recover_admin on *.* to finisher@'127.0.0.1'");
    const after = openPreparedTransactions({ database: RESOURCE, connection: as('finisher') });
    await t.notThrowsAsync(after.then((each) => each.close()));
  });

  test.serial(
    `${name}: what db init prints can be run by the command-line client, and db init does the same`,
    async (t) => {
      await server.run('drop database atomesh');
      const client = spawn(
        await programOf('mariadb', 'mariadb-client'),
        ['--no-defaults', '--skip-ssl', '-h127.0.0.1', `-P${server.port}`, '-uatomesh'],
        {
          stdio: ['pipe', 'ignore', 'pipe'],
        },
      );
      let said = '';
      client.stderr.on('data', (chunk: Buffer) => {
        said += chunk.toString();
      });
      client.stdin.end(schemaScript({ grantTo: 'app@127.0.0.1', finisher: 'finisher@127.0.0.1' }));
      t.deepEqual(await once(client, 'close'), [0, null], said);
      await t.notThrowsAsync(checkSchema(as('finisher')));

      await server.run('drop database atomesh');
      const upstream = `mysql://127.0.0.1:${server.port}/shop`;
      const text = `service: orders\ncoordinator: { url: http://127.0.0.1:1 }\ndatabases:\n  - { engine: mysql, name: d, listen: "127.0.0.1:1", upstream: "${upstream}", mode: none }\n`;
      const words = ['db', 'init', '--config', folder(t).file('s.yaml', text)];
      const refused = await run(t, words);
      t.is(refused.code, 1);
      t.regex(refused.err, /d: nobody is named who may log in: say --admin-user/);
      const wrong = await run(t, [...words, '--admin-user', 'stranger']);
      t.is(wrong.code, 1);
      t.regex(wrong.err, /d: could not set up the database atomesh: Access denied/);
      const done = await run(t, [...words, '--admin-user', 'atomesh', '--grant-to', 'app@127.0.0.1']);
      t.is(done.code, 0, done.err);
      t.is(done.out, `d: the schema is in place at ${upstream}\n`);
      const printed = await run(t, [...words, '--print', '--grant-to', 'app@127.0.0.1']);
      t.is(printed.out, `-- d: ${upstream}\n${schemaScript({ grantTo: 'app@127.0.0.1' })}\n`);
    },
  );
}
