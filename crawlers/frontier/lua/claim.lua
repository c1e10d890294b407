-- URLs that somebody pushed for the spider, as users of scrapy-redis do: claimed, removed once the frontier has them.
-- KEYS[1] {<list>}: the tag of the list's own key, KEYS[2] the list.
-- {<list>}:claims       zset   worker -> moment its claim ends (ms)
-- {<list>}:claimed:<w>  list   what it has claimed
-- {<list>}:refused      list   the latest entries that were no requests
-- ARGV: action, worker, kind of the list's key (list, set, zset), number, milliseconds
--   claim   up to so many entries, for so long; claims that ended return to the list first
--   done    they are in the frontier
--   return  they go back
-- Returns the entries claimed.
local action, worker, kind, number, ttl = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])

local function claimed_by(who)
  return S .. ':claimed:' .. who
end

local function put_back(who)
  local entries = call('LRANGE', claimed_by(who), 0, -1)
  for i = #entries, 1, -1 do
    if kind == 'set' then
      call('SADD', C, entries[i])
    elseif kind == 'zset' then
      call('ZADD', C, 'NX', 0, entries[i])
    else
      call('LPUSH', C, entries[i])
    end
  end
  call('DEL', claimed_by(who))
  call('ZREM', S .. ':claims', who)
end

if action == 'return' then
  put_back(worker)
  return {}
elseif action == 'done' then
  call('DEL', claimed_by(worker))
  call('ZREM', S .. ':claims', worker)
  return {}
end
for _, who in ipairs(call('ZRANGEBYSCORE', S .. ':claims', '-inf', now)) do put_back(who) end
local entries = {}
if kind == 'set' then
  entries = call('SPOP', C, number)
elseif kind == 'zset' then
  local popped = call('ZPOPMAX', C, number)
  for i = 1, #popped, 2 do entries[#entries + 1] = popped[i] end
else
  entries = call('LRANGE', C, 0, number - 1)
  if #entries > 0 then call('LTRIM', C, #entries, -1) end
end
if #entries > 0 then
  call('RPUSH', claimed_by(worker), unpack(entries))
  call('ZADD', S .. ':claims', now + ttl, worker)
end
return entries
