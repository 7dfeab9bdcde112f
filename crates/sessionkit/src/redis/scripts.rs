//! The steps that Redis does at once, as Lua scripts.
//!
//! `ARGV[1]` is the number of the command, which comes back first. Times are milliseconds of the caller's
//! clock: what has expired is judged by them, on reading, and never by the server's clock. The server
//! takes keys away some time after their end, to get its memory back and for nothing else.

use std::sync::LazyLock;

/// A script.
#[derive(Debug)]
pub(super) struct Script {
    code: LazyLock<(String, String)>,
    reads_only: bool,
}

impl Script {
    const fn new(make: fn() -> (String, String), reads_only: bool) -> Self {
        Self {
            code: LazyLock::new(make),
            reads_only,
        }
    }

    pub(super) fn code(&self) -> &str {
        &self.code.0
    }

    pub(super) fn hash(&self) -> &str {
        &self.code.1
    }

    /// True when it does no harm to run it twice.
    pub(super) fn reads_only(&self) -> bool {
        self.reads_only
    }
}

/// What many scripts need: when a session ends, and keeping a key at least so long.
const COMMON: &str = r"
local function ends(rec)
  local _, _, e, idle, seen = struct.unpack('>BI8I8I4I4', rec)
  if idle > 0 and (seen + idle) * 1000 < e then return (seen + idle) * 1000 end
  return e
end
local function keep(key, ttl)
  if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl) end
end
";

fn hashed(body: &str) -> (String, String) {
    let code = format!("{COMMON}{body}");
    let hash = redis::Script::new(&code).get_hash().to_owned();
    (code, hash)
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident, $reads_only:literal, $body:literal;)*) => {
        $($(#[$doc])* pub(super) static $name: Script = Script::new(|| hashed($body), $reads_only);)*
    };
}

scripts! {
    /// Pointer and session of a credential, where one server has both. ARGV: prefix of all keys.
    LOAD, true, r"
local p = redis.call('GET', KEYS[1])
if not p then return {ARGV[1], false, false} end
local key = ARGV[2] .. '{' .. string.sub(p, 10, 31) .. '}:r:' .. string.sub(p, 32, 53)
return {ARGV[1], p, redis.call('GET', key)}";

    /// One value.
    GET, true, "return {ARGV[1], redis.call('GET', KEYS[1])}";

    /// Points a credential at a session: owner and id, credential, now, time to live, the pointer that
    /// may be replaced.
    CLAIM, false, r"
local p = redis.call('GET', KEYS[1])
if p and string.sub(p, 10, 53) ~= ARGV[2] and p ~= ARGV[6] then return {ARGV[1], 'T', p} end
redis.call('SET', KEYS[1], '\0' .. struct.pack('>I8', tonumber(ARGV[4])) .. ARGV[2] .. ARGV[3], 'PX', ARGV[5])
return {ARGV[1], 'S'}";

    /// The session of a pointer is stored: owner and id, time to live.
    CONFIRM, false, r"
local p = redis.call('GET', KEYS[1])
if not p or string.sub(p, 10, 53) ~= ARGV[2] then return {ARGV[1], 0} end
redis.call('SETRANGE', KEYS[1], 0, '\1')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {ARGV[1], 1}";

    /// Takes a pointer away, if it is to this session: owner and id.
    RELEASE, false, r"
local p = redis.call('GET', KEYS[1])
if p and string.sub(p, 10, 53) == ARGV[2] then redis.call('DEL', KEYS[1]) end
return {ARGV[1]}";

    /// Adds a session. KEYS: session, index. ARGV: id, value, time to live, of the index too.
    CREATE, false, r"
if redis.call('EXISTS', KEYS[1]) == 1 then return {ARGV[1], 'I'} end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
redis.call('SADD', KEYS[2], ARGV[2])
keep(KEYS[2], tonumber(ARGV[5]))
return {ARGV[1], 'S'}";

    /// Replaces a session. KEYS: session, lease, index. ARGV: version, fence or '', now, value, time to
    /// live, of the index too.
    SWAP, false, r"
local rec = redis.call('GET', KEYS[1])
if not rec or tonumber(ARGV[4]) >= ends(rec) then return {ARGV[1], 'E'} end
if ARGV[3] ~= '' then
  local lease = redis.call('HMGET', KEYS[2], 'f', 'u')
  if lease[1] ~= ARGV[3] or not lease[2] then return {ARGV[1], 'F'} end
end
local _, version, _, _, seen = struct.unpack('>BI8I8I4I4', rec)
if version ~= tonumber(ARGV[2]) then return {ARGV[1], 'C', rec} end
local new = ARGV[5]
local _, _, _, _, next_seen = struct.unpack('>BI8I8I4I4', new)
if seen > next_seen then
  new = string.sub(new, 1, 21) .. struct.pack('>I4', seen) .. string.sub(new, 26)
end
redis.call('SET', KEYS[1], new, 'PX', ARGV[6])
keep(KEYS[3], tonumber(ARGV[7]))
return {ARGV[1], 'S'}";

    /// Ends a session. KEYS: session, lease, index. ARGV: id.
    END, false, r"
local rec = redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('SREM', KEYS[3], ARGV[2])
return {ARGV[1], rec, redis.call('EXISTS', KEYS[3])}";

    /// Ends all sessions of a subject. KEYS: index. ARGV: prefix of the subject's keys.
    END_ALL, false, r"
local out = {ARGV[1]}
for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local rec = redis.call('GET', ARGV[2] .. 'r:' .. id)
  if rec then out[#out + 1] = id; out[#out + 1] = rec end
  redis.call('DEL', ARGV[2] .. 'r:' .. id, ARGV[2] .. 'l:' .. id)
end
redis.call('DEL', KEYS[1])
return out";

    /// Live sessions of a subject. KEYS: index. ARGV: prefix of the subject's keys, now. Ids without a
    /// session leave the index.
    SESSIONS, false, r"
local out = {ARGV[1]}
for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local rec = redis.call('GET', ARGV[2] .. 'r:' .. id)
  if not rec then redis.call('SREM', KEYS[1], id)
  elseif tonumber(ARGV[3]) < ends(rec) then out[#out + 1] = id; out[#out + 1] = rec end
end
return out";

    /// Is the subject active? 1 yes, 0 not now, -1 it has no session at all. As SESSIONS.
    ACTIVE, false, r"
local found = -1
for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local rec = redis.call('GETRANGE', ARGV[2] .. 'r:' .. id, 0, 24)
  if rec == '' then redis.call('SREM', KEYS[1], id)
  elseif tonumber(ARGV[3]) < ends(rec) then return {ARGV[1], 1}
  else found = 0 end
end
return {ARGV[1], found}";

    /// Notes a use. KEYS: session. ARGV: second, now, milliseconds to keep it beyond its end.
    TOUCH, false, r"
local rec = redis.call('GETRANGE', KEYS[1], 0, 24)
if rec == '' or tonumber(ARGV[3]) >= ends(rec) then return {ARGV[1]} end
local _, _, _, idle, seen = struct.unpack('>BI8I8I4I4', rec)
if tonumber(ARGV[2]) > seen then
  redis.call('SETRANGE', KEYS[1], 21, struct.pack('>I4', tonumber(ARGV[2])))
  if idle > 0 then
    rec = redis.call('GETRANGE', KEYS[1], 0, 24)
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', ends(rec) - tonumber(ARGV[3]) + tonumber(ARGV[4])))
  end
end
return {ARGV[1]}";

    /// Asks for a lease. KEYS: lease. ARGV: now, end, time to live. The number grows with the clock, so
    /// that none comes again when Redis has forgotten the last.
    ACQUIRE, false, r"
local lease = redis.call('HMGET', KEYS[1], 'f', 'u')
if lease[2] and tonumber(lease[2]) > tonumber(ARGV[2]) then return {ARGV[1], 'H', lease[2]} end
local fence = tonumber(ARGV[2])
if lease[1] and tonumber(lease[1]) >= fence then fence = tonumber(lease[1]) + 1 end
fence = string.format('%.0f', fence)
redis.call('HSET', KEYS[1], 'f', fence, 'u', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {ARGV[1], 'G', fence}";

    /// Prolongs a lease. KEYS: lease. ARGV: number, end, time to live.
    RENEW, false, r"
local lease = redis.call('HMGET', KEYS[1], 'f', 'u')
if lease[1] ~= ARGV[2] or not lease[2] then return {ARGV[1], 0} end
redis.call('HSET', KEYS[1], 'u', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {ARGV[1], 1}";

    /// Gives a lease back; the number stays. KEYS: lease. ARGV: number.
    GIVE_BACK, false, r"
if redis.call('HGET', KEYS[1], 'f') == ARGV[2] then redis.call('HDEL', KEYS[1], 'u') end
return {ARGV[1]}";

    /// Adds to a sorted set. ARGV: score, member, time to live or ''.
    ADD, false, r"
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[3])
if ARGV[4] ~= '' then keep(KEYS[1], tonumber(ARGV[4])) end
return {ARGV[1]}";

    /// Takes out of a sorted set.
    REMOVE, false, "redis.call('ZREM', KEYS[1], ARGV[2]) return {ARGV[1]}";

    /// Members of a sorted set in the order of their bytes. ARGV: first, how many.
    PAGE, true, r"
local page = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[2], '+', 'LIMIT', 0, ARGV[3])
table.insert(page, 1, ARGV[1])
return page";

    /// Some members of a sorted set. ARGV: how many.
    SAMPLE, true, r"
local some = redis.call('ZRANDMEMBER', KEYS[1], ARGV[2])
table.insert(some, 1, ARGV[1])
return some";

    /// Members of a sorted set with their scores.
    MEMBERS, true, r"
local all = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
table.insert(all, 1, ARGV[1])
return all";

    /// Stores a value. ARGV: value, time to live.
    PUT, false, "redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return {ARGV[1]}";

    /// Takes a value out.
    TAKE, false, r"
local value = redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1])
return {ARGV[1], value}";

    /// Stores a value unless one is there that has not expired. ARGV: value, time to live, now.
    CLAIM_ONCE, false, r"
local value = redis.call('GETRANGE', KEYS[1], 0, 7)
if value ~= '' and struct.unpack('>I8', value) > tonumber(ARGV[4]) then return {ARGV[1], 0} end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return {ARGV[1], 1}";

    /// A number that was never given before.
    NEXT, false, "return {ARGV[1], redis.call('INCR', KEYS[1])}";

    /// Stores a named record. KEYS: value, index. ARGV: key, value, time to live, now, the version it
    /// must have, or '' for none.
    RECORD_PUT, false, r"
local old = redis.call('GET', KEYS[1])
local version, e
if old then version, e = struct.unpack('>I8I8', old) end
if old and e <= tonumber(ARGV[5]) then old = false end
if ARGV[6] == '' then
  if old then return {ARGV[1], 'C', old} end
elseif not old then return {ARGV[1], 'A'}
elseif version ~= tonumber(ARGV[6]) then return {ARGV[1], 'C', old} end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
redis.call('ZADD', KEYS[2], 0, ARGV[2])
return {ARGV[1], 'S'}";

    /// Removes a named record. KEYS: value, index. ARGV: key, now.
    RECORD_REMOVE, false, r"
local old = redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[2])
if not old then return {ARGV[1], 0} end
local _, e = struct.unpack('>I8I8', old)
return {ARGV[1], e > tonumber(ARGV[3]) and 1 or 0}";

    /// Named records in order. KEYS: index. ARGV: prefix of their values' keys, first, last, how many,
    /// now. Keys without a value leave the index.
    RECORDS, false, r"
local out, from, wanted = {ARGV[1]}, ARGV[3], tonumber(ARGV[5])
while wanted > 0 do
  local page = redis.call('ZRANGEBYLEX', KEYS[1], from, ARGV[4], 'LIMIT', 0, wanted)
  if #page == 0 then break end
  for _, key in ipairs(page) do
    local value = redis.call('GET', ARGV[2] .. key)
    if not value then redis.call('ZREM', KEYS[1], key)
    else
      local _, e = struct.unpack('>I8I8', value)
      if e > tonumber(ARGV[6]) then out[#out + 1] = key; out[#out + 1] = value; wanted = wanted - 1 end
    end
    from = '(' .. key
  end
end
return out";

    /// Replaces a value that is still the same, for as long as it was to live. ARGV: old, new.
    EXCHANGE, false, r"
if redis.call('GET', KEYS[1]) ~= ARGV[2] then return {ARGV[1], 0} end
redis.call('SET', KEYS[1], ARGV[3], 'KEEPTTL')
return {ARGV[1], 1}";
}
