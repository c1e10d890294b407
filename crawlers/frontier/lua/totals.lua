-- The equation of a crawl in a shard, exact at one moment. Reads C:meta, C:counts, C:leases, C:delayed, C:ready,
-- C:letters.
-- Returns msgpack {state, counts, leased, delayed, domains that wait in ready, workers of any crawl,
--   dead letters to be written}
local counts = {}
local flat = call('HGETALL', C .. ':counts')
for i = 1, #flat, 2 do counts[flat[i]] = tonumber(flat[i + 1]) end
counts.version = counts.version or 0
return cmsgpack.pack({
  call('HGET', C .. ':meta', 'state') or 'gone',
  counts,
  call('HLEN', C .. ':leases'),
  call('ZCARD', C .. ':delayed'),
  call('ZCARD', C .. ':ready'),
  call('ZCARD', S .. ':workers'),
  call('ZCARD', C .. ':letters'),
})
