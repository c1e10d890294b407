-- A worker joins the shard. Touches S:workers, S:worker:<w>.
-- ARGV: worker, milliseconds to live without a heartbeat, info (JSON)
local worker, ttl, info = ARGV[1], tonumber(ARGV[2]), ARGV[3]
call('HSET', S .. ':worker:' .. worker, 'crawl', C, 'info', info)
call('ZADD', S .. ':workers', now + ttl, worker)
return now
