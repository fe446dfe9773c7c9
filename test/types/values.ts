/** Every built-in type that a column may have, and some of extensions and users, with the values that are hard to keep. */

/** A type with values in their input form, as a client would write them between quotes. */
export interface TypeCase {
  readonly type: string;
  readonly inputs: readonly string[];
  /** The first major version that has the type, or takes the values. */
  readonly since?: number;
}

/** Creates what the types of users are made of. */
export const USER_TYPES = `
CREATE EXTENSION IF NOT EXISTS citext; CREATE EXTENSION IF NOT EXISTS hstore; CREATE EXTENSION IF NOT EXISTS ltree;
CREATE TYPE mood AS ENUM ('sad', 'it''s "ok", (fine)', ' ', 'NULL');
CREATE TYPE "Pair Of" AS (a int, "B b" text, t timestamptz);
CREATE TYPE nested AS (p "Pair Of", f float8[], m money);
CREATE DOMAIN positive AS numeric(20,5) CHECK (VALUE > 0);
CREATE DOMAIN label AS varchar(20);
CREATE DOMAIN inner_label AS label;
CREATE DOMAIN words AS text[] CHECK (cardinality(VALUE) < 9);
CREATE TYPE float_range AS RANGE (subtype = float8, subtype_diff = float8mi);
`;

/** All 256 bytes, in hex. */
const ALL_BYTES = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0')).join('');

const TEXTS: readonly string[] = [
  '',
  'NULL',
  'null',
  ' pad ',
  '\\',
  '\\\\ \n\t\r\u0001\u007f',
  `"'"''`,
  '(a,b)',
  ',',
  'ü€𝄞\u200f\ufeff',
  '{x}',
  '[,)',
  '$1 -- ; /* */',
];

/** The cases. Values that PostgreSQL itself cannot read back are not among them: pg_dump loses those too. */
export const TYPES: readonly TypeCase[] = [
  { type: 'bool', inputs: ['true', 'false'] },
  { type: 'int2', inputs: ['-32768', '32767', '0'] },
  { type: 'int4', inputs: ['-2147483648', '2147483647', '0'] },
  { type: 'int8', inputs: ['-9223372036854775808', '9223372036854775807', '9007199254740993'] },
  {
    type: 'numeric',
    inputs: [
      'NaN',
      '-0.00',
      '1.50',
      '1.5',
      '1.500',
      '1e-20',
      'Infinity',
      '-Infinity',
      '123456789012345678901234567890.123456789',
    ],
  },
  { type: 'numeric(10,3)', inputs: ['1.5', '-0.001', '9999999.999', 'NaN'] },
  { type: 'float4', inputs: ['-0', '0', 'NaN', 'Infinity', '-Infinity', '0.1', '1e-45', '3.4028235e38', '16777217'] },
  {
    type: 'float8',
    inputs: [
      '-0',
      '0',
      'NaN',
      'Infinity',
      '0.1',
      '2.2250738585072014e-308',
      '5e-324',
      '0.30000000000000004',
      '1.7976931348623157e308',
    ],
  },
  { type: 'money', inputs: ['1.23', '-9999.99', '92233720368547758.07', '-92233720368547758.08'] },
  { type: 'text', inputs: TEXTS },
  { type: 'char(5)', inputs: ['ab', '     ', '', 'ü€'] },
  { type: 'bpchar', inputs: ['ab  ', ' '] },
  { type: 'varchar(5)', inputs: ['ab  ', ''] },
  { type: '"char"', inputs: ['x', '', '\\', '"', '('] },
  { type: 'name', inputs: ['n', 'a "b"', ''] },
  { type: 'bytea', inputs: [`\\x${ALL_BYTES}`, '', 'abcd', '\\\\\\000'] },
  { type: 'date', inputs: ['0044-03-15 BC', 'infinity', '-infinity', '4713-01-01 BC', '5874897-12-31', '2024-02-29'] },
  { type: 'time', inputs: ['24:00', '00:00', '12:34:56.789012', '23:59:60'] },
  { type: 'time(2)', inputs: ['12:34:56.789'] },
  { type: 'timetz', inputs: ['12:00+05:30', '24:00-15:59:59', '00:00:00.000001+15:59'] },
  {
    type: 'timestamp',
    inputs: [
      '2024-03-10 02:30:00.123456',
      '-infinity',
      'infinity',
      '0001-01-01 BC',
      '4714-11-24 00:00:00 BC',
      '294276-12-31 23:59:59.999999',
    ],
  },
  { type: 'timestamp(0)', inputs: ['2024-03-10 02:30:00.6'] },
  {
    type: 'timestamptz',
    inputs: [
      '2024-10-27 02:30:00+02',
      '2024-10-27 02:30:00+01',
      '1900-01-01 00:00:00Z',
      '1800-01-01 00:00:00.5Z',
      '0044-03-15 12:00Z BC',
      'infinity',
      '-infinity',
    ],
  },
  {
    type: 'interval',
    inputs: [
      '1 mon -1 day 00:00:01',
      '30 days',
      '-1 year -2 mons +3 days -04:05:06.7',
      '00:00:00.000001',
      '-00:00:00.1',
      '178000000 years',
      '1 day -25:00',
    ],
  },
  { type: 'interval', inputs: ['infinity', '-infinity'], since: 17 },
  { type: 'interval day to second(2)', inputs: ['1 day 00:00:01.239'] },
  { type: 'uuid', inputs: ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '00000000-0000-0000-0000-000000000000'] },
  {
    type: 'json',
    inputs: ['{"a":1,"a":2, "b" : [1,  2]}', 'null', '1e400', '9007199254740993', ' "x" ', '"\\u0000\\ud834\\udd1e"'],
  },
  { type: 'jsonb', inputs: ['{"b":1,"a":-0.0,"n":12345678901234567890.10}', 'null', '""', '"\\ud834\\udd1e\\\\"'] },
  { type: 'jsonpath', inputs: ['$.a[*] ? (@ > 1.50)', 'strict $."a\\"b"'] },
  { type: 'xml', inputs: ['<a>x</a>', 'x <b/> y', '<a b="&quot;(,)"/>', ''] },
  { type: 'inet', inputs: ['10.0.0.1/24', '::1', '10.0.0.1', 'fe80::1/64'] },
  { type: 'cidr', inputs: ['10.0.0.0/8', '::/0'] },
  { type: 'macaddr', inputs: ['08:00:2b:01:02:03'] },
  { type: 'macaddr8', inputs: ['08:00:2b:01:02:03:04:05'] },
  { type: 'bit(3)', inputs: ['101', '000'] },
  { type: 'varbit', inputs: ['', '1', '0101010101'] },
  { type: 'tsvector', inputs: ['a:1 fat:2A,3B', `'it''s' '\\\\' ' b '`, ''] },
  { type: 'tsquery', inputs: ['fat & rat', '!(a | b) <2> c:*AB', `'it''s'`] },
  { type: 'int4[]', inputs: ['{}', '[0:2]={1,2,3}', '{{1,2},{3,NULL}}', '[-1:0][5:6]={{1,2},{3,4}}'] },
  { type: 'text[]', inputs: ['{"NULL",NULL,"","a,b","\\"","\\\\","{"}', '[5:5]={x}', '{" "}'] },
  { type: 'float8[]', inputs: ['{0.1,-0,NaN,Infinity}'] },
  { type: 'timestamptz[]', inputs: ['{"2024-10-27 02:30+02",NULL,infinity}'] },
  { type: 'bytea[]', inputs: ['{"\\\\x00","\\\\xff",""}'] },
  { type: 'interval[]', inputs: ['{"-1 mon +2 days","00:00:01"}'] },
  { type: 'box[]', inputs: ['{(1,1),(0,0);(2,2),(1,1)}'] },
  { type: 'money[]', inputs: ['{1.23,"-1,234.50"}'] },
  { type: 'mood', inputs: ['sad', `it's "ok", (fine)`, ' ', 'NULL'] },
  { type: 'mood[]', inputs: [`{sad,"it's \\"ok\\", (fine)","NULL"," "}`] },
  { type: '"Pair Of"', inputs: ['(1,"a,""b\\\\",2024-01-01 00:00Z)', '(,,)', '(,"",)', '(1,"NULL",infinity)'] },
  { type: '"Pair Of"[]', inputs: ['{"(1,x\\\\),)",NULL,"(,,)"}'] },
  { type: 'nested', inputs: ['("(1,b,2024-06-01 00:00Z)","{0.1,-0}",1.23)', '("(,,)",,)'] },
  { type: 'positive', inputs: ['1.5', '99999.12345'] },
  { type: 'label', inputs: ['', 'l'] },
  { type: 'inner_label', inputs: ['', 'l '] },
  { type: 'words', inputs: ['{a,"b c"}', '{}'] },
  { type: 'int4range', inputs: ['[1,5)', 'empty', '(,)', '[1,1]'] },
  { type: 'int8range', inputs: ['[-9223372036854775808,9223372036854775806]'] },
  { type: 'numrange', inputs: ['[1.50,2.0]', '(1.50,)', '[NaN,NaN]'] },
  { type: 'daterange', inputs: ['[2024-01-01,infinity)', '(,2024-01-01 BC)'] },
  { type: 'tsrange', inputs: ['[2024-01-01 00:00,2024-02-01 00:00)', '[-infinity,infinity]'] },
  { type: 'tstzrange', inputs: ['[2024-01-01 00:00Z,2024-02-01 00:00Z)', 'empty'] },
  { type: 'float_range', inputs: ['[-0,0.1)', '[0.30000000000000004,)'] },
  { type: 'datemultirange', inputs: ['{[2024-01-01,2024-01-05),[2024-02-01,)}', '{}'] },
  { type: 'tstzmultirange', inputs: ['{[2024-01-01 00:00Z,2024-01-05 00:00Z)}'] },
  { type: 'point', inputs: ['(0.1,-0)', '(NaN,Infinity)'] },
  { type: 'line', inputs: ['{1,-1,0.1}'] },
  { type: 'lseg', inputs: ['[(0,0),(0.1,1)]'] },
  { type: 'box', inputs: ['(1,1),(0,-0)'] },
  { type: 'path', inputs: ['[(0,0),(1,0.1)]', '((0,0),(1,0.1))'] },
  { type: 'polygon', inputs: ['((0,0),(1,1.5),(2,0.1))'] },
  { type: 'circle', inputs: ['<(0.1,0),0.30000000000000004>'] },
  { type: 'oid', inputs: ['4294967295', '0'] },
  { type: 'oidvector', inputs: ['1 2 4294967295', ''] },
  { type: 'int2vector', inputs: ['1 -2', ''] },
  { type: 'xid', inputs: ['4294967295'] },
  { type: 'xid8', inputs: ['18446744073709551615'] },
  { type: 'cid', inputs: ['7'] },
  { type: 'tid', inputs: ['(4294967295,65535)'] },
  { type: 'pg_lsn', inputs: ['16/B374D848', '0/0'] },
  { type: 'pg_snapshot', inputs: ['10:20:10,14,15'] },
  { type: 'txid_snapshot', inputs: ['10:20:10,14,15'] },
  { type: 'regclass', inputs: ['pg_catalog.pg_class', '-', '123456', 'public."Odd Table"'] },
  { type: 'regtype', inputs: ['timestamp with time zone', 'public."Pair Of"[]'] },
  { type: 'regprocedure', inputs: ['pg_catalog.abs(integer)'] },
  { type: 'regproc', inputs: ['pg_catalog.now'] },
  { type: 'regoperator', inputs: ['pg_catalog.+(integer,integer)'] },
  { type: 'regnamespace', inputs: ['public'] },
  { type: 'regrole', inputs: ['postgres'] },
  { type: 'regconfig', inputs: ['pg_catalog.simple'] },
  { type: 'regdictionary', inputs: ['pg_catalog.simple'] },
  { type: 'regcollation', inputs: ['"POSIX"'] },
  { type: 'aclitem', inputs: ['postgres=arw/postgres'] },
  { type: 'refcursor', inputs: ['a cursor'] },
  { type: 'citext', inputs: ['aBC', 'AbC', '', 'É'] },
  { type: 'hstore', inputs: ['a=>NULL, "NULL"=>"NULL", " "=>"=>,\\"\\\\"', ''] },
  { type: 'ltree', inputs: ['a.b.c', ''] },
];
