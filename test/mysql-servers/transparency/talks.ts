/** What clients of MySQL say, by chance from a seed: all commands of the protocol, in orders that no driver would think of. */
import { CAPABILITY } from '../../../proxy/mysql/wire/capabilities.ts';
import { encodeCommand, type Command } from '../../../proxy/mysql/wire/commands.ts';
import { LAST_STATEMENT } from '../../../proxy/mysql/wire/execute.ts';
import type { Parameter } from '../../../proxy/mysql/wire/query.ts';
import { TYPE } from '../../../proxy/mysql/wire/values.ts';
import type { Random } from '../../simulation/random.ts';
import { VARIANTS } from '../sessions.ts';
import type { Talk } from './play.ts';

/** Made once in both servers. */
export const SCHEMA = [
  `create database k; use k;
   create table item (id int primary key auto_increment, name varchar(50) not null unique, price decimal(10,2), note longtext);
   create table log (id int primary key auto_increment, line varchar(200));`,
  `use k; create procedure twice(in x int) begin select x, 'one'; select id, name from item where id < x order by id; end`,
  `use k; create procedure writes() begin insert into log (line) values ('a'); commit; insert into log (line) values ('b'); rollback; end`,
] as const;

/** Puts the rows in, in place of all that there are. */
export const FILL = `use k; drop table if exists made; truncate log; truncate item;
  insert into item (id, name, price) values (1, 'item 1', 1.5), (2, 'item 2', 3), (3, 'item 3', 4.5), (4, 'item 4', 6);`;

const TEXTS = [
  'select id, name, price from item where id < 4 order by id',
  'select 1 as one, null, true',
  "select repeat('z', 9000)",
  'select count(*) from log',
  'show variables like "sql_mode"',
  'select nope',
  'selec',
  '',
  ';',
  '-- nothing',
  '/* a comment */ select 5 # and another',
  "/*!50000 select 'run' */",
  "select 'open",
  'insert into log (line) values ("a"), ("b")',
  'update item set price = price + 1 where id = 2',
  'update item set price = 1',
  "insert into item (name) values ('item 1')",
  "insert into item (name) values ('x') on duplicate key update price = 2",
  'delete from log',
  'begin',
  'begin',
  'start transaction read only',
  'commit',
  'commit and chain',
  'rollback',
  'savepoint a',
  'rollback to a',
  'release savepoint a',
  'set autocommit = 0',
  'set autocommit = 1',
  'set names latin1',
  "set names utf8mb4, @x = 'ü'",
  "set session sql_mode = 'NO_BACKSLASH_ESCAPES'",
  "set sql_mode = default, session_track_transaction_info = 'STATE'",
  "set session_track_system_variables = '*'",
  'lock tables item write',
  'unlock tables',
  'create table if not exists made (a int)',
  'alter table log comment = "c"',
  'call twice(3)',
  'call writes()',
  'call nowhere()',
  'select 1; select 2, 3',
  'begin; insert into log (line) values ("kept?"); selekt; select 3',
  'select 1; set autocommit = 0; insert into log (line) values ("i"); commit; select 2',
  "prepare s from 'select 5'",
  'execute s',
  'deallocate prepare s',
  'xa start "x"',
  'xa end "x"',
  'xa rollback "x"',
  'use k',
  'use nowhere',
  'show warnings',
  'load data local infile "rows" into table log (line)',
  'do sleep(0)',
  'select sql_calc_found_rows id from item order by id limit 1',
  'select found_rows(), row_count(), last_insert_id()',
  'handler item open',
  'handler item read first',
  'handler item close',
  // Words that a gid can come with, and no gid.
  "select 'atomesh', 'traceparent' /* atomesh */",
  "/* traceparent='00-11111111111111111111111111111111-2222222222222222-01' */ select 1",
  'select @atomesh_gid',
] as const;

const PREPARED = [
  'select ? + 1, ?',
  'select name from item where id > ? order by id',
  'insert into log (line) values (?)',
  'update item set price = ? where id = ?',
  'select 7',
  'selekt ?',
  'call twice(?)',
  'commit',
  "select 'atomesh', ?",
] as const;

const STATEMENTS = [1, 2, 3, 4, LAST_STATEMENT, 99];

/** The talk of a seed. */
export function anyTalk(random: Random): Talk {
  const capabilities = random.pick(Object.values(VARIANTS)) | (random.chance(0.5) ? CAPABILITY.multiStatements : 0n);
  const turns = Array.from({ length: random.between(1, 10) }, () => anyTurn(random));
  return {
    capabilities: capabilities | CAPABILITY.localFiles,
    turns: turns.map((turn) =>
      turn.map((command) => encodeCommand(command, capabilities & ~CAPABILITY.queryAttributes)),
    ),
    file: [Buffer.from('one\ntw'), Buffer.from('o\n')].slice(random.between(0, 2)),
  };
}

/** A file ends a turn: what came behind the statement would be taken for it. */
function anyTurn(random: Random): readonly Command[] {
  const commands: Command[] = [];
  for (let left = random.between(1, 8); left > 0; left -= 1) {
    const command = anyCommand(random);
    commands.push(command);
    if (command.kind === 'change-user' || (command.kind === 'query' && command.text.includes('load data'))) break;
  }
  return commands;
}

function anyCommand(random: Random): Command {
  const statement = random.pick(STATEMENTS);
  const dice = random.next();
  if (dice < 0.4) return { kind: 'query', attributes: undefined, text: Buffer.from(random.pick(TEXTS)) };
  if (dice < 0.55) return { kind: 'stmt-prepare', text: Buffer.from(random.pick(PREPARED)) };
  if (dice < 0.75) return anyExecute(random, statement);
  if (dice < 0.79) return { kind: 'stmt-fetch', statement, rows: random.between(0, 3) };
  if (dice < 0.82) return { kind: 'stmt-close', statement };
  if (dice < 0.85) return { kind: 'stmt-reset', statement };
  if (dice < 0.88) {
    return { kind: 'stmt-send-long-data', statement, parameter: random.between(0, 1), data: Buffer.from('long') };
  }
  return anyRare(random);
}

function anyRare(random: Random): Command {
  switch (random.between(0, 8)) {
    case 0:
      return { kind: 'ping' };
    case 1:
      return { kind: 'statistics' };
    case 2:
      return { kind: 'init-db', schema: Buffer.from(random.pick(['k', 'nowhere'])) };
    case 3:
      return { kind: 'field-list', table: Buffer.from(random.pick(['item', 'nowhere'])), wildcard: Buffer.from('%') };
    case 4:
      return { kind: 'set-option', option: random.between(0, 2) };
    case 5:
      return { kind: 'reset-connection' };
    case 6:
      return { kind: 'process-kill', connectionId: 4_000_000_000 };
    case 7:
      return {
        kind: 'change-user',
        user: Buffer.from('atomesh'),
        authResponse: Buffer.alloc(0),
        database: Buffer.from('k'),
        charset: 45,
        plugin: Buffer.from('mysql_native_password'),
        attributes: undefined,
      };
    default:
      return { kind: 'other', code: 0x0f, data: Buffer.from('x') };
  }
}

function anyExecute(random: Random, statement: number): Command {
  const parameters = Array.from({ length: random.between(0, 2) }, () => anyParameter(random));
  return {
    kind: 'stmt-execute',
    statement,
    flags: random.pick([0, 0, 1]),
    iterations: 1,
    parameters: parameters.length > 0 ? parameters : undefined,
    sendsTypes: parameters.length > 0 && random.chance(0.9),
  };
}

function anyParameter(random: Random): Parameter {
  const name = Buffer.alloc(0);
  if (random.chance(0.2)) return { type: { code: TYPE.varString, flags: 0 }, name, value: null };
  if (random.chance(0.5)) return { type: { code: TYPE.varString, flags: 0 }, name, value: Buffer.from('2') };
  return { type: { code: TYPE.long, flags: 0 }, name, value: Buffer.from([3, 0, 0, 0]) };
}

/** A talk as one reads it in a failure. */
export function readable(talk: Talk): string {
  return talk.turns
    .map((turn) => turn.map((payload) => JSON.stringify(payload.toString('latin1'))).join('\n  '))
    .join('\n  ---\n  ');
}
