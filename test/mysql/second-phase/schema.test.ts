import { createSecretKey, type KeyObject } from 'node:crypto';
import test from 'ava';
import { accountSql } from '../../../proxy/mysql/setup/account.ts';
import { schemaScript, schemaStatements } from '../../../proxy/mysql/schema.ts';
import { isSealed, sealOf } from '../../../proxy/mysql/seal.ts';
import { keepsPrepared, readVersion, supportedVersion } from '../../../proxy/mysql/setup/version.ts';
import { imageText, valueText } from '../../../proxy/mysql/rollback/text.ts';
import { CodedError } from '../../../src/contract/errors.ts';

test('nothing of the schema counts by itself, which would change what LAST_INSERT_ID() tells a client', (t) => {
  t.false(schemaStatements().some((statement) => /auto_increment/i.test(statement)));
});

test('each statement is one: a script tells the command-line clients where those with semicolons end', (t) => {
  const script = schemaScript({ grantTo: 'app@10.0.0.%', grantBarrier: 'library', finisher: "'fin'@'localhost'" });
  const [before = '', procedure = '', after = ''] = script.split(/DELIMITER (?:\/\/|;)\n/);
  t.regex(procedure, /^CREATE PROCEDURE [\s\S]*END \/\/\n$/);
  for (const part of [before, after]) {
    for (const statement of part.split(';\n').filter((each) => each !== ''))
      t.false(statement.includes(';'), statement);
  }
  t.regex(after, /GRANT EXECUTE ON atomesh\.\* TO 'app'@'10\.0\.0\.%'/);
  t.regex(after, /GRANT SELECT, INSERT ON atomesh\.barrier TO 'library'@'%'/);
  t.regex(after, /DELETE, EXECUTE ON atomesh\.\* TO 'fin'@'localhost'/);
});

test('an account is user and host, quoted or not; anything else is refused', (t) => {
  for (const [text, sql] of [
    ['app', "'app'@'%'"],
    ['app@localhost', "'app'@'localhost'"],
    ["'my app'@'10.%'", "'my app'@'10.%'"],
    ["app@'%'", "'app'@'%'"],
  ] as const) {
    t.is(accountSql(text), sql);
  }
  for (const text of ['', '@host', "a'b", "app'; DROP DATABASE x; --", 'a@b@c', "'a\\'@'b'", 'a b']) {
    t.throws(() => accountSql(text), { instanceOf: CodedError }, text);
  }
});

test('servers that are too old are refused by their version', (t) => {
  for (const text of [
    '10.11.19-MariaDB-0+deb12u1',
    '5.5.5-10.5.2-MariaDB',
    '11.4.2-MariaDB',
    '8.0.13',
    '8.0.36-0ubuntu0',
    '9.1.0',
    '8.4.0-commercial',
  ]) {
    t.notThrows(() => supportedVersion(text), text);
  }
  for (const text of [
    '10.4.34-MariaDB',
    '5.5.5-10.3.39-MariaDB',
    '8.0.12',
    '5.7.44-log',
    '10.5.1-MariaDB',
    '',
    'PostgreSQL 18',
  ]) {
    const error = t.throws(() => supportedVersion(text), { instanceOf: CodedError }, text);
    t.true(error?.message.includes(text));
    t.regex(error?.hint ?? '', /MySQL 8\.0\.13 or later, or MariaDB 10\.5\.2 or later/);
  }
  t.like(readVersion('5.5.5-10.5.2-MariaDB'), { flavour: 'mariadb', major: 10, minor: 5, patch: 2 });
});

test('only servers that keep what they have prepared may prepare', (t) => {
  const keeps = (text: string, log: boolean): boolean => keepsPrepared(supportedVersion(text), log);
  t.deepEqual(
    [keeps('8.0.29', true), keeps('8.0.29', false), keeps('8.0.30', true), keeps('10.5.2-MariaDB', true)],
    [false, true, true, true],
  );
});

test('a seal is about all of a record, and no other secret makes it', (t) => {
  const record = { gid: 'g', resource: 'shop/db', body: '[1]' };
  const [secret, other] = [1, 2].map((byte) => createSecretKey(Buffer.alloc(32, byte))) as [KeyObject, KeyObject];
  const seal = sealOf(secret, record);
  t.is(seal.length, 32);
  t.true(isSealed(secret, record, seal));
  t.false(isSealed(other, record, seal));
  t.false(isSealed(secret, record, seal.subarray(1)));
  for (const changed of [{ gid: 'h' }, { resource: 'shop/dc' }, { body: '[2]' }])
    t.false(isSealed(secret, { ...record, ...changed }, seal));
});

test('images are shown as a person reads them', (t) => {
  const hex = (text: string): string => Buffer.from(text).toString('hex').toUpperCase();
  const column = { name: 'c', type: 'varchar(9)' } as const;
  for (const [form, charset, value, text] of [
    ['number', undefined, '-1.50', '-1.50'],
    ['text', 'utf8mb4', hex('ä,b'), 'ä,b'],
    ['text', 'latin1', 'E480', 'ä€'],
    ['text', 'gbk', 'B0A1', '0xB0A1'],
    ['padded', 'ascii', '', ''],
    ['enum', 'utf8mb4', '0', ''],
    ['json', undefined, `!${hex('{}')}`, '{}'],
    ['bytes', undefined, '00FF', '0x00FF'],
    ['timestamp', undefined, '1577836800.250000', '2020-01-01 00:00:00.250000 UTC'],
    ['timestamp', undefined, '0', '0000-00-00 00:00:00'],
    ['plain', undefined, '2020-00-00', '2020-00-00'],
  ] as const) {
    t.is(valueText({ ...column, form, ...(charset === undefined ? {} : { charset }) }, value), text);
  }
  t.is(valueText({ ...column, form: 'plain' }, undefined), null);
  const columns = [
    { ...column, form: 'number' },
    { ...column, form: 'plain' },
  ] as const;
  t.is(imageText(columns, '7,N'), '(7, NULL)');
});
