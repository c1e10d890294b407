-- Who seeds a crawl, and how far it is. KEYS[1] is shard 0, KEYS[2] G = S:<spider>, see open.lua. Touches G:crawl:<id>.
-- ARGV: crawl, worker, action, milliseconds or number
--   claim N     for N ms, also to go on: returns {'yours', seeds confirmed so far}, {'taken'} or {'done'}
--   reached N   N seeds are confirmed (only the seeder is heard)
--   done        all of them are
local key, worker, action, number = C .. ':crawl:' .. ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local known = call('HMGET', key, 'seeding', 'seeder', 'seeder_until', 'seeded')
if known[1] == 'done' then return {'done'} end
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
