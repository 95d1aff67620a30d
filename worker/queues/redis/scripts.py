"""Every change of a queue as one script: the server does nothing else in between."""

# KEYS of all scripts: the stream, its delayed messages, its dead letters.
# ARGV of those that begin with this: group, consumer, then what the script says.
_OWN = """
local function is_own(entry)
  return #redis.call('XPENDING', KEYS[1], ARGV[1], entry, entry, 1, ARGV[2]) == 1
end
local function forget(entry)
  redis.call('XACK', KEYS[1], ARGV[1], entry)
  redis.call('XDEL', KEYS[1], entry)
end
local function time()
  local now = redis.call('TIME')
  return now[1] * 1000 + now[2] / 1000
end
local function add(id, body, deliveries, life)
  local fields = {'id', id, 'body', body, 'deliveries', deliveries}
  if life and life ~= '' then
    fields[7] = 'life'
    fields[8] = life
  end
  redis.call('XADD', KEYS[1], '*', unpack(fields))
end
"""

# In all of them the copy is made first: a server without memory refuses it, and then nothing has changed.

# entry...
ACK = f"""{_OWN}
for i = 3, #ARGV do
  if is_own(ARGV[i]) then forget(ARGV[i]) end
end
"""

# milliseconds, then for each: entry, identity, body, deliveries, life
RELEASE = f"""{_OWN}
for i = 4, #ARGV, 5 do
  local entry, id, body, deliveries, life = unpack(ARGV, i, i + 4)
  if is_own(entry) then
    if tonumber(ARGV[3]) > 0 then
      local due = string.format('%.3f', time() + ARGV[3])
      redis.call('ZADD', KEYS[2], due, cmsgpack.pack({{entry, id, body, deliveries, life}}))
    else
      add(id, body, deliveries, life)
    end
    forget(entry)
  end
end
"""

# entry, then the fields of the letter
DEAD = f"""{_OWN}
if is_own(ARGV[3]) then
  local now = redis.call('TIME')
  local at = string.format('%d.%06d', now[1], now[2])
  redis.call('XADD', KEYS[3], '*', 'dead_at', at, unpack(ARGV, 4))
  forget(ARGV[3])
end
"""

# for each: entry, identity, body, deliveries, life. Of what was trimmed away while we hold it; it cannot be
# lost between the two steps, for we would ask again.
RESTORE = f"""{_OWN}
for i = 3, #ARGV, 5 do
  if is_own(ARGV[i]) then
    add(unpack(ARGV, i + 1, i + 4))
    forget(ARGV[i])
  end
end
"""

# lease in milliseconds, how many at most, where to go on; gives where to go on, milliseconds until the next
# delayed message is due (or -1), what is now ours: entry, fields, deliveries; and the entries that were held
# for too long, and trimmed away. (XAUTOCLAIM would forget those that were trimmed away even if they are held
# by a worker that lives, and can put them back.)
CLAIM = f"""{_OWN}
local now = time()
local upto = string.format('%.3f', now)
for _, packed in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', upto, 'LIMIT', 0, 500)) do
  local it = cmsgpack.unpack(packed)
  add(unpack(it, 2, 5))
  redis.call('ZREM', KEYS[2], packed)
end
local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
local due = first[2] and math.max(0, math.ceil(first[2] - now)) or -1
local found, gone, most = {{}}, {{}}, tonumber(ARGV[4])
local some = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], ARGV[5], '+', most)
for _, it in ipairs(some) do
  local got = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], it[1])
  if #got > 0 then
    found[#found + 1] = {{it[1], got[1][2], it[4] + 1}}
  else
    redis.call('XACK', KEYS[1], ARGV[1], it[1])
    gone[#gone + 1] = it[1]
  end
end
return {{#some == most and '(' .. some[most][1] or '-', due, found, gone}}
"""

# entry...; gives those that are no longer ours, and those that are, but were trimmed away. The latter are not
# claimed: that would make the server forget them.
RENEW = f"""{_OWN}
local lost, trimmed = {{}}, {{}}
for i = 3, #ARGV do
  if not is_own(ARGV[i]) then
    lost[#lost + 1] = ARGV[i]
  elseif #redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i]) == 0 then
    trimmed[#trimmed + 1] = ARGV[i]
  else
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
  end
end
return {{lost, trimmed}}
"""

# where to go on, how many entries; counts those that the group has passed and nobody holds: they came before
# it. Gives where to go on, empty at the end, and how many there were.
COUNT_SKIPPED = """
local last = '0-0'
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for i = 1, #flat, 2 do group[flat[i]] = flat[i + 1] end
  if group['name'] == ARGV[1] then last = group['last-delivered-id'] end
end
local count, cursor = 0, ''
local entries = redis.call('XRANGE', KEYS[1], ARGV[3], last, 'COUNT', ARGV[4])
for _, entry in ipairs(entries) do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1) == 0 then count = count + 1 end
end
if #entries == tonumber(ARGV[4]) then cursor = '(' .. entries[#entries][1] end
return {cursor, count}
"""

# gives 1 or 0
IS_DRAINED = """
if redis.call('XPENDING', KEYS[1], ARGV[1])[1] > 0 or redis.call('ZCARD', KEYS[2]) > 0 then return 0 end
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for i = 1, #flat, 2 do group[flat[i]] = flat[i + 1] end
  if group['name'] == ARGV[1] then
    local after = '(' .. group['last-delivered-id']
    return #redis.call('XRANGE', KEYS[1], after, '+', 'COUNT', 1) == 0 and 1 or 0
  end
end
return 0
"""

# Forgets this consumer, and those that were killed a day ago. One that holds something must stay: what it
# holds would be forgotten with it.
REMOVE_CONSUMER = """
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local it = {}
  for i = 1, #flat, 2 do it[flat[i]] = flat[i + 1] end
  if it['pending'] == 0 and (it['name'] == ARGV[2] or it['idle'] > 86400000) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], it['name'])
  end
end
"""

# how many; gives how many there were. No two letters ever have the same entry, so it names the life.
REQUEUE = """
local letters = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', ARGV[1])
for _, letter in ipairs(letters) do
  local it = {}
  for i = 1, #letter[2], 2 do it[letter[2][i]] = letter[2][i + 1] end
  local id, body = it['id'] or letter[1], it['body'] or ''
  redis.call('XADD', KEYS[1], '*', 'id', id, 'body', body, 'life', letter[1])
  redis.call('XDEL', KEYS[3], letter[1])
end
return #letters
"""
