-- The one way in which a dead request leaves, shared by `scrapy frontier requeue` and `scrapy dlq replay`: whichever comes
-- first has it, and the other is told. Touches C:dead, C:letters, C:revived, C:queue, C:ready, C:counts, C:ages, C:down,
-- C:done, C:repeats; reads C:meta.
-- ARGV: action, milliseconds, seconds that outcomes are kept, replay, then id, death (0: whichever it is), letter of each
--   queue       back to its queue, with all its attempts before it
--   take        its items are being replayed: for so long nobody sends it back. The replay before, whose it was, is fenced
--   keep        the same for longer, where it is this replay's still
--   free        they are not any more, where it is this replay's still
--   delivered   the item of that letter is delivered after all; with the last of its items, so is the request
-- Returns for each 'done', or why not: 'gone' (the crawl's keys are no more), 'back' (it was dead and is no more, or never
--   will be), 'alive' (it has not died that often yet: its letter is written before it is settled), 'later' (dead again,
--   with a later letter), 'taken' (by a replay), 'other' (it did not die of its items).
-- A crawl that was complete is open again: its state is the caller's to set on every shard, before.
local action, ttl, kept, replay = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local is_there = call('EXISTS', C .. ':meta') == 1
local NAME, QUEUED_AT, BODY, REASONS, DEATH, LETTERS, HELD, REPLAYED, HOLDER = 1, 2, 3, 5, 6, 7, 8, 9, 10
local changed = 0

-- Where `why` finds the outcomes of an era, of this id among others.
local function outcomes_of(id, era)
  local depth = tonumber(call('HGET', C .. ':meta', 'seen_depth') or 0) + 2
  return string.format('%s:done:%d:%d', C, era, 2 ^ depth + struct.unpack('>I4', id, 5) % 2 ^ depth)
end

local function remember_delivered(id, attempts)
  if kept <= 0 then return end
  local key = outcomes_of(id, math.floor(now / (kept * 1000)))
  call('HSET', key, id, string.format('D%d|%d|replayed', clock[1], attempts))
  call('EXPIRE', key, 2 * kept)
end

local function has_outcome(id)
  if kept <= 0 then return false end
  local era = math.floor(now / (kept * 1000))
  return call('HEXISTS', outcomes_of(id, era), id) + call('HEXISTS', outcomes_of(id, era - 1), id) > 0
end

local function exhume(id, row)
  call('HDEL', C .. ':dead', id)
  call('ZREM', C .. ':letters', id)
  local reasons = row[REASONS]
  local reason = 'dead:' .. tostring(reasons[#reasons])
  count('dead', -1)
  count_death(C, row[NAME], tostring(reasons[#reasons]), -1)
  if call('HINCRBY', C .. ':counts', reason, -1) <= 0 then call('HDEL', C .. ':counts', reason) end
  changed = changed + 1
end

local function save(id, row)
  call('HSET', C .. ':dead', id, cmsgpack.pack(row))
end

local act = {}

function act.queue(id, row)
  if (row[HELD] or 0) > now then return 'taken' end
  exhume(id, row)
  call('HDEL', C .. ':down', row[NAME])
  call('HINCRBY', C .. ':revived', id, 1)
  call('HDEL', C .. ':repeats', id) -- Kafka has the records of its former life, not those of this one
  age(C, row[QUEUED_AT], 1)
  to_queue(C, row[NAME], row[QUEUED_AT], id, row[BODY])
  count('pending', 1)
  return 'done'
end

function act.take(id, row)
  if row[REASONS][#row[REASONS]] ~= 'item' then return 'other' end
  row[HELD], row[HOLDER] = now + ttl, replay
  save(id, row)
  return 'done'
end

function act.keep(id, row)
  if row[HOLDER] ~= replay then return 'taken' end
  return act.take(id, row)
end

function act.free(id, row)
  if row[HOLDER] ~= replay then return 'taken' end
  row[HELD] = 0
  save(id, row)
  return 'done'
end

function act.delivered(id, row, letter)
  if row[REASONS][#row[REASONS]] ~= 'item' then return 'other' end
  row[REPLAYED] = row[REPLAYED] or {}
  local is_new = true
  for _, one in ipairs(row[REPLAYED]) do is_new = is_new and one ~= letter end
  if is_new then table.insert(row[REPLAYED], letter) end
  if #row[REPLAYED] < (row[LETTERS] or 1) then
    if row[HOLDER] == replay then row[HELD] = 0 end
    save(id, row)
    return 'done'
  end
  exhume(id, row)
  count('delivered', 1)
  remember_delivered(id, #row[REASONS])
  return 'done'
end

-- What is said of a death that is not there.
local function without_death(id, death)
  local was_sent_back = tonumber(call('HGET', C .. ':revived', id) or 0) >= death
  local is_complete = call('HGET', C .. ':meta', 'state') == 'complete'
  return (was_sent_back or is_complete or has_outcome(id)) and 'back' or 'alive'
end

local told = {}
for i = 5, #ARGV, 3 do
  local id, death = ARGV[i], tonumber(ARGV[i + 1])
  local packed = call('HGET', C .. ':dead', id)
  local row = packed and cmsgpack.unpack(packed)
  if not is_there then
    told[#told + 1] = 'gone'
  elseif not row or death > (row[DEATH] or 1) then
    told[#told + 1] = without_death(id, death)
  elseif death > 0 and death < (row[DEATH] or 1) then
    told[#told + 1] = 'later'
  else
    told[#told + 1] = act[action](id, row, ARGV[i + 2])
  end
end
save_ages()
if changed > 0 then count('version', 1) end
return told
