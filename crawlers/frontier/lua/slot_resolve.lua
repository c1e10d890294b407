-- A slot is compared with its ledger, by a new claimant or after Redis was another process: the prepared batch is settled
-- where it was committed, else kept to be sent again or given back; batches that Redis has forgotten are noted, so that
-- their requests, fetched again, have their records dropped. Touches S:slot:<n>, S:synced, and of the crawls C:repeats,
-- C:leases, C:counts, C:ages, C:tries, C:dead, C:done, C:queue, C:ready.
-- ARGV: slot, claim, run id as slot_look told it, offset after the entries, new token for the prepared batch or '' (given
--   back), seconds that outcomes are kept, most times that a request may be lost with its worker,
--   msgpack {token, crawl, {id, outcome, reason, dead letters} each} of each entry since the stored offset, milliseconds
--   to live, 1 where these are the last entries, token of the batch that the claimant has in memory or ''
-- Returns msgpack {what, ids that are prepared under the new token}; what: lost, again (Redis was restarted meanwhile),
--   more (entries are to come), none (was prepared), settled, kept, released; past: the batch in memory was settled before
local slot, claim, here, offset, new_token = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local kept, most_losses, entries = tonumber(ARGV[6]), tonumber(ARGV[7]), cmsgpack.unpack(ARGV[8])
local key = S .. ':slot:' .. slot
local ttl, is_last, mine = tonumber(ARGV[9]), ARGV[10] == '1', ARGV[11]
local known = call('HMGET', key, 'claim', 'token', 'crawl', 'batch', 'last')
if known[1] ~= claim then return cmsgpack.pack({'lost', {}}) end
if run_id() ~= here then return cmsgpack.pack({'again', {}}) end
even_when_full()

local token, crawl, what, ids = known[2], known[3], 'none', {}
local settled_before = known[5]
local batch = token and cmsgpack.unpack(known[4]) or {}

-- Whether its requests may be leased again; a complete crawl's may not, and another shard's are not ours.
local function is_open(root)
  if string.sub(root, 1, #S + 1) ~= S .. ':' then return false end
  local state = call('HGET', root .. ':meta', 'state')
  return state and state ~= 'complete'
end

for _, entry in ipairs(entries) do
  local entry_token, entry_crawl, requests = unpack(entry)
  if entry_token == token then
    end_batch(crawl, batch, kept)
    token, batch, what = nil, {}, 'settled'
    call('HSET', key, 'last', entry_token)
  elseif is_open(entry_crawl) then
    for _, request in ipairs(requests) do
      call('HSET', entry_crawl .. ':repeats', request[1], cmsgpack.pack({unpack(request, 2, 4)}))
    end
  end
end

call('HSET', key, 'offset', offset, 'until', now + ttl)
if what == 'settled' then call('HDEL', key, 'token', 'crawl', 'batch') end
if not is_last then
  save_batch(kept)
  return cmsgpack.pack({'more', {}})
end

if what == 'none' and not token and mine ~= '' and settled_before == mine then what = 'past' end
if token then
  local is_synced = call('HGET', S .. ':synced', slot) == here
  local open = {}
  for _, request in ipairs(batch) do
    if call('HEXISTS', crawl .. ':repeats', request[1]) == 1 then
      -- Without its notes on products: they are on records that Kafka never got. What is counted of a crawl is.
      local id, outcome, reason, letters, notes = unpack(request)
      end_batch(crawl, {{id, outcome, reason, letters, only_counted(notes)}}, kept)
    else
      open[#open + 1] = request
    end
  end
  if new_token ~= '' and is_synced and #open > 0 then
    for i, request in ipairs(open) do ids[i] = request[1] end
    call('HSET', key, 'token', new_token, 'batch', cmsgpack.pack(open))
    what = 'kept'
  else
    give_back(crawl, open, most_losses)
    token, what = nil, 'released'
  end
end
if not token then call('HDEL', key, 'token', 'crawl', 'batch') end
call('HSET', S .. ':synced', slot, here)
save_batch(kept)
return cmsgpack.pack({what, ids})
