/**
 * What a statement inside a global transaction may do as long as nothing is captured: reads, and what begins and ends local transactions,
 * pass; everything that could change something is refused, and so is what cannot be told. Pure.
 * Source: MySQL documentation, "Statements That Cause an Implicit Commit", "Built-In Function and Operator Reference".
 */
import type { Effect, TransactionState } from './transaction.ts';
import type { Refusal } from './refusals.ts';
import { bareText } from './naming/text.ts';

export type Verdict =
  | { readonly kind: 'pass'; readonly effect: Effect }
  | { readonly kind: 'refuse'; readonly refusal: Refusal };

const INSIDE: Verdict = { kind: 'pass', effect: 'inside' };

/** Each is tried on the whole text, in lower case, with one blank between words. */
const CONTROL: readonly (readonly [form: RegExp, effect: Effect])[] = [
  [/^(?:begin(?: work)?|start transaction(?: (?:with consistent snapshot|read (?:only|write)|,)+)*)$/, 'begins'],
  [/^(?:commit|rollback)(?: work)? and chain(?: no release)?$/, 'chains'],
  [/^(?:commit|rollback)(?: work)?(?: and no chain)?(?: no release)?$/, 'ends'],
  [/^savepoint \S+$/, 'inside'],
  [/^rollback(?: work)? to(?: savepoint)? \S+$/, 'inside'],
  [/^release savepoint \S+$/, 'inside'],
];

/** Settings of the session. A value that is computed may call a function; `global` and the like are not the session's. */
const SETTING =
  /^set (?:(?:names|character set|charset) [\w'"]+(?: collate \w+)?|(?:session |local )?transaction (?:isolation level [a-z ]+|read (?:only|write))|(?:session |local |@@session\.|@@local\.|@@|@)?(?!global|persist|password)[\w$.]+ ?:?= ?(?:[\w.+-]+|''|"")(?: ?, ?(?:session |local |@@session\.|@@local\.|@@|@)?(?!global|persist|password)[\w$.]+ ?:?= ?(?:[\w.+-]+|''|""))*)$/;
const AUTOCOMMIT = /\bautocommit ?:?= ?(?:[1-9]|on|true|default)/;
const READ = /^\(*\s*(?:select|with|values|table|show|help|use|desc|describe|explain)\b/;
/** MariaDB's ANALYZE and EXPLAIN ANALYZE run what they explain; words that lock or write; the parts of a query that do. */
const WRITES = /\b(?:insert|update|delete|replace|into|outfile|dumpfile|call|do)\b/;
/** Locks of rows change nothing. */
const LOCKS = /\bfor (?:update|share)\b|\block in share mode\b/g;
const INTO_VARIABLES = /\binto @[\w$.]+(?: ?, ?@[\w$.]+)*/g;
/** A name, perhaps behind that of its schema, and what looks like its arguments. */
const CALL = /([\w$`.]+)( ?)\(/g;

/** What may stand ahead of a parenthesis and is no function. */
const KEYWORDS: ReadonlySet<string> = new Set(
  `all and any as between by case distinct distinctrow else except exists explain from having in intersect is join lateral like limit not offset
  on or order over partition regexp rlike select separator some table then union using values when where window with xor div mod interval desc
  describe row rollup sounds match against cross inner left right outer natural straight_join recursive cast convert char binary unsigned signed
  decimal key index ignore force use`.split(/\s+/),
);

/** Functions of the server's own that change nothing. A stored function cannot have the name of one of these and be called by it. */
const FUNCTIONS: ReadonlySet<string> = new Set(
  `abs acos adddate addtime aes_decrypt aes_encrypt  ascii asin atan atan2 avg bin  bit_and bit_count bit_length bit_or bit_xor
  ceil ceiling char char_length character_length charset coalesce coercibility collation  concat concat_ws connection_id conv
  convert convert_tz cos cot count crc32 cume_dist curdate current_date  current_time current_timestamp current_user curtime
  cast database date date_add date_format date_sub datediff day dayname dayofmonth dayofweek dayofyear  default degrees dense_rank elt
   exp export_set extract extractvalue field find_in_set first_value floor format  found_rows from_base64 from_days
  from_unixtime  get_format get_lock greatest group_concat  hex hour if ifnull inet6_aton inet6_ntoa inet_aton
  inet_ntoa insert instr json_array json_array_append json_array_insert json_arrayagg json_contains json_contains_path
  json_depth json_extract json_insert json_keys json_length json_merge_patch json_merge_preserve json_object json_objectagg json_quote
  json_remove json_replace json_search json_set json_type json_unquote json_valid json_value is_free_lock is_ipv4 is_ipv6 is_used_lock  isnull lag last_day last_insert_id last_value lcase lead least
  left length linestring ln localtime localtimestamp locate log log10 log2 lower lpad ltrim make_set makedate maketime max md5 mid microsecond
  min minute mod month monthname multilinestring multipoint multipolygon name_const now nth_value ntile nullif   oct octet_length ord
  percent_rank period_add period_diff pi point polygon position pow power quarter quote radians rand  rank regexp_instr
   regexp_replace regexp_substr release_all_locks release_lock repeat replace reverse right round row_count row_number rpad rtrim
  schema sec_to_time second session_user sha sha1 sha2 sign sin sleep soundex space sqrt std stddev stddev_pop stddev_samp str_to_date strcmp
  subdate substr substring substring_index subtime sum sysdate system_user tan time time_format time_to_sec timediff timestamp timestampadd
  timestampdiff to_base64  to_days to_seconds trim truncate ucase unhex unix_timestamp updatexml upper user utc_date utc_time
  utc_timestamp uuid uuid_short  values var_pop var_samp variance version week weekday weekofyear weight_string year yearweek`.split(
    /\s+/,
  ),
);

/** Judges a statement in a session whose local transaction stands so. */
export function judge(
  text: string,
  state: TransactionState,
  options: { readonly hasPlainBackslash: boolean },
): Verdict {
  const bare = bareText(text, { ...options, keepsLiterals: false })
    .replace(/\s+/g, ' ')
    .replace(/(?: ?;)+ ?$/, '')
    .trim()
    .toLowerCase();
  if (bare === '') return INSIDE;
  if (bare.includes(';') || bare.includes('/*'))
    return refusal('several statements at once, or a text with conditional comments');
  const control = CONTROL.find(([form]) => form.test(bare));
  if (control !== undefined) return { kind: 'pass', effect: control[1] };
  if (SETTING.test(bare)) {
    const commits = state.block !== 'idle' && AUTOCOMMIT.test(bare);
    return commits ? refusal('a SET autocommit that commits') : INSIDE;
  }
  return isRead(bare) ? INSIDE : refusal(`a statement that may change something (${bare.split(' ', 2).join(' ')})`);
}

function isRead(bare: string): boolean {
  if (!READ.test(bare) || /^(?:explain|desc|describe) (?:analyze|analyse)\b/.test(bare)) return false;
  // SHOW CREATE and EXPLAIN name what others do.
  if (/^(?:show|help|use|desc|describe|explain)\b/.test(bare)) return true;
  const words = bare.replace(LOCKS, ' ').replace(INTO_VARIABLES, ' ');
  const calls = [...words.matchAll(CALL)];
  // INSERT() and REPLACE() are functions, too.
  const others = words.replace(/\b(?:insert|replace|values)\(/g, '(');
  return !WRITES.test(others) && calls.every(([, name = '', blank]) => isHarmless(name, blank !== ''));
}

function isHarmless(name: string, hasBlank: boolean): boolean {
  if (KEYWORDS.has(name) || /^[\d.]+$/.test(name)) return true;
  // Without IGNORE_SPACE a name and a blank call what is stored under that name.
  return !hasBlank && FUNCTIONS.has(name);
}

function refusal(what: string): Verdict {
  return { kind: 'refuse', refusal: cannotBeUndone(what) };
}

/** The refusal of what may change something. ER_NOT_SUPPORTED_YET. */
export function cannotBeUndone(what: string): Refusal {
  return {
    errno: 1235,
    code: '0A000',
    message: `${what.slice(0, 120)} cannot be carried out inside a global transaction with engine mysql: its changes could not be undone`,
    hint: 'Run it without a gid, or only read here.',
  };
}
