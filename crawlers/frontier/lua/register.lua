-- A worker joins the shard, or comes back to it. Touches S:workers, S:worker:<w>.
-- ARGV: worker, milliseconds to live without a heartbeat, info (JSON), session: the number of this connection, the only
--   one that may lease from now on
local worker, ttl, info, session = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
if session < session_of(worker) then return redis.error_reply('LATE a newer connection is there') end
even_when_full()
call('HSET', S .. ':worker:' .. worker, 'crawl', C, 'info', info, 'session', session)
call('PERSIST', S .. ':worker:' .. worker)
call('ZADD', S .. ':workers', now + ttl, worker)
return now
