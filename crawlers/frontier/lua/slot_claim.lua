-- Claims a slot: its claimant's own, else one that expired, those first that another worker left in the middle.
-- Touches S:slot:<n>, reads S:synced.
-- ARGV: claim (random), milliseconds to live, the shard's slots (their numbers), 1 where only a slot that was left in the
--   middle is wanted
-- Returns the slot, or -1.
local claim, ttl, slots, only_left = ARGV[1], tonumber(ARGV[2]), names_in(ARGV[3]), ARGV[4] == '1'
local here, best, best_score = run_id(), -1, 0

local function score(slot)
  local known = call('HMGET', S .. ':slot:' .. slot, 'claim', 'until', 'token')
  if known[1] == claim then return 3 end
  if tonumber(known[2] or 0) > now then return 0 end
  if known[3] or call('HGET', S .. ':synced', slot) ~= here then return 2 end
  return only_left and 0 or 1
end

for _, slot in ipairs(slots) do
  local found = score(slot)
  if found > best_score then best, best_score = slot, found end
end
if best ~= -1 then
  even_when_full()
  call('HSET', S .. ':slot:' .. best, 'claim', claim, 'until', now + ttl)
end
return tonumber(best)
