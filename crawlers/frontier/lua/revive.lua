-- Dead requests go back to their queues, with all their attempts before them. Touches C:dead, C:queue, C:ready,
-- C:counts, C:ages, C:down, C:meta.
-- ARGV: ids
-- Returns how many were dead. A crawl that was complete is open again: its state is the caller's to set on every shard.
local revived = 0
for _, id in ipairs(ARGV) do
  local packed = call('HGET', C .. ':dead', id)
  if packed then
    local row = cmsgpack.unpack(packed)
    local name, score, request, reasons = row[1], row[2], row[3], row[5]
    call('HDEL', C .. ':dead', id)
    call('HDEL', C .. ':down', name)
    count('dead', -1)
    local reason = 'dead:' .. tostring(reasons[#reasons])
    if call('HINCRBY', C .. ':counts', reason, -1) <= 0 then call('HDEL', C .. ':counts', reason) end
    age(C, score, 1)
    to_queue(C, name, score, id, request)
    revived = revived + 1
  end
end
save_ages()
if revived > 0 then
  count('pending', revived)
  count('version', 1)
end
return revived
