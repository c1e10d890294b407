-- Returns the leases of workers whose heartbeat stopped, of whatever crawl. Touches S:workers, S:worker, S:held, S:busy,
-- S:tick, S:domain, and of each crawl C:leases, C:queue, C:ready, C:tries, C:dead, C:letters, C:counts, C:ages.
-- ARGV: milliseconds to live, most times that a request may be lost with its worker, default delay (ms; unused: a dead
--   worker's planned starts may have happened), a worker to end now, or ''
-- Returns the workers that were ended and the number of leases that they held.
local ttl, most_losses, gone = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[4]
local REMEMBERED = 86400 -- seconds that a worker cut off from Redis may come back in and have a batch recognised

local function end_worker(worker)
  local crawl = call('HGET', S .. ':worker:' .. worker, 'crawl')
  local ids = call('SMEMBERS', S .. ':held:' .. worker)
  local names = {}
  for _, id in ipairs(ids) do
    local packed = call('HGET', crawl .. ':leases', id)
    local row = packed and cmsgpack.unpack(packed)
    if row and row[WORKER] == worker then
      local name = row[DOMAIN]
      call('HDEL', crawl .. ':leases', id)
      if call('SISMEMBER', S .. ':busy:' .. worker, id) == 1 then free_slot(name) end
      names[name] = true
      return_lost(crawl, id, row, most_losses)
    end
  end
  for name in pairs(names) do
    if domain(name).o == worker then hand_on(crawl, name) end
  end
  if #ids > 0 then tally(crawl, 'version', 1) end
  call('DEL', S .. ':held:' .. worker, S .. ':busy:' .. worker)
  call('EXPIRE', S .. ':worker:' .. worker, REMEMBERED)
  call('ZREM', S .. ':workers', worker)
  return #ids
end

even_when_full()
local ended, leases = 0, 0
if gone ~= '' then
  ended, leases = 1, end_worker(gone)
else
  -- After a silence Redis was away, not the workers: they get a moment to say that they live.
  local tick = tonumber(call('GET', S .. ':tick') or now)
  call('SET', S .. ':tick', now)
  local expired = call('ZRANGEBYSCORE', S .. ':workers', '-inf', now)
  for _, worker in ipairs(expired) do
    if now - tick > ttl / 2 then
      call('ZADD', S .. ':workers', now + math.min(ttl, 5000), worker)
    else
      ended, leases = ended + 1, leases + end_worker(worker)
    end
  end
end
save_tallies()
save_domains()
save_ages()
return {ended, leases}
