-- Leases requests to a worker, each with the moment it may start; none to one that was taken for dead, as nobody would
-- miss it, and none where Redis is at maxmemory. Touches C:queue, C:ready, C:delayed, C:later, C:leases, C:counts, C:ages,
-- C:dead, C:letters, S:domain, S:held, S:busy; reads C:down, C:tries, C:revived, S:workers.
-- ARGV: worker, token (random: what settles these leases), how many, milliseconds to look ahead, most per domain in
--   turn, default delay (ms), default concurrency, session as it was registered, slots of exactly once (numbers) or '', then the
--   domains with a delay whose leases this worker goes on with: while it has unstarted ones, no other worker can
-- Returns msgpack {state, open, version, milliseconds until a domain is due or -1, leases}
--   leases: {id, milliseconds until its start, delay (ms), failed attempts, domain, request, milliseconds since arrival,
--     times that it was sent back, 1 where it was worked on before and its links may have become known by that}
local worker, token = ARGV[1], ARGV[2]
local look, quantum = tonumber(ARGV[4]), tonumber(ARGV[5])
local want = math.min(tonumber(ARGV[3]), 1000) -- more in the next call: Lua unpacks some thousands of values at most
local default_delay, default_concurrency = tonumber(ARGV[6]), tonumber(ARGV[7])
local session, slots = tonumber(ARGV[8]), names_in(ARGV[9])
local PART = 100 -- rows that one call takes off a queue without leasing them

local meta = call('HMGET', C .. ':meta', 'state', 'began', 'depth_first')
local state, began, is_depth_first = meta[1] or 'gone', tonumber(meta[2] or now), meta[3] == '1'
local leases, ids, changed = {}, {}, false
local rows = {}

local function promote_delayed()
  for _, id in ipairs(call('ZRANGEBYSCORE', C .. ':delayed', '-inf', now, 'LIMIT', 0, math.max(want, PART))) do
    local row = cmsgpack.unpack(call('HGET', C .. ':later', id))
    call('ZREM', C .. ':delayed', id)
    call('HDEL', C .. ':later', id)
    to_queue(C, row[1], row[2], id, row[3])
    count('pending', 1)
    changed = true
  end
end

-- Takes rows off a domain's queue without fetching them.
local function take_off(name, reason, dead)
  local members = call('ZPOPMIN', C .. ':queue:' .. name, PART)
  for i = 1, #members, 2 do
    if dead then
      local id, request = id_and_request(members[i])
      local reasons = tries_of(C, id)
      reasons[#reasons + 1] = reason
      bury(C, id, name, tonumber(members[i + 1]), request, reasons, reason)
      call('HDEL', C .. ':tries', id)
    else
      age(C, tonumber(members[i + 1]), -1)
    end
  end
  local number = #members / 2
  if number == 0 then return end
  count('pending', -number)
  if not dead then
    count('filtered', number)
    count('filtered:' .. reason, number)
  end
  changed = true
end

-- The crawl is told when something about the domain changes.
local function wait_for(fields)
  if not fields.w then
    fields.w = C
  elseif not string.find('\n' .. fields.w .. '\n', '\n' .. C .. '\n', 1, true) then
    fields.w = fields.w .. '\n' .. C
  end
  fields.changed = true
end

local function park(name, fields)
  call('ZREM', C .. ':ready', name)
  wait_for(fields)
end

local function is_given_up(name, fields)
  local openings = tonumber(call('HGET', C .. ':down', name) or nil)
  return openings and fields.n >= openings
end

-- Leases some of a domain's queue.
local function visit(name)
  local fields, queue = domain(name), C .. ':queue:' .. name
  local delay = delay_of(fields, default_delay)
  local concurrency = fields.c or default_concurrency
  if (fields.d or default_delay) == 0 and fields.x then concurrency = math.max(1, math.floor(concurrency / fields.x)) end
  if fields.q == 'open' then
    if is_given_up(name, fields) then
      take_off(name, 'domain down', true)
      if call('EXISTS', queue) == 0 then call('ZREM', C .. ':ready', name) end
      return
    end
    if now < fields.v then
      call('ZADD', C .. ':ready', fields.v, name)
      wait_for(fields)
      return
    end
    fields.q, fields.changed = 'half', true
  end
  if fields.q == 'half' then concurrency = 1 end
  local places = math.min(concurrency - (fields.f or 0), want - #leases, quantum)
  if concurrency <= (fields.f or 0) then return park(name, fields) end
  if delay > 0 and fields.u and fields.o ~= worker then return park(name, fields) end
  if delay > 0 and (fields.y or 0) > now then
    call('ZADD', C .. ':ready', fields.y, name)
    wait_for(fields)
    return
  end
  local start = delay > 0 and spaced_start(fields, delay) or next_start(fields)
  if start > now + (delay > 0 and look or 0) then
    call('ZADD', C .. ':ready', start, name)
    return
  end
  -- Starts keep to a grid of delays; one that fell behind it, in going on, catches up by a tenth of a delay each time.
  local grid = start
  if delay > 0 then
    places = math.min(places, math.floor((now + look - start) / delay) + 1)
    if fields.s and fields.t and now <= fields.s + delay then grid = math.max(fields.t, start - delay) end
  end
  local members = call('ZPOPMIN', queue, places)
  for i = 1, #members, 2 do
    local id, request = id_and_request(members[i])
    ids[#ids + 1] = id
    rows[#rows + 1] = id
    rows[#rows + 1] = cmsgpack.pack({token, worker, name, tonumber(members[i + 1]), request, delay > 0})
    local since = math.max(0, now - began - arrival_of(tonumber(members[i + 1]), is_depth_first))
    leases[#leases + 1] = {id, start - now, delay, 0, name, request, since, 0, 0}
    if delay > 0 then fields.p = start end
    grid = grid + delay
    start = math.max(grid, math.ceil(start + CLOSEST * delay))
  end
  local taken = #members / 2
  fields.f = (fields.f or 0) + taken
  fields.changed = true
  if delay > 0 and taken > 0 then
    fields.t, fields.u, fields.o = grid, (fields.u or 0) + taken, worker
  end
  if taken < places or call('EXISTS', queue) == 0 then
    call('ZREM', C .. ':ready', name)
  elseif fields.f >= concurrency then
    park(name, fields)
  else
    call('ZADD', C .. ':ready', delay > 0 and start or now, name)
  end
end

local may_lease = call('ZSCORE', S .. ':workers', worker) and session_of(worker) == session
if state == 'running' and may_lease and (#slots == 0 or are_synced(slots)) then
  call('ZADD', C .. ':ready', 'XX', now, '') -- changes nothing, and fails at maxmemory
  promote_delayed()
  for i = 10, #ARGV do
    if domain(ARGV[i]).o == worker and #leases < want and call('EXISTS', C .. ':queue:' .. ARGV[i]) == 1 then
      visit(ARGV[i])
    end
  end
  local seen = -1
  while #leases < want and #leases > seen do -- until a whole round adds nothing
    seen = #leases
    for _, name in ipairs(call('ZRANGEBYSCORE', C .. ':ready', '-inf', now + look, 'LIMIT', 0, want)) do
      if #leases >= want then break end
      visit(name)
    end
  end
elseif state == 'cancelled' then
  for _, id in ipairs(call('ZRANGE', C .. ':delayed', 0, PART - 1)) do
    call('ZADD', C .. ':delayed', 0, id)
  end
  promote_delayed()
  for _, name in ipairs(call('ZRANGE', C .. ':ready', 0, PART - 1)) do
    take_off(name, 'cancelled')
    if call('EXISTS', C .. ':queue:' .. name) == 0 then call('ZREM', C .. ':ready', name) end
  end
end

if #ids > 0 then
  call('HSET', C .. ':leases', unpack(rows))
  call('SADD', S .. ':held:' .. worker, unpack(ids))
  call('SADD', S .. ':busy:' .. worker, unpack(ids))
  count('pending', -#ids)
  changed = true
  if call('EXISTS', C .. ':tries') == 1 then
    local tried = call('HMGET', C .. ':tries', unpack(ids))
    for i, packed in ipairs(tried) do
      if packed then
        local failures, losses = failures_and_losses(cmsgpack.unpack(packed))
        leases[i][4], leases[i][9] = failures, losses > 0 and 1 or 0
      end
    end
  end
  if call('EXISTS', C .. ':led') == 1 then
    for i, id in ipairs(ids) do
      if call('SREM', C .. ':led', id) == 1 then leases[i][9] = 1 end
    end
  end
  if call('EXISTS', C .. ':revived') == 1 then
    for i, times in ipairs(call('HMGET', C .. ':revived', unpack(ids))) do leases[i][8] = tonumber(times or 0) end
  end
end
save_domains()
save_ages()
if changed then count('version', 1) end

local totals = call('HMGET', C .. ':counts', 'pending', 'version')
local open = tonumber(totals[1] or 0) + call('HLEN', C .. ':leases') + call('ZCARD', C .. ':delayed')
local due, soonest = -1, call('ZRANGE', C .. ':ready', 0, 0, 'WITHSCORES')[2]
local delayed = call('ZRANGE', C .. ':delayed', 0, 0, 'WITHSCORES')[2]
if soonest then due = math.max(0, soonest - now) end
if delayed then due = math.max(0, due < 0 and delayed - now or math.min(due, delayed - now)) end
return cmsgpack.pack({state, open, tonumber(totals[2] or 0), due, leases})
