-- Joins the open crawl of a definition, or opens one. KEYS[1] is shard 0, KEYS[2] G = S:<spider>, the spider's registry:
-- G:crawls        zset   crawl -> moment it was opened (ms)
-- G:crawl:<id>    hash   definition, digest, state, opened, closed, shards, delivery, emit; seeding (done when it is, list where a list
--                        seeds it), seeder, seeder_until, seeded: see seeding.lua; starting (moment until which a worker
--                        that opened or joined it may take to register, ms)
-- G:open          hash   digest of a definition -> its open crawl
-- G:sites         hash   site -> moment that a crawl of it was opened (ms)
-- G:openings      hash   site -> the last of those moments
-- ARGV: digest, definition (JSON), name or '', name to use otherwise, shards, sites (JSON list), list or '',
--   join or skip: what becomes of a crawl that somebody is at work on; milliseconds that the caller, which is to work on
--   it, may take to register; neither, or 0, where it is no worker
-- Reads S:workers, S:worker.
-- Returns {name, opened (1), joined (0) or skipped (-1), state, digest, shards}
local digest, definition, wanted, made, shards = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local overlap, starting = ARGV[8], tonumber(ARGV[9] or 0)
local G = C
local MOST_OPENINGS = 6

local function described(id, opened)
  local known = call('HMGET', G .. ':crawl:' .. id, 'state', 'digest', 'shards')
  return {id, opened, known[1], known[2], tonumber(known[3])}
end

local function start_on(id)
  if starting > 0 then call('HSET', G .. ':crawl:' .. id, 'starting', now + starting) end
end

-- A crawl that all of its workers left, or were killed at, is open and nobody's.
local function is_at_work(id)
  if tonumber(call('HGET', G .. ':crawl:' .. id, 'starting') or 0) > now then return true end
  for _, worker in ipairs(call('ZRANGEBYSCORE', S .. ':workers', now, '+inf')) do
    if call('HGET', S .. ':worker:' .. worker, 'crawl') == G .. ':' .. id then return true end
  end
  return false
end

local function joined(id)
  if call('HGET', G .. ':crawl:' .. id, 'state') ~= 'complete' then
    if overlap == 'skip' and is_at_work(id) then return described(id, -1) end
    start_on(id)
  end
  return described(id, 0)
end

local id = wanted
if id == '' then
  local open = call('HGET', G .. ':open', digest)
  if open then return joined(open) end
  id = made
elseif call('EXISTS', G .. ':crawl:' .. id) == 1 then
  return joined(id)
end
call('HSET', G .. ':crawl:' .. id, 'definition', definition, 'digest', digest, 'state', 'running', 'opened', now,
  'shards', shards)
if ARGV[7] ~= '' then call('HSET', G .. ':crawl:' .. id, 'seeding', ARGV[7]) end
start_on(id)
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
