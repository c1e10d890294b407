-- A worker's heartbeat: all its leases live on. Touches S:workers.
-- ARGV: worker, milliseconds to live
-- Returns how many leases it holds, or -1 where it was taken for dead: its leases are no longer its own.
local worker, ttl = ARGV[1], tonumber(ARGV[2])
if not call('ZSCORE', S .. ':workers', worker) then return -1 end
even_when_full()
call('ZADD', S .. ':workers', now + ttl, worker)
return call('SCARD', S .. ':held:' .. worker)
