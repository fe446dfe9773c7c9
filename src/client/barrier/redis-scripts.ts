/**
 * The barrier's scripts for Redis. Keys and values are those of DTM's Go client (client/dtmcli/barrier_redis.go): a barrier is the
 * key `<gid>-<branch id>-<op>-<barrier id>`, its value `op` once the operation took effect and `rollback` once it is fenced.
 * What a script does is done whole or not at all: whatever can fail comes before the first writing.
 */
import { createHash } from 'node:crypto';

/** A script and the name that the server keeps it under. */
export interface RedisScript {
  readonly text: string;
  readonly sha1: string;
}

/**
 * KEYS: the amount, the operation's own barrier and, if it undoes another, that one's. ARGV: what to add, seconds that barriers
 * live. Answers a word, and after `done` the new amount.
 *
 * The barriers are asked before the amount: a repeated deduction that took the last of a stock has to hear of its success, and
 * with nothing to undo it does not matter what there is. INCRBY comes first of the writings, for it alone can fail (no integer,
 * no room, an overflow).
 */
export const CHECK_ADJUST: RedisScript = scriptOf(`local own = redis.call('GET', KEYS[2])
if own == 'rollback' then return {'fenced'} end
if own then return {'repeated'} end
if KEYS[3] and not redis.call('GET', KEYS[3]) then
  redis.call('SET', KEYS[3], 'rollback', 'EX', ARGV[2])
  redis.call('SET', KEYS[2], 'op', 'EX', ARGV[2])
  return {'absorbed'}
end
local amount = redis.call('GET', KEYS[1])
if not amount or amount + ARGV[1] < 0 then return {'insufficient', amount or ''} end
redis.call('INCRBY', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], 'op', 'EX', ARGV[2])
return {'done', redis.call('GET', KEYS[1])}
`);

/** KEYS: a message's barrier. ARGV: seconds that it lives. Answers its value, having fenced it if there was none. */
export const QUERY_PREPARED: RedisScript = scriptOf(`local found = redis.call('GET', KEYS[1])
if found then return found end
redis.call('SET', KEYS[1], 'rollback', 'EX', ARGV[1])
return 'rollback'
`);

function scriptOf(text: string): RedisScript {
  return { text, sha1: createHash('sha1').update(text).digest('hex') };
}
