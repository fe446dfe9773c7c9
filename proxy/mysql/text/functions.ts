/** Which functions a statement calls that are not the server's own: they may change rows. */
import { isOperator, type Source, type Span } from './span.ts';

/**
 * The name of a function that is called and is none of the server's; undefined when there is none. A stored function is called by a
 * name that is none of these, or by one with its database; a name in front of a parenthesis may also be a list's, which is refused
 * where it is taken for a call.
 */
export function callsUnknown(source: Source, { from, to }: Span): string | undefined {
  for (let place = from; place + 1 < to; place += 1) {
    const token = source.tokens[place];
    if (token === undefined || !isOperator(source, place + 1, '(')) continue;
    if (token.kind !== 'word' && token.kind !== 'name') continue;
    if (isListed(source, from, place)) continue;
    const isQualified = isOperator(source, place - 1, '.');
    if (isQualified) return token.text;
    if (token.kind === 'word' && (WORDS.has(token.text) || BUILT_IN.has(token.text))) continue;
    return token.text;
  }
  return undefined;
}

/** True for a name in front of a list of columns: of INSERT INTO, and behind AS. */
function isListed(source: Source, from: number, place: number): boolean {
  let start = place;
  while (isOperator(source, start - 1, '.')) start -= 2;
  const before = source.tokens[start - 1];
  if (before?.kind !== 'word' || start - 1 < from) return false;
  return ['into', 'as', 'insert', 'replace', 'ignore', 'recursive', 'with', 'index', 'key'].includes(before.text);
}

function words(text: string): ReadonlySet<string> {
  return new Set(text.split(/\s+/).filter((word) => word !== ''));
}

/** Keywords and types that a parenthesis may follow. */
const WORDS: ReadonlySet<string> = words(`
  all and any as between binary bit by case char character compress cross date datetime dec decimal default distinct div double else
  except exists except fixed float for from having in index inner int integer intersect into interval is join json key lateral like limit
  member minus mod nchar not numeric of on or over partition real regexp returning rlike row select separator set signed some straight_join
  table then time timestamp union unsigned update using value values varbinary varchar when where with within xor year against array
  cube rollup offset set`);

/** Functions of MySQL 8 and MariaDB. Those that lock names, sleep, or count up a sequence are no changes that a rollback takes back. */
const BUILT_IN: ReadonlySet<string> = words(`
  abs acos add_months adddate addtime aes_decrypt aes_encrypt any_value ascii asin atan atan2 avg benchmark bin bin_to_uuid bit_and
  bit_count bit_length bit_or bit_xor can_access_column can_access_database can_access_table cast ceil ceiling char_length
  character_length charset chr coalesce coercibility collation column_add column_check column_create column_delete column_exists
  column_get column_json column_list concat concat_ws connection_id conv convert convert_tz cos cot count crc32 crc32c cume_dist
  curdate current_date current_role current_time current_timestamp current_user curtime database date_add date_format date_sub datediff
  day dayname dayofmonth dayofweek dayofyear decode decode_histogram decode_oracle default degrees dense_rank des_decrypt des_encrypt
  elt encode encrypt exp export_set extract extractvalue field find_in_set first_value floor format format_bytes format_pico_time
  found_rows from_base64 from_days from_unixtime geomcollection geometrycollection get_format get_lock greatest group_concat grouping
  gtid_subset gtid_subtract hex hour if ifnull inet6_aton inet6_ntoa inet_aton inet_ntoa insert instr interval is_free_lock is_ipv4
  is_ipv4_compat is_ipv4_mapped is_ipv6 is_used_lock is_uuid isnull json_array json_array_append json_array_insert json_arrayagg
  json_array_intersect json_compact json_contains json_contains_path json_depth json_detailed json_equals json_exists json_extract
  json_insert json_keys json_key_value json_length json_loose json_merge json_merge_patch json_merge_preserve json_normalize json_object
  json_object_filter_keys json_object_to_array json_objectagg json_overlaps json_pretty json_query json_quote json_remove json_replace
  json_schema_valid json_schema_validation_report json_search json_set json_storage_free json_storage_size json_table json_type
  json_unquote json_valid json_value kdf lag last_day last_insert_id last_value lastval lcase lead least left length lengthb linestring
  ln load_file localtime localtimestamp locate log log10 log2 lower lpad ltrim make_set makedate maketime master_gtid_wait
  master_pos_wait match max mbrcontains mbrcoveredby mbrcovers mbrdisjoint mbrequal mbrequals mbrintersects mbroverlaps mbrtouches
  mbrwithin md5 median microsecond mid min minute mod month monthname multilinestring multipoint multipolygon name_const
  natural_sort_key nextval now nth_value ntile nullif nvl nvl2 oct octet_length old_password ord password percent_rank percentile_cont
  percentile_disc period_add period_diff pi point polygon position pow power ps_current_thread_id ps_thread_id quarter quote radians
  rand random_bytes rank regexp_instr regexp_like regexp_replace regexp_substr release_all_locks release_lock repeat replace reverse
  right roles_graphml round row_count row_number rownum rpad rtrim schema sec_to_time second session_user sformat sha sha1 sha2 sign
  sin sleep soundex space sqrt st_area st_asbinary st_asgeojson st_astext st_aswkb st_aswkt st_boundary st_buffer st_buffer_strategy
  st_centroid st_collect st_contains st_convexhull st_crosses st_difference st_dimension st_disjoint st_distance st_distance_sphere
  st_endpoint st_envelope st_equals st_exteriorring st_frechetdistance st_geohash st_geomcollfromtext st_geomfromgeojson
  st_geomfromtext st_geomfromwkb st_geometryfromtext st_geometryfromwkb st_geometryn st_geometrytype st_hausdorffdistance
  st_interiorringn st_intersection st_intersects st_isclosed st_isempty st_isring st_issimple st_isvalid st_latfromgeohash st_latitude
  st_length st_linefromtext st_lineinterpolatepoint st_longfromgeohash st_longitude st_makeenvelope st_numgeometries st_numinteriorring
  st_numpoints st_overlaps st_pointfromgeohash st_pointfromtext st_pointn st_pointonsurface st_polyfromtext st_relate st_simplify
  st_srid st_startpoint st_swapxy st_symdifference st_touches st_transform st_union st_validate st_within st_x st_y statement_digest
  statement_digest_text std stddev stddev_pop stddev_samp str_to_date strcmp subdate substr substring substring_index subtime sum
  sys_guid sysdate system_user tan time_format time_to_sec timediff timestampadd timestampdiff to_base64 to_char to_date to_days
  to_number to_seconds trim trim_oracle trunc truncate ucase uncompress uncompressed_length unhex unix_timestamp updatexml upper user
  utc_date utc_time utc_timestamp uuid uuid_short uuid_to_bin uuid_v4 uuid_v7 validate_password_strength var_pop var_samp variance
  version wait_for_executed_gtid_set week weekday weekofyear weight_string yearweek date day hour minute month quarter second week year
  time timestamp`);
