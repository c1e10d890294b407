-- A worker joins the shard, or comes back to it. Touches S:workers, S:worker:<w>.
-- ARGV: worker, milliseconds to live without a heartbeat, info (JSON)
local worker, ttl, info = ARGV[1], tonumber(ARGV[2]), ARGV[3]
even_when_full()
call('HSET', S .. ':worker:' .. worker, 'crawl', C, 'info', info)
call('PERSIST', S .. ':worker:' .. worker)
call('ZADD', S .. ':workers', now + ttl, worker)
return now
