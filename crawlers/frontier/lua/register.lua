-- A worker joins the shard, or comes back to it. Touches S:workers, S:worker:<w>; and, to find out before there is
-- anything to lose whether this user may do what the scripts do, which Redis does not roll back: S:none.
-- ARGV: worker, milliseconds to live without a heartbeat, info (JSON), session: the number of this connection, the only
--   one that may lease from now on
local worker, ttl, info, session = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
if session < session_of(worker) then return redis.error_reply('LATE a newer connection is there') end
even_when_full()
local none = S .. ':none'
for _, command in ipairs({
  {'SADD', none, 1}, {'SREM', none, 1}, {'SPOP', none}, {'SMEMBERS', none}, {'SCARD', none}, {'SISMEMBER', none, 1},
  {'ZADD', none, 1, 1}, {'ZSCORE', none, 1}, {'ZRANGE', none, 0, 0}, {'ZRANGEBYSCORE', none, 0, 0}, {'ZCARD', none},
  {'ZREM', none, 1}, {'ZPOPMIN', none},
  {'HSET', none, 1, 1}, {'HINCRBY', none, 1, 1}, {'HGET', none, 1}, {'HMGET', none, 1}, {'HLEN', none},
  {'EXPIRE', none, 60}, {'HDEL', none, 1},
  {'SETBIT', none, 1, 1}, {'GETBIT', none, 1}, {'SET', none, 1}, {'GET', none}, {'EXISTS', none},
}) do call(unpack(command)) end
even_when_full()
call('HSET', S .. ':worker:' .. worker, 'crawl', C, 'info', info, 'session', session)
call('PERSIST', S .. ':worker:' .. worker)
call('ZADD', S .. ':workers', now + ttl, worker)
return now
