-- What became of leases. Touches C:leases, C:counts, C:ages, C:delayed, C:later, C:tries, C:dead, C:done, C:queue,
-- C:ready, C:down, C:letters, C:budgets, C:site, S:domain, S:delays, S:held, S:busy, S:worker:<w>, S:products, S:memory. It frees memory, so it also works
-- where Redis is at maxmemory.
-- ARGV: worker, sequence number, msgpack of operations, msgpack of settings
--   {'began', id, token, milliseconds since}                      its request was sent
--   {'ended', id, token, latency (ms), verdict, retry after (ms)} its download is over: 0 good, 1 failed, 2 throttled,
--                                                                 3 the domain was not asked: nothing is learnt of it
--   {'done', id, token, started?}                                it was worked on; slot_*.lua settle it with its records
--   {'settle', id, token, started?, outcome, reason, letters, notes}
--                                                                 delivered, expanded, redirected, empty, filtered, dead;
--                                                                 letters: those of a dead one that Kafka has; notes of
--                                                                 products, where there are any: see products.lua
--   {'retry', id, token, started?, milliseconds, reason, most attempts, request or ''}
--   {'postpone', id, token, started?, milliseconds}              tried again later, and this attempt is not counted
--   {'release', id, token, started?, 1 where links of its page were new}
--                                                                 back to its place, as if it had not been leased
--   {'delay', domain, milliseconds, one of the domains that share it}
--                                                                 the Crawl-delay of its robots.txt
--   settings: {default delay (ms), failures that open a circuit, cool-down (ms), longest cool-down (ms),
--     openings until a crawl gives a domain up, seconds that outcomes are kept}
-- Returns msgpack {leases that were no longer this worker's, ids that ran out of attempts}; again for a resent batch.
local worker, sequence = ARGV[1], tonumber(ARGV[2])
local operations, settings = cmsgpack.unpack(ARGV[3]), cmsgpack.unpack(ARGV[4])
local default_delay, failures_to_open, cool_down, longest_cool_down, most_openings, kept = unpack(settings)
local WHAT = {began = true, ended = true, done = true, settle = true, retry = true, postpone = true, release = true, delay = true}
local SLOWEST = 16 -- times the delay
local UNASKED = 3 -- the verdict
local WALLS = {ban = true, ['soft ban'] = true, challenge = true, captcha = true} -- crawlers/bans/signatures.py's KINDS

local me = S .. ':worker:' .. worker
if tonumber(call('HGET', me, 'settled') or -1) >= sequence then return cmsgpack.pack({0, {}}) end

for i, operation in ipairs(operations) do
  local outcome = operation[1] == 'settle' and operation[5]
  local is_known = WHAT[operation[1]] and (not outcome or outcome == 'dead' or CODES[outcome])
  if not is_known or (outcome and operation[8] and not are_notes(operation[8])) then
    return redis.error_reply('POISON ' .. i)
  end
end
even_when_full()

local rows, ids = {}, {}
for _, operation in ipairs(operations) do
  if operation[1] ~= 'delay' and rows[operation[2]] == nil then
    ids[#ids + 1] = operation[2]
    rows[operation[2]] = false
  end
end
if #ids > 0 then
  for i, packed in ipairs(call('HMGET', C .. ':leases', unpack(ids))) do
    if packed then rows[ids[i]] = cmsgpack.unpack(packed) end
  end
end

local unheld, dead_ids = {}, {}
local stale, has_tries = 0, call('EXISTS', C .. ':tries') == 1

-- What was planned for the lease has happened, or will not.
local function start_is_over(id, row)
  one_unstarted_fewer(worker, row, default_delay)
  if row[AGAIN] then
    row[AGAIN] = nil
    call('HSET', C .. ':leases', id, cmsgpack.pack(row))
  end
end

-- The lease ends: its row, its place in its domain.
local function let_go(id, row, started)
  rows[id] = false
  unheld[#unheld + 1] = id
  if started == 0 or row[AGAIN] then one_unstarted_fewer(worker, row, default_delay) end
  if call('SREM', S .. ':busy:' .. worker, id) == 1 then free_slot(row[DOMAIN]) end
end

local function delay(id, row, after, request)
  call('ZADD', C .. ':delayed', now + after, id)
  call('HSET', C .. ':later', id, cmsgpack.pack({row[DOMAIN], row[SCORE], request}))
end

local function open_circuit(fields, name)
  fields.q, fields.e = 'open', 0
  fields.n = (fields.n or 0) + 1
  fields.v = now + math.min(longest_cool_down, cool_down * 2 ^ (fields.n - 1))
  if fields.n >= most_openings then call('HSET', C .. ':down', name, fields.n) end
end

local function learn(name, latency, verdict, retry_after)
  local fields = domain(name)
  fields.changed = true
  local slower = fields.x or 1
  if verdict == 0 then
    fields.e = nil
    fields.q, fields.n, fields.v = nil, nil, nil
    fields.l = math.floor((fields.l or latency) * 0.7 + latency * 0.3)
    fields.m = math.floor((fields.m or latency) * 0.98 + latency * 0.02)
    slower = fields.l > 3 * fields.m + 200 and slower * 1.25 or slower * 0.9
  else
    fields.e = (fields.e or 0) + 1
    slower = slower * (verdict == 2 and 2 or 1.5)
    if fields.q == 'half' or (not fields.q and fields.e >= failures_to_open) then open_circuit(fields, name) end
  end
  if retry_after > 0 then fields.a = math.max(fields.a or 0, now + retry_after) end
  slower = math.min(SLOWEST, slower)
  fields.x = slower > 1.05 and slower or nil
end

local act = {}

function act.began(id, row, since)
  local name = row[DOMAIN]
  local fields = domain(name)
  fields.s = math.max(fields.s or 0, now - since)
  fields.t = math.max(fields.t or 0, fields.s)
  fields.changed = true
  start_is_over(id, row)
end

function act.ended(id, row, latency, verdict, retry_after)
  if verdict ~= UNASKED then learn(row[DOMAIN], latency, verdict, retry_after) end
  if call('SREM', S .. ':busy:' .. worker, id) == 1 then free_slot(row[DOMAIN]) end
end

function act.done(id, row, started)
  if started == 0 or row[AGAIN] then start_is_over(id, row) end
end

function act.settle(id, row, started, outcome, reason, letters, notes)
  let_go(id, row, started)
  conclude(C, id, row, outcome, reason, has_tries, kept, letters, notes)
end

function act.retry(id, row, started, after, reason, most_attempts, request)
  let_go(id, row, started)
  if WALLS[reason] then tally(C .. ':budgets', row[DOMAIN] .. ' walls', 1) end
  local tries = tries_of(C, id)
  tries[#tries + 1] = reason
  if request == '' then request = row[REQUEST] end
  if failures_and_losses(tries) >= most_attempts then
    call('HDEL', C .. ':tries', id)
    bury(C, id, row[DOMAIN], row[SCORE], request, tries, reason)
    dead_ids[#dead_ids + 1] = id
    return
  end
  has_tries = true
  call('HSET', C .. ':tries', id, cmsgpack.pack(tries))
  delay(id, row, after, request)
  tally(C, 'retried', 1)
end

function act.postpone(id, row, started, after)
  let_go(id, row, started)
  delay(id, row, after, row[REQUEST])
end

function act.release(id, row, started, has_led)
  let_go(id, row, started)
  if has_led == 1 then call('SADD', C .. ':led', id) end
  to_queue(C, row[DOMAIN], row[SCORE], id, row[REQUEST])
  tally(C, 'pending', 1)
end

-- Of a budget that several domains share, the longest one holds.
local function crawl_delay(name, delay, of)
  if of ~= name then
    local key = S .. ':delays:' .. name
    if delay > 0 then call('HSET', key, of, delay) else call('HDEL', key, of) end
    call('EXPIRE', key, DOMAIN_TTL)
    for _, other in ipairs(call('HVALS', key)) do delay = math.max(delay, tonumber(other)) end
  end
  local fields = domain(name)
  fields.r = delay > 0 and delay or nil
  fields.changed = true
end

for _, operation in ipairs(operations) do
  local what, id, token = operation[1], operation[2], operation[3]
  if what == 'delay' then
    crawl_delay(id, token, operation[4])
  else
    local row = rows[id]
    if row and row[TOKEN] == token and row[WORKER] == worker then
      act[what](id, row, unpack(operation, 4))
    elseif what ~= 'began' and what ~= 'ended' then
      stale = stale + 1
    end
  end
end

if #unheld > 0 then
  call('HDEL', C .. ':leases', unpack(unheld))
  call('SREM', S .. ':held:' .. worker, unpack(unheld))
end
if stale > 0 then tally(C, 'stale', stale) end
tally(C, 'version', 1)
save_done(kept)
save_tallies()
save_domains()
save_ages()
call('HSET', me, 'settled', sequence)
return cmsgpack.pack({stale, dead_ids})
