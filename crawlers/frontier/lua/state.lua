-- Sets a crawl's state in the registry; the caller then sets it in every shard. KEYS[1] is shard 0, KEYS[2] G =
-- S:<spider>, see open.lua. Touches G:crawl:<id>, G:open.
-- ARGV: crawl, state (running, paused, draining, cancelled, complete)
-- Returns {state that it has now, state that it had}; complete is refused while the crawl is not seeded.
local id, wanted = ARGV[1], ARGV[2]
local key = C .. ':crawl:' .. id
local known = call('HMGET', key, 'state', 'seeding', 'digest')
local had = known[1]
if not had then return {'gone', 'gone'} end
if wanted == 'complete' and had ~= 'cancelled' and known[2] ~= 'done' then return {had, had} end
if had == wanted then return {had, had} end
call('HSET', key, 'state', wanted)
if wanted == 'complete' then
  call('HSET', key, 'closed', now)
  if call('HGET', C .. ':open', known[3]) == id then call('HDEL', C .. ':open', known[3]) end
else
  call('HDEL', key, 'closed')
  if not call('HGET', C .. ':open', known[3]) then call('HSET', C .. ':open', known[3], id) end
end
return {wanted, had}
