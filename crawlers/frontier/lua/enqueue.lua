-- Takes requests into the frontier, each once. Touches C:meta, C:counts, C:ages, C:seen, C:split, C:queue, C:ready,
-- C:admitted, C:revived, C:site, S:worker:<w>, S:products, S:pages, and reads S:domain.
-- ARGV: worker, sequence number, msgpack {requests, duplicates, refused, limit of the crawl in this shard or 0}
--   requests: {id, id as integer, domain, priority, request, seed?, group, limit, '', times that it was sent back, scope};
--     of one that is not to be filtered the id is random, and its fingerprint in place of '': the id is remembered all the
--     same, as it may be sent again; scope: see products.lua, '' of one that is fetched whether it is due or not
--     seed 2 and 3: the fingerprint alone becomes known, and nothing is queued (it was seen before the crawl, elsewhere);
--     2 counts as seeded, and filtered `imported as seen`, 3 does not count, as another shard counts it
--   duplicates: how many more the worker knew for duplicates; refused: reason -> how many never became requests
-- Returns msgpack {added, duplicates, over a limit, '1' or '0' of each request: whether it was no duplicate}; for a batch that was taken already, what was returned then;
--   'gone' where the crawl takes none.
local worker, sequence = ARGV[1], tonumber(ARGV[2])
local batch = cmsgpack.unpack(ARGV[3])
local requests, known_duplicates, refused, crawl_limit = batch[1], batch[2], batch[3], batch[4] or 0

local MOST_IN_A_NODE = 460 -- an intset holds 512 by default; only every fourth insertion looks
local DEEPEST = 24
local HIGHEST_PRIORITY = 65535
local TWO = {}
for i = 0, DEEPEST do TWO[i] = 2 ^ i end

local me = S .. ':worker:' .. worker
local last = call('HMGET', me, 'enqueued', 'reply')
if last[1] and tonumber(last[1]) >= sequence then return last[2] end

local meta = call('HMGET', C .. ':meta', 'state', 'arrivals', 'seen_depth', 'depth_first', 'began')
if not meta[1] or meta[1] == 'complete' then return 'gone' end
local is_depth_first, began = meta[4] == '1', tonumber(meta[5] or now)
local arrivals = math.max(tonumber(meta[2] or 0), now - began)
local seen_depth = tonumber(meta[3] or 0)

local function is_good(request)
  if type(request) ~= 'table' then return false end
  local id, decimal, name, priority, body, seed, group, limit, original, revived, scope = unpack(request, 1, 11)
  return type(id) == 'string' and #id == 8 and type(name) == 'string' and type(body) == 'string'
    and type(priority) == 'number' and math.abs(priority) <= HIGHEST_PRIORITY
    and type(group) == 'string' and type(limit) == 'number'
    and type(decimal) == 'string' and string.find(decimal, '^-?%d+$') and type(original) == 'string'
    and type(revived) == 'number' and type(scope) == 'string'
end

for i, request in ipairs(requests) do
  if not is_good(request) then return redis.error_reply('POISON ' .. i) end
end

-- The low 24 bits of a fingerprint that is written as a signed decimal number.
local function low_bits(decimal)
  local negative = string.byte(decimal, 1) == 45
  local digits = negative and string.sub(decimal, 2) or decimal
  local high = tonumber(string.sub(digits, 1, -10)) or 0
  local low = tonumber(string.sub(digits, -9))
  local bits = ((high % TWO[24]) * 10144256 + low) % TWO[24] -- 10144256 is 10^9 modulo 2^24
  return negative and (TWO[24] - bits) % TWO[24] or bits
end

local function node_key(node)
  return C .. ':seen:' .. string.format('%d', node)
end

local function split(node, depth)
  local here, there = {}, {}
  for _, member in ipairs(call('SMEMBERS', node_key(node))) do
    local side = low_bits(member) % TWO[depth + 1] >= TWO[depth] and there or here
    side[#side + 1] = member
  end
  local index = node - TWO[depth]
  call('DEL', node_key(node))
  if #here > 0 then call('SADD', node_key(TWO[depth + 1] + index), unpack(here)) end
  if #there > 0 then call('SADD', node_key(TWO[depth + 1] + TWO[depth] + index), unpack(there)) end
  call('SETBIT', C .. ':split', node, 1)
  if call('HINCRBY', C .. ':meta', 'splits:' .. depth, 1) == TWO[depth] then
    seen_depth = depth + 1
    call('HSET', C .. ':meta', 'seen_depth', seen_depth)
  end
end

local function is_new(id, decimal)
  local low, depth = struct.unpack('>I4', id, 5), seen_depth
  local node = TWO[depth] + low % TWO[depth]
  while depth < DEEPEST and call('GETBIT', C .. ':split', node) == 1 do
    depth = depth + 1
    node = TWO[depth] + low % TWO[depth]
  end
  local key = node_key(node)
  if call('SADD', key, decimal) == 0 then return false end
  if string.byte(id, 1) % 4 == 0 and depth < DEEPEST and call('SCARD', key) > MOST_IN_A_NODE then split(node, depth) end
  return true
end

-- Whether a limit has room; takes one place.
local function has_room(group, limit)
  if limit == 0 then return true end
  if call('HINCRBY', C .. ':admitted', group, 1) <= limit then return true end
  call('HINCRBY', C .. ':admitted', group, -1)
  return false
end

local function admit(group, limit)
  if not has_room(group, limit) then return false end
  if has_room('', crawl_limit) then return true end
  if limit > 0 then call('HINCRBY', C .. ':admitted', group, -1) end
  return false
end

local SEEN, SEEN_ELSEWHERE = 2, 3 -- kinds of seed
local added, duplicates, over, seeds, seen, taken, not_due = 0, known_duplicates, 0, 0, 0, 0, 0
local unread = {}
local news = {}
local queues = {}
for _, request in ipairs(requests) do
  local id, decimal, name, priority, body, seed, group, limit, original, revived, scope = unpack(request)
  news[#news + 1] = '1'
  if seed == SEEN or seed == SEEN_ELSEWHERE then
    if is_new(id, decimal) and seed == SEEN then seen = seen + 1 end
  elseif not is_new(id, decimal) then
    duplicates = duplicates + 1
    news[#news] = '0'
  elseif scope ~= '' and is_not_due(scope, id) then
    taken = taken + 1
    not_due = not_due + 1
    unread[scope] = (unread[scope] or 0) + 1
  else
    if original ~= '' then call('HSET', C .. ':copies', original, id) end
    if (revived or 0) > 0 then call('HSET', C .. ':revived', id, revived) end
    if seed == 1 then seeds = seeds + 1 end
    taken = taken + 1
    if admit(group, limit) then
      arrivals = arrivals + 1
      local queue = queues[name]
      if not queue then
        queue = {}
        queues[name] = queue
      end
      local score = score_of(priority, arrivals, is_depth_first)
      queue[#queue + 1] = score
      queue[#queue + 1] = id .. body
      age(C, score, 1)
      added = added + 1
    else
      over = over + 1
    end
  end
end

local MOST_ARGUMENTS = 4000
for name, queue in pairs(queues) do
  for first = 1, #queue, MOST_ARGUMENTS do
    call('ZADD', C .. ':queue:' .. name, unpack(queue, first, math.min(#queue, first + MOST_ARGUMENTS - 1)))
  end
  call('ZADD', C .. ':ready', 'NX', math.max(now, tonumber(call('HGET', S .. ':domain:' .. name, 't') or 0)), name)
end

call('HSET', C .. ':meta', 'arrivals', arrivals, 'began', began)
save_ages()
for reason, number in pairs(refused) do
  count('filtered', number)
  count('filtered:' .. reason, number)
  taken = taken + number
end
if over > 0 then
  count('filtered', over)
  count('filtered:page limit', over)
end
if not_due > 0 then
  count('filtered', not_due)
  count('filtered:not due', not_due)
end
for scope, number in pairs(unread) do -- its last part is the site
  call('HINCRBY', C .. ':site:' .. string.match(scope, '[^:]*$') .. ':counts', 'unread', number)
end
if seen > 0 then
  count('filtered', seen)
  count('filtered:imported as seen', seen)
end
if seeds + seen > 0 then count('seeded', seeds + seen) end
if taken > seeds then count('discovered', taken - seeds) end
if added > 0 then count('pending', added) end
if duplicates > 0 then count('duplicates', duplicates) end
count('version', 1)
local reply = cmsgpack.pack({added, duplicates, over, table.concat(news)})
call('HSET', me, 'enqueued', sequence, 'reply', reply)
return reply
