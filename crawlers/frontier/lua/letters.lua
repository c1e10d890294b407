-- The outbox of dead letters: requests that died without a worker that could tell (lost with theirs, of a domain that is
-- down, corrupt). Any worker claims some, writes their letters, and says so; what it does not, another one claims.
-- Touches C:letters, C:meta; reads C:dead.
-- ARGV: action, and
--   expect           from now on the crawl's deaths come into the outbox, as there is who writes letters
--   claim N MS       up to N of them, for MS milliseconds
--   written          then id and death of each: their letters are in Kafka
-- Returns, of claim, msgpack of rows {id, domain, request, moment, reasons, death}.
local action = ARGV[1]
local letters, found = C .. ':letters', {}
even_when_full()
if action == 'expect' then
  if call('EXISTS', C .. ':meta') == 1 then call('HSET', C .. ':meta', 'letters', 1) end
elseif action == 'claim' then
  for _, id in ipairs(call('ZRANGEBYSCORE', letters, '-inf', now, 'LIMIT', 0, tonumber(ARGV[2]))) do
    local packed = call('HGET', C .. ':dead', id)
    if packed then
      local name, _, request, moment, reasons, death = unpack(cmsgpack.unpack(packed), 1, 6)
      found[#found + 1] = {id, name, request, moment, reasons, death or 1}
      call('ZADD', letters, now + tonumber(ARGV[3]), id)
    else
      call('ZREM', letters, id)
    end
  end
else
  for i = 2, #ARGV, 2 do
    local packed = call('HGET', C .. ':dead', ARGV[i])
    local death = packed and cmsgpack.unpack(packed)[6] or 1
    -- It may have been sent back and died again meanwhile: that death has a letter of its own.
    if not packed or death == tonumber(ARGV[i + 1]) then call('ZREM', letters, ARGV[i]) end
  end
end
return cmsgpack.pack(found)
