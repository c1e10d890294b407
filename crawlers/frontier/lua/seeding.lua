-- Who seeds a crawl, and how far it is. KEYS[1] is shard 0, KEYS[2] G = S:<spider>, see open.lua. Touches G:crawl:<id>
-- and, of the crawl's keys in shard 0, C:holds: zset, who adds seeds from outside -> moment until which the crawl is not
-- complete (ms). C:lists is noted there too, by lists.py: name of a list -> how far it is (JSON).
-- ARGV: crawl, worker, action, milliseconds or number
--   claim N     for N ms, also to go on: returns {'yours', seeds confirmed so far}, {'taken'} or {'done'}; a crawl that
--               a list seeds (seeding is `list`) is no worker's to seed
--   reached N   N seeds are confirmed (only the seeder is heard)
--   done        all of them are
--   hold N      seeds, or requests that were dead, come from outside for the next N ms; 0: no longer. Returns {state}
--   listed      a list that seeds the crawl is in it to its end
local id, worker, action, number = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local key, holds = C .. ':crawl:' .. id, C .. ':' .. id .. ':holds'
local known = call('HMGET', key, 'seeding', 'seeder', 'seeder_until', 'seeded', 'state')
if action == 'hold' then
  call('ZREMRANGEBYSCORE', holds, '-inf', now)
  if number > 0 and known[5] then call('ZADD', holds, now + number, worker) else call('ZREM', holds, worker) end
  return {known[5] or 'gone'}
end
if known[1] == 'done' then return {'done'} end
if action == 'listed' then
  if known[1] == 'list' then call('HSET', key, 'seeding', 'done') end
  return {'done'}
end
if known[1] == 'list' then return {'taken'} end
if action == 'claim' then
  if known[2] and known[2] ~= worker and tonumber(known[3]) > now then return {'taken'} end
  call('HSET', key, 'seeder', worker, 'seeder_until', now + number)
  return {'yours', tonumber(known[4] or 0)}
end
if known[2] ~= worker then return {'taken'} end
if action == 'reached' then
  call('HSET', key, 'seeded', number)
else
  call('HSET', key, 'seeding', 'done')
  call('HDEL', key, 'seeder', 'seeder_until')
end
return {'yours', number}
