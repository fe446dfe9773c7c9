/**
 * Which functions a statement calls that are not the server's own: they may change rows. What is a function of one server can be the
 * name of a stored one in the other (`nvl` in MySQL, `uuid_to_bin` in MariaDB), and in an older version. The names were tried on
 * MariaDB 10.11 and MySQL 8.0.15 (test/mysql-servers/probes): a function was stored under each, and called. Source of what came later:
 * MySQL documentation, "Built-In Function and Operator Reference"; MariaDB documentation, "Function and Operator Reference".
 */
import { behindParenthesis, isOperator, isWord, type Source, type Span } from './span.ts';
import type { Server } from './tokens.ts';

/**
 * The name of a function that is called and is none of the server's; undefined when there is none. A stored function is called by a
 * name that is none of these, or by one with its database; a name in front of a parenthesis may also be a list's, which is refused
 * where it is taken for a call.
 */
export function callsUnknown(source: Source, { from, to }: Span): string | undefined {
  const own = ownNames(source.server);
  for (let place = from; place + 1 < to; place += 1) {
    const token = source.tokens[place];
    if (token === undefined || !isOperator(source, place + 1, '(')) continue;
    if (token.kind !== 'word' && token.kind !== 'name') continue;
    if (isListed(source, from, place)) continue;
    if (!isOwn(source, place, own) && !isExpression(source, place, to)) return token.text;
  }
  return undefined;
}

/** True for what is a function of the server's, or no function: by its plain name, with the parenthesis where it has to be. */
function isOwn(source: Source, place: number, own: ReadonlySet<string>): boolean {
  const token = source.tokens[place];
  if (token?.kind !== 'word' || isOperator(source, place - 1, '.')) return false;
  if (!WORDS.has(token.text) && !own.has(token.text) && !isOperand(source, place)) return false;
  // A blank makes a plain name of some, which calls what is stored under it.
  const isApart = (source.tokens[place + 1]?.start ?? 0) > token.end;
  return !isApart || source.server?.ignoresSpace === true || !NEVER_APART.has(token.text);
}

/** JSON_TABLE as a table, COLUMNS behind its path, and AGAINST behind MATCH: nothing is called there. */
function isOperand(source: Source, place: number): boolean {
  const before = source.tokens[place - 1];
  switch (source.tokens[place]?.text) {
    case 'against':
      return before?.text === ')' || isWord(source, startOfList(source, place) - 1, 'match');
    case 'columns':
      return before?.kind === 'string';
    case 'json_table':
      return before?.text === 'from' || before?.text === 'join';
    default:
      return false;
  }
}

/** Where a list of names without parentheses begins that ends in front of the place. */
function startOfList(source: Source, place: number): number {
  let start = place;
  while (
    source.tokens[start - 1]?.kind === 'name' ||
    isOperator(source, start - 1, ',') ||
    isOperator(source, start - 1, '.')
  )
    start -= 1;
  return start;
}

/** The names of the server's own functions; of one that is not known, those that all have. */
function ownNames(server: Server | undefined): ReadonlySet<string> {
  if (server === undefined) return BUILT_IN;
  const { isMariadb, version } = server;
  const key = `${isMariadb} ${version}`;
  const known = byServer.get(key);
  if (known !== undefined) return known;
  const since = isMariadb ? MARIADB_SINCE : MYSQL_SINCE;
  const later = since.flatMap(([first, names]) => (version >= first ? [...names] : []));
  const all = new Set([...BUILT_IN, ...later]);
  byServer.set(key, all);
  return all;
}

/** One entry for each version that was met: a sidecar meets few. */
const byServer = new Map<string, ReadonlySet<string>>();

/** True for a name in front of a list of columns: of INSERT INTO, and behind AS. */
function isListed(source: Source, from: number, place: number): boolean {
  let start = place;
  while (isOperator(source, start - 1, '.')) start -= 2;
  const before = source.tokens[start - 1];
  if (before?.kind !== 'word' || start - 1 < from) return false;
  return ['into', 'as', 'insert', 'replace', 'ignore', 'recursive', 'with', 'index', 'key'].includes(before.text);
}

/** True for the name of a common table expression in front of its columns: `name (…) AS (…)`. */
function isExpression(source: Source, place: number, to: number): boolean {
  const behind = behindParenthesis(source, place + 1, to);
  return behind !== undefined && isWord(source, behind, 'as') && isOperator(source, behind + 1, '(');
}

function words(text: string): ReadonlySet<string> {
  return new Set(text.split(/\s+/).filter((word) => word !== ''));
}

/** Keywords and types that a parenthesis may follow, in both servers. */
const WORDS: ReadonlySet<string> = words(`
  all and any as between binary bit by case char character compress cross date datetime dec decimal default distinct div double else
  except exists fixed float for from having in index inner int integer into interval is join json key like limit mod nchar not numeric on
  or over partition real regexp rlike row select separator set signed some straight_join table then time timestamp union unsigned update
  using value values varbinary varchar when where with xor year offset`);

/**
 * Functions of both servers in all versions that are supported. Those that lock names, sleep, or count up a sequence are no changes that a
 * rollback takes back.
 */
const BUILT_IN: ReadonlySet<string> = words(`
  abs acos adddate addtime aes_decrypt aes_encrypt ascii asin atan atan2 avg benchmark bin bit_and bit_count bit_length bit_or bit_xor
  cast ceil ceiling char_length character_length charset coalesce coercibility collation concat concat_ws connection_id conv convert
  convert_tz cos cot count crc32 cume_dist curdate current_date current_role current_time current_timestamp current_user curtime database
  date_add date_format date_sub datediff day dayname dayofmonth dayofweek dayofyear degrees dense_rank elt exp export_set extract
  extractvalue field find_in_set first_value floor format found_rows from_base64 from_days from_unixtime geometrycollection get_format
  get_lock greatest group_concat hex hour if ifnull inet6_aton inet6_ntoa inet_aton inet_ntoa insert instr is_free_lock is_ipv4
  is_ipv4_compat is_ipv4_mapped is_ipv6 is_used_lock isnull json_array json_array_append json_array_insert json_arrayagg json_contains
  json_contains_path json_depth json_extract json_insert json_keys json_length json_merge json_merge_patch json_merge_preserve json_object
  json_objectagg json_pretty json_quote json_remove json_replace json_search json_set json_type json_unquote json_valid lag last_day
  last_insert_id last_value lcase lead least left length linestring ln load_file localtime localtimestamp locate log log10 log2 lower lpad
  ltrim make_set makedate maketime master_pos_wait match max mbrcontains mbrdisjoint mbrequals mbrintersects mbroverlaps mbrtouches
  mbrwithin md5 microsecond mid min minute month monthname multilinestring multipoint multipolygon name_const now nth_value ntile nullif
  oct octet_length ord password percent_rank period_add period_diff pi polygon position pow power quarter quote radians rand rank
  regexp_instr regexp_replace regexp_substr release_all_locks release_lock repeat replace reverse right round row_count row_number rpad
  rtrim schema sec_to_time second session_user sha sha1 sha2 sign sin sleep soundex space sqrt st_area st_asbinary st_asgeojson st_astext
  st_aswkb st_aswkt st_buffer st_centroid st_contains st_convexhull st_crosses st_difference st_dimension st_disjoint st_distance
  st_distance_sphere st_endpoint st_envelope st_equals st_exteriorring st_geomcollfromtext st_geomfromgeojson st_geomfromtext
  st_geomfromwkb st_geometryfromtext st_geometryfromwkb st_geometryn st_geometrytype st_interiorringn st_intersection st_intersects
  st_isclosed st_isempty st_issimple st_length st_linefromtext st_numgeometries st_numpoints st_overlaps st_pointfromtext st_pointn
  st_polyfromtext st_srid st_startpoint st_symdifference st_touches st_union st_within st_x st_y std stddev stddev_pop stddev_samp
  str_to_date strcmp subdate substr substring substring_index subtime sum sysdate system_user tan time_format time_to_sec timediff
  timestampadd timestampdiff to_base64 to_days to_seconds trim truncate ucase uncompress uncompressed_length unhex unix_timestamp
  updatexml upper user utc_date utc_time utc_timestamp uuid uuid_short var_pop var_samp variance version week weekday weekofyear
  weight_string yearweek point`);

/** Names that MySQL has for itself, and since which version: 80017 is 8.0.17. */
const MYSQL_SINCE: readonly (readonly [version: number, names: ReadonlySet<string>])[] = [
  [
    0,
    words(`
  of against cube rollup any_value bin_to_uuid can_access_column can_access_database can_access_table geomcollection grouping gtid_subset
  gtid_subtract icu_version is_uuid json_storage_free json_storage_size json_table mbrcoveredby mbrcovers regexp_like roles_graphml st_buffer_strategy
  st_geohash st_isvalid st_latfromgeohash st_latitude st_longfromgeohash st_longitude st_makeenvelope st_numinteriorring
  st_pointfromgeohash st_simplify st_swapxy st_transform st_validate statement_digest statement_digest_text uuid_to_bin
  validate_password_strength wait_for_executed_gtid_set random_bytes`),
  ],
  [80014, words('lateral')],
  [80016, words('format_bytes format_pico_time ps_current_thread_id ps_thread_id')],
  [80017, words('json_overlaps json_schema_valid json_schema_validation_report')],
  [80021, words('json_value')],
  [80023, words('st_frechetdistance st_hausdorffdistance')],
  [80024, words('st_collect st_lineinterpolatepoint')],
  [80031, words('intersect')],
];

/** The same of MariaDB: 101102 is 10.11.2. */
const MARIADB_SINCE: readonly (readonly [version: number, names: ReadonlySet<string>])[] = [
  [
    0,
    words(`
  group intersect returning within chr column_add column_check column_create column_delete column_exists column_get column_json column_list
  decode decode_histogram decode_oracle des_decrypt des_encrypt encode encrypt json_compact json_detailed json_exists json_loose
  json_query json_value lastval lengthb master_gtid_wait mbrequal median nextval nvl nvl2 old_password percentile_cont percentile_disc
  srid st_boundary st_isring st_pointonsurface st_relate trim_oracle`),
  ],
  [100601, words('add_months rownum sys_guid to_char')],
  [100701, words('json_equals json_normalize natural_sort_key sformat')],
  [100801, words('crc32c')],
  [100901, words('json_overlaps')],
  [101001, words('random_bytes')],
  [
    110300,
    words('json_array_intersect json_key_value json_object_filter_keys json_object_to_array json_schema_valid kdf'),
  ],
  [110700, words('uuid_v4 uuid_v7')],
];

/** Functions only where the parenthesis follows at once, but in the mode IGNORE_SPACE (MySQL source: sql/lex.h, `sql_functions`). */
const NEVER_APART: ReadonlySet<string> = words(`
  adddate bit_and bit_or bit_xor cast count cume_dist curdate curtime date_add date_sub dense_rank extract first_value group_concat
  json_arrayagg json_objectagg lag lead max median mid min now nth_value ntile percent_rank percentile_cont percentile_disc position rank
  session_user std stddev stddev_pop stddev_samp subdate substr substring sum system_user trim trim_oracle var_pop var_samp variance
  sysdate row_number date_format decode add_months st_collect json_table`);
