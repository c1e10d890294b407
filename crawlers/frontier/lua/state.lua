-- Sets a crawl's state in the registry; the caller then sets it in every shard. KEYS[1] is shard 0, KEYS[2] G =
-- S:<spider>, see open.lua. Touches G:crawl:<id>, G:open, G:crawls, G:monitors (see judge.lua); reads C:holds, see
-- seeding.lua.
-- ARGV: crawl, state (running, paused, draining, cancelled, complete; gone takes it out of the registry), 1 where a
--   complete crawl may be opened again, and 1 where one that becomes complete is to be judged: once, and not where it was
--   cancelled
-- Returns {state that it has now, state that it had}; complete is refused while the crawl is not seeded, or held open.
local id, wanted, may_reopen = ARGV[1], ARGV[2], ARGV[3] == '1'
local key = C .. ':crawl:' .. id
local known = call('HMGET', key, 'state', 'seeding', 'digest')
local had = known[1]
if not had then return {'gone', 'gone'} end

local function leave_open()
  if call('HGET', C .. ':open', known[3]) == id then call('HDEL', C .. ':open', known[3]) end
end

local function is_seeded()
  return known[2] == 'done' and call('ZCOUNT', C .. ':' .. id .. ':holds', now, '+inf') == 0
end

if wanted == 'gone' then
  leave_open()
  call('DEL', key)
  call('ZREM', C .. ':crawls', id)
  call('ZREM', C .. ':monitors:due', id)
  call('DEL', C .. ':monitors:of:' .. id)
  return {'gone', had}
end
if wanted == 'complete' and had ~= 'cancelled' and not is_seeded() then return {had, had} end
if had == wanted or had == 'complete' and not may_reopen then return {had, had} end
call('HSET', key, 'state', wanted)
if wanted == 'complete' then
  call('HSET', key, 'closed', now)
  leave_open()
  if ARGV[4] == '1' and had ~= 'cancelled' and call('EXISTS', C .. ':monitors:of:' .. id) == 0 then
    call('ZADD', C .. ':monitors:due', 0, id)
    call('HSET', C .. ':monitors:of:' .. id, 'tries', 0)
  end
else
  call('HDEL', key, 'closed')
  if not call('HGET', C .. ':open', known[3]) then call('HSET', C .. ':open', known[3], id) end
end
return {wanted, had}
