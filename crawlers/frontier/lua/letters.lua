-- The outbox of dead letters: requests that died without a worker that could tell (lost with theirs, of a domain that is
-- down, corrupt). Any worker claims some, writes their letters, and says so; what it does not, another one claims.
-- Touches C:letters, C:meta; reads C:dead.
-- ARGV: action, and
--   expect           from now on the crawl's deaths come into the outbox, as there is who writes letters
--   claim N MS       up to N of them, for MS milliseconds. Where Redis has forgotten that letters are expected, all that
--                    have died without one come into the outbox
--   written          then id and death of each: their letters are in Kafka
-- Returns, of claim, msgpack of rows {id, domain, request, moment, reasons, death}.
local action = ARGV[1]
local letters, found = C .. ':letters', {}
even_when_full()

-- Whether they were not.
local function expect()
  return call('EXISTS', C .. ':meta') == 1 and call('HSET', C .. ':meta', 'letters', 1) == 1
end

local function find_unwritten()
  local rows = call('HGETALL', C .. ':dead')
  for i = 1, #rows, 2 do
    if (cmsgpack.unpack(rows[i + 1])[7] or 0) == 0 then call('ZADD', letters, 'NX', 0, rows[i]) end
  end
end

if action == 'expect' then
  expect()
elseif action == 'claim' then
  if expect() then find_unwritten() end
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
