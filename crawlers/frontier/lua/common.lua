-- Shared by every script: it stands before each of them when they are loaded.
--
-- KEYS[1]  S = seine:{n}                  a shard: workers, and the domains' politeness; belongs to no crawl
-- KEYS[2]  C = S:<spider>:<crawl>         one crawl's part of that shard
--
-- S:workers            zset   worker -> moment its lease of life ends (ms)
-- S:worker:<w>         hash   crawl (its C), info, session (number of its connection), enqueued and settled (sequence
--                             numbers of its last batches), reply; expires once the worker is gone
-- S:held:<w>           set    ids of the requests that it has leased
-- S:busy:<w>           set    those of them that take one of their domain's concurrent requests
-- S:tick               string moment that anyone last looked for dead workers (ms)
-- S:domain:<d>         hash   see FIELDS
-- S:delays:<d>         hash   domain -> Crawl-delay (ms) of its robots.txt, of those that share the budget d
-- S:robots:<…>         strings: copies of robots.txt, which no script touches (crawlers/robots/store.py)
-- S:proxies:<d>        hash   of how proxies do at a domain, see proxies.lua; S:spent:<day> hash, of shard 0: their tiers' bytes
-- S:routes:<site>      hash   of whether its pages need a browser, see routes.lua
-- S:slot:<n>           hash   of exactly once: claim, until (moment it ends, ms), offset (of its ledger), and of the batch
--                             that is prepared: token, crawl (its C), batch (msgpack {id, outcome, reason, dead letters, notes}
--                             each); last (token that was settled last)
-- S:synced             hash   slot -> run id of the Redis that was last compared with the slot's ledger
--
-- C:meta               hash   state, depth_first, began (moment of the first requests), arrivals, seen_depth,
--                             splits:<depth>, letters (1 where a worker of the crawl writes dead letters)
-- C:counts             hash   the equation's terms, by reason where there is one; version
-- C:ready              zset   domain -> moment it may be looked at (ms); parked domains are not in it
-- C:ages               hash   minute of arrival -> requests of it that are open: pending, delayed or leased
-- C:queue:<d>          zset   id and request -> priority, then arrival: see score_of
-- C:leases             hash   id -> {token, worker, domain, score, request, spaced?, its other start (ms) until that is
--                             used: see again.lua}
-- C:delayed            zset   id -> moment it is due (ms)
-- C:later              hash   id -> {domain, score, request}, of those
-- C:tries              hash   id -> reasons of the failed attempts
-- C:dead               hash   id -> {domain, score, request, moment, reasons, death, letters, held until, replayed, holder}:
--                             its how many-th death it is; the dead letters that Kafka had of it by then; until when (ms)
--                             a replay of its items has it; the letters of theirs that are delivered by now; which replay
-- C:letters            zset   id of a dead request whose letter is to be written -> moment from which any worker may (ms)
-- C:revived            hash   id -> times that the request was dead and was sent back
-- C:seen:<node>        set    fingerprints as integers: an intset, split in two before it is full
-- C:split              bitmap nodes of that tree that were split; the root is 1, the children of k are 2k and 2k+1 by bit
-- C:led                set    ids of requests that were given back after new links of their pages had been taken
-- C:unread             set    budgets of which a page could not be read: what it leads to may not have been seen
-- C:admitted           hash   group -> requests taken, where a page limit applies
-- C:down               hash   domain that this crawl gave up -> times that its circuit had opened in a row by then
-- C:copies             hash   fingerprint -> id of the last request for it that was not to be filtered
-- C:repeats            hash   id -> {outcome, reason, dead letters} of requests whose records Kafka has, though this Redis
--                             had forgotten that: see slot_resolve.lua
-- C:done:<era>:<slot>  hash   id -> outcome letter, moment (s), attempts, reason; expires
--
-- An id is the 8 bytes of a request's fingerprint; 8 random ones for a request that must not be filtered.
-- Every script reads the clock of Redis, and writes nothing before its arguments are known to be good.

local S, C = KEYS[1], KEYS[2]
local call = redis.call

local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function count(term, by)
  call('HINCRBY', C .. ':counts', term, by)
end

local tallies = {}

-- As count, of any crawl, written by save_tallies.
local function tally(crawl, term, by)
  tallies[crawl] = tallies[crawl] or {}
  tallies[crawl][term] = (tallies[crawl][term] or 0) + by
end

local function save_tallies()
  for crawl, terms in pairs(tallies) do
    for term, by in pairs(terms) do call('HINCRBY', crawl .. ':counts', term, by) end
  end
end

-- A domain's politeness. t: when the next request may start; s: the last real start; a: not before, as a Retry-After
-- asked; f: requests in flight; u: leased with a delay (spaced) and not started, all by owner o, the last for moment p;
-- w: crawls that wait for it; y: no starts are planned until then, as a request is to be sent again (again.lua);
-- d, c: delay (ms) and concurrency from settings, r: Crawl-delay (ms); x: slow-down factor;
-- l, m: latency (ms), short and long average;
-- circuit: q (open, half; closed when unset), e: failures in a row, n: times opened in a row, v: open until
local FIELDS = {'t', 's', 'a', 'f', 'u', 'o', 'p', 'w', 'y', 'd', 'c', 'r', 'x', 'l', 'm', 'q', 'e', 'n', 'v'}
local TEXT = {o = true, w = true, q = true}
local DOMAIN_TTL = 7 * 86400
local domains = {}

local function domain(name)
  local known = domains[name]
  if known then return known end
  local values = call('HMGET', S .. ':domain:' .. name, unpack(FIELDS))
  known = {}
  for i, field in ipairs(FIELDS) do
    if values[i] then known[field] = TEXT[field] and values[i] or tonumber(values[i]) end
  end
  domains[name] = known
  return known
end

local function save_domains()
  for name, fields in pairs(domains) do
    if fields.changed then
      local key, values, gone = S .. ':domain:' .. name, {}, {}
      for _, field in ipairs(FIELDS) do
        if fields[field] ~= nil then
          values[#values + 1] = field
          values[#values + 1] = fields[field]
        else
          gone[#gone + 1] = field
        end
      end
      if #values > 0 then call('HSET', key, unpack(values)) end
      if #gone > 0 then call('HDEL', key, unpack(gone)) end
      call('EXPIRE', key, DOMAIN_TTL)
    end
  end
end

-- A script writes nothing at maxmemory, unless its first write is a deletion: then all of it goes through.
local function even_when_full()
  call('DEL', S .. ':none')
end

local function next_start(fields)
  return math.max(now, fields.t or 0, fields.a or 0)
end

-- A queue's order: 16 bits of priority and its sign above 36 of arrival are exact in a double; lower comes first. An
-- arrival is the milliseconds since the crawl's first request, moved on so that each has its own; two years fit in.
local ARRIVALS = 68719476736

local function score_of(priority, arrival, depth_first)
  return -priority * ARRIVALS + (depth_first and -arrival or arrival)
end

local function arrival_of(score, depth_first)
  local arrival = score % ARRIVALS
  return depth_first and ARRIVALS - arrival or arrival
end

local ages, depth_first = {}, {}

-- A request becomes open (1), or is no longer (-1).
local function age(crawl, score, by)
  if not ages[crawl] then ages[crawl], depth_first[crawl] = {}, call('HGET', crawl .. ':meta', 'depth_first') == '1' end
  local minute = math.floor(arrival_of(score, depth_first[crawl]) / 60000)
  ages[crawl][minute] = (ages[crawl][minute] or 0) + by
end

local function save_ages()
  for crawl, minutes in pairs(ages) do
    for minute, by in pairs(minutes) do
      if by ~= 0 and call('HINCRBY', crawl .. ':ages', minute, by) <= 0 then call('HDEL', crawl .. ':ages', minute) end
    end
  end
end

-- The crawls that wait for a domain look at it again at that moment.
local function unpark(name, at)
  local fields = domain(name)
  if fields.w then
    for crawl in string.gmatch(fields.w, '[^\n]+') do call('ZADD', crawl .. ':ready', at, name) end
    fields.w, fields.changed = nil, true
  end
end

local function free_slot(name)
  local fields = domain(name)
  fields.f = math.max(0, (fields.f or 0) - 1)
  fields.changed = true
  unpark(name, next_start(fields))
end

-- Of a lease row; spaced: its domain had a delay when it was leased, or to be asked again.
local TOKEN, WORKER, DOMAIN, SCORE, REQUEST, SPACED, AGAIN = 1, 2, 3, 4, 5, 6, 7

-- What a lost connection had still to deliver may come after the next one has agreed on what is leased.
local function session_of(worker)
  return tonumber(call('HGET', S .. ':worker:' .. worker, 'session') or 0)
end

local LOST = 'worker lost' -- the reason of an attempt that ended with its worker
local CLOSEST = 0.9 -- of the delay: what a late start may be made good by

local function delay_of(fields, default)
  return math.floor(math.max(fields.d or default, fields.r or 0) * (fields.x or 1))
end

-- The next start of a domain with a delay, after those that are planned.
local function spaced_start(fields, delay)
  local last = fields.p or fields.s
  return math.max(next_start(fields), last and math.ceil(last + CLOSEST * delay) or 0)
end

-- A domain belongs to nobody; it is looked at anew.
local function hand_on(crawl, name)
  local fields = domain(name)
  fields.u, fields.o, fields.p, fields.changed = nil, nil, nil, true
  local at = next_start(fields)
  call('ZADD', crawl .. ':ready', 'XX', 'LT', at, name)
  unpark(name, at)
end

-- A lease of this worker started, or ended without; the last unstarted one of a domain with a delay hands it on.
local function one_unstarted_fewer(worker, row, default_delay)
  local fields = domain(row[DOMAIN])
  if not row[SPACED] or fields.o ~= worker then return end
  fields.u, fields.changed = fields.u - 1, true
  if fields.u <= 0 then
    local last = fields.s and fields.s + delay_of(fields, default_delay) or now
    fields.t = math.min(fields.t or now, last)
    hand_on(C, row[DOMAIN])
  end
end

local function to_queue(crawl, name, score, id, request)
  call('ZADD', crawl .. ':queue:' .. name, score, id .. request)
  call('ZADD', crawl .. ':ready', 'NX', next_start(domain(name)), name)
end

-- Dead requests that say nothing of how a site is: it answers that there is no such page.
local MISSING = {['http 404'] = true, ['http 410'] = true}

local function count_death(crawl, name, reason, by)
  call('HINCRBY', crawl .. ':budgets:counts', name .. (MISSING[reason] and ' missing' or ' dead'), by)
end

-- A request is dead. Where Kafka has no letter of it yet, a worker that writes letters finds it in the outbox. is_read: what
-- its page leads to is known all the same.
local function bury(crawl, id, name, score, request, reasons, reason, letters, is_read)
  if not is_read then call('SADD', crawl .. ':unread', name) end
  local death = tonumber(call('HGET', crawl .. ':revived', id) or 0) + 1
  call('HSET', crawl .. ':dead', id, cmsgpack.pack({name, score, request, now, reasons, death, letters or 0, 0, {}, ''}))
  if (letters or 0) == 0 and call('HGET', crawl .. ':meta', 'letters') then call('ZADD', crawl .. ':letters', 0, id) end
  call('HINCRBY', crawl .. ':counts', 'dead', 1)
  call('HINCRBY', crawl .. ':counts', 'dead:' .. reason, 1)
  count_death(crawl, name, reason, 1)
  age(crawl, score, -1)
end

-- A member of a queue is an id and the request.
local function id_and_request(member)
  return string.sub(member, 1, 8), string.sub(member, 9)
end

local function tries_of(crawl, id)
  local packed = call('HGET', crawl .. ':tries', id)
  return packed and cmsgpack.unpack(packed) or {}
end

-- (attempts that failed, attempts that were lost with their worker) of a request's reasons.
local function failures_and_losses(tries)
  local losses = 0
  for _, why in ipairs(tries) do
    if why == LOST then losses = losses + 1 end
  end
  return #tries - losses, losses
end

local CODES = {delivered = 'D', expanded = 'E', redirected = 'R', empty = 'M', filtered = 'F'}
local done, done_depths = {}, {}

-- What `why` is told of a request, for `kept` seconds at least.
local function remember(crawl, id, code, attempts, reason, kept)
  if kept <= 0 then return end
  local depth = done_depths[crawl]
  if not depth then
    depth = tonumber(call('HGET', crawl .. ':meta', 'seen_depth') or 0) + 2
    done_depths[crawl] = depth
  end
  local slot = 2 ^ depth + struct.unpack('>I4', id, 5) % 2 ^ depth
  local key = string.format('%s:done:%d:%d', crawl, math.floor(now / (kept * 1000)), slot)
  done[key] = done[key] or {}
  table.insert(done[key], id)
  table.insert(done[key], code .. string.format('%d', clock[1]) .. '|' .. attempts .. '|' .. reason)
end

local function save_done(kept)
  for key, pairs_of in pairs(done) do
    call('HSET', key, unpack(pairs_of))
    call('EXPIRE', key, 2 * kept)
  end
end

local has_repeats = {}

-- The end that Kafka has records of, whatever became of the items when the request was fetched again. One whose page could
-- not be read again is dead, as its links may be lost; its letter was dropped with its records, and is to be written.
local function as_committed(crawl, id, outcome, reason, letters)
  local packed = call('HGET', crawl .. ':repeats', id)
  if not packed then return outcome, reason, letters end
  call('HDEL', crawl .. ':repeats', id)
  if outcome == 'dead' and reason ~= 'item' then return outcome, reason, 0 end
  return unpack(cmsgpack.unpack(packed), 1, 3)
end

local take_notes -- of products: see products.lua

-- Ends of a request whose page was read, or is not there; and one of a page that was not.
local READ = {item = true, ['dead letter refused'] = true, ['http 404'] = true, ['http 410'] = true}
local UNREAD = 'not a sitemap'

-- A request that was leased gets its outcome, and what it tells of products is written; `notes` may be nil.
local function conclude(crawl, id, row, outcome, reason, has_tries, kept, letters, notes)
  local is_skipped = notes and take_notes(notes, crawl)
  local tries = has_tries and tries_of(crawl, id) or {}
  if has_tries then call('HDEL', crawl .. ':tries', id) end
  if has_repeats[crawl] == nil then has_repeats[crawl] = call('EXISTS', crawl .. ':repeats') == 1 end
  if has_repeats[crawl] then outcome, reason, letters = as_committed(crawl, id, outcome, reason, letters) end
  if outcome == 'dead' then
    tries[#tries + 1] = reason
    return bury(crawl, id, row[DOMAIN], row[SCORE], row[REQUEST], tries, reason, letters, is_skipped or READ[reason])
  end
  if reason == UNREAD then call('SADD', crawl .. ':unread', row[DOMAIN]) end
  age(crawl, row[SCORE], -1)
  tally(crawl, outcome, 1)
  tally(crawl .. ':budgets', row[DOMAIN] .. ' ended', 1)
  if reason ~= '' and (outcome == 'filtered' or outcome == 'delivered') then tally(crawl, outcome .. ':' .. reason, 1) end
  remember(crawl, id, CODES[outcome], #tries + 1, reason, kept)
end

-- Of the server process and its data: after another one has started, or has become master, what this one acknowledged
-- may be gone. connection.py makes it the same way.
local function run_id()
  return string.match(call('INFO', 'server'), 'run_id:(%w+)') ..
    string.match(call('INFO', 'replication'), 'master_replid:(%w+)')
end

local function names_in(text)
  local names = {}
  for name in string.gmatch(text, '%S+') do names[#names + 1] = name end
  return names
end

-- Whether every one of the shard's slots was compared with its ledger since this Redis started.
local function are_synced(names)
  local here = run_id()
  for _, id in ipairs(call('HMGET', S .. ':synced', unpack(names))) do
    if id ~= here then return false end
  end
  return true
end

-- The requests of a prepared batch get their outcomes. Rows: {id, outcome, reason, dead letters, notes}.
local function end_batch(crawl, batch, kept)
  local has_tries = call('EXISTS', crawl .. ':tries') == 1
  for _, request in ipairs(batch) do
    local id, outcome, reason, letters, notes = unpack(request)
    local packed = call('HGET', crawl .. ':leases', id)
    if packed then
      call('HDEL', crawl .. ':leases', id)
      conclude(crawl, id, cmsgpack.unpack(packed), outcome, reason, has_tries, kept, letters, notes)
    end
  end
  if #batch > 0 and call('EXISTS', crawl .. ':meta') == 1 then tally(crawl, 'version', 1) end
end

-- A request whose worker is gone returns to its queue, or is dead when that has happened too often.
local function return_lost(crawl, id, row, most_losses)
  local tries = tries_of(crawl, id)
  tries[#tries + 1] = LOST
  local _, losses = failures_and_losses(tries)
  if losses >= most_losses then
    call('HDEL', crawl .. ':tries', id)
    bury(crawl, id, row[DOMAIN], row[SCORE], row[REQUEST], tries, LOST)
  else
    call('HSET', crawl .. ':tries', id, cmsgpack.pack(tries))
    to_queue(crawl, row[DOMAIN], row[SCORE], id, row[REQUEST])
    tally(crawl, 'pending', 1)
  end
  tally(crawl, 'lost', 1)
end

local function give_back(crawl, batch, most_losses)
  for _, request in ipairs(batch) do
    local packed = call('HGET', crawl .. ':leases', request[1])
    if packed then
      call('HDEL', crawl .. ':leases', request[1])
      return_lost(crawl, request[1], cmsgpack.unpack(packed), most_losses)
    end
  end
  if #batch > 0 and call('EXISTS', crawl .. ':meta') == 1 then tally(crawl, 'version', 1) end
end

local function save_batch(kept)
  save_done(kept)
  save_tallies()
  save_domains()
  save_ages()
end
