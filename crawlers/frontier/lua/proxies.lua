-- How proxies do at a domain: notes what a worker has seen of them, and tells what the fleet has.
-- S:proxies:<domain>  hash  label -> "row level until ok failed latency banned": failures in a row, cool-downs in a row,
--                           moment its cool-down ends (ms), successes and failures (bans among them) of late, mean
--                           latency (ms), bans of late
-- ARGV: domain, seconds that this is remembered, failures in a row that cool a proxy down, first cool-down after them and
-- after a ban (ms), longest cool-down (ms), then label, successes, failures, bans, milliseconds of the successes in all, …
-- Returns now, and the hash.
local LATELY = 200

local key = S .. ':proxies:' .. ARGV[1]
local limit, after_failures, after_ban, longest = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

for i = 7, #ARGV, 5 do
  local good, bad, bans, ms = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4])
  local row, level, till, ok, failed, latency, banned = 0, 0, 0, 0, 0, 0, 0
  local known = call('HGET', key, ARGV[i])
  if known then
    local parts = {}
    for part in string.gmatch(known, '%S+') do parts[#parts + 1] = tonumber(part) end
    row, level, till, ok, failed, latency, banned = unpack(parts)
  end
  if good > 0 then latency = ok == 0 and ms / good or latency + (ms / good - latency) * good / (good + 10) end
  ok, failed, banned = ok + good, failed + bad + bans, banned + bans
  if ok + failed > LATELY then ok, failed, banned = ok / 2, failed / 2, banned / 2 end
  if till <= now then -- what comes in while it cools down belongs to what cooled it down
    if good > 0 then row, level = 0, 0 end
    row = row + bad
    local cooling = bans > 0 and after_ban or (row >= limit and after_failures)
    if cooling then
      till = now + math.min(longest, cooling * 2 ^ level)
      row, level = 0, level + 1
    end
  end
  call('HSET', key, ARGV[i], string.format('%d %d %d %.1f %.1f %.1f %.1f', row, level, till, ok, failed, latency, banned))
end
if #ARGV > 6 then call('EXPIRE', key, ARGV[2]) end
return {now, call('HGETALL', key)}
