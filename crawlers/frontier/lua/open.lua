-- Joins the open crawl of a definition, or opens one. KEYS[1] is shard 0, KEYS[2] G = S:<spider>, the spider's registry:
-- G:crawls        zset   crawl -> moment it was opened (ms)
-- G:crawl:<id>    hash   definition, digest, state, opened, closed, shards, delivery, emit; seeding (done when it is, list where a list
--                        seeds it), seeder, seeder_until, seeded: see seeding.lua
-- G:open          hash   digest of a definition -> its open crawl
-- G:sites         hash   site -> moment that a crawl of it was opened (ms)
-- G:openings      hash   site -> the last of those moments
-- ARGV: digest, definition (JSON), name or '', name to use otherwise, shards, sites (JSON list), list or ''
-- Returns {name, opened now?, state, digest, shards}
local digest, definition, wanted, made, shards = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local G = C
local MOST_OPENINGS = 6

local function described(id, opened)
  local known = call('HMGET', G .. ':crawl:' .. id, 'state', 'digest', 'shards')
  return {id, opened, known[1], known[2], tonumber(known[3])}
end

local id = wanted
if id == '' then
  local open = call('HGET', G .. ':open', digest)
  if open then return described(open, 0) end
  id = made
elseif call('EXISTS', G .. ':crawl:' .. id) == 1 then
  return described(id, 0)
end
call('HSET', G .. ':crawl:' .. id, 'definition', definition, 'digest', digest, 'state', 'running', 'opened', now,
  'shards', shards)
if ARGV[7] ~= '' then call('HSET', G .. ':crawl:' .. id, 'seeding', ARGV[7]) end
call('ZADD', G .. ':crawls', now, id)
call('HSET', G .. ':open', digest, id)
for _, site in ipairs(cjson.decode(ARGV[6])) do
  local moments = names_in(call('HGET', G .. ':openings', site) or '')
  moments[#moments + 1] = string.format('%d', now)
  if #moments > MOST_OPENINGS then table.remove(moments, 1) end
  call('HSET', G .. ':openings', site, table.concat(moments, ' '))
  call('HSET', G .. ':sites', site, now)
end
return described(id, 1)
