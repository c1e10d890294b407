-- After a lost connection, worker and Redis agree on what is leased. Touches C:leases, C:queue, C:ready, C:counts,
-- S:held, S:busy, S:domain.
-- ARGV: worker, default delay (ms), session, then id and token of each lease that the worker knows of
-- What it does not know of (the answer was lost, or Redis went back in time) returns to its queue.
-- Returns the ids that are not, or no longer, leased to it.
local worker, default_delay, session = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if session < session_of(worker) then return redis.error_reply('LATE a newer connection is there') end
local known, lost = {}, {}
for i = 4, #ARGV, 2 do
  local packed = call('HGET', C .. ':leases', ARGV[i])
  local row = packed and cmsgpack.unpack(packed)
  if row and row[TOKEN] == ARGV[i + 1] then known[ARGV[i]] = true else lost[#lost + 1] = ARGV[i] end
end
local returned = 0
for _, id in ipairs(call('SMEMBERS', S .. ':held:' .. worker)) do
  if not known[id] then
    local packed = call('HGET', C .. ':leases', id)
    local row = packed and cmsgpack.unpack(packed)
    local busy = call('SREM', S .. ':busy:' .. worker, id) == 1
    call('SREM', S .. ':held:' .. worker, id)
    if row and row[WORKER] == worker then
      call('HDEL', C .. ':leases', id)
      one_unstarted_fewer(worker, row, default_delay)
      if busy then free_slot(row[DOMAIN]) end
      to_queue(C, row[DOMAIN], row[SCORE], id, row[REQUEST])
      returned = returned + 1
    end
  end
end
if returned > 0 then
  count('pending', returned)
  count('version', 1)
end
save_domains()
return lost
