-- A batch of requests whose records are to be committed: from here on they are the slot's, and no worker's death returns
-- them. Touches S:slot:<n>, S:held, S:busy, S:domain, C:leases; reads S:synced, C:repeats.
-- ARGV: slot, claim, milliseconds to live, slots, worker, token of the batch, msgpack {id, token of its lease, outcome,
--   reason, dead letters among its records, notes of products} each
-- Returns msgpack {what, ids that are prepared, ids whose records Kafka has already}; what: ok, lost (the claim), resync
--   (this slot with its ledger), wait (for other slots), busy (another batch is prepared). The same batch may be prepared
--   again, as long as it is not committed.
local slot, claim, ttl, slots, worker = ARGV[1], ARGV[2], tonumber(ARGV[3]), names_in(ARGV[4]), ARGV[5]
local token, requests = ARGV[6], cmsgpack.unpack(ARGV[7])
local key = S .. ':slot:' .. slot
local mine = 'slot ' .. slot

local known = call('HMGET', key, 'claim', 'token')
if known[1] ~= claim then return cmsgpack.pack({'lost', {}, {}}) end
if call('HGET', S .. ':synced', slot) ~= run_id() then return cmsgpack.pack({'resync', {}, {}}) end
if not are_synced(slots) then return cmsgpack.pack({'wait', {}, {}}) end
if known[2] and known[2] ~= token then return cmsgpack.pack({'busy', {}, {}}) end
for i, request in ipairs(requests) do
  if request[6] and not are_notes(request[6]) then return redis.error_reply('POISON ' .. i) end
end
even_when_full()

local ids, batch, repeated, rows = {}, {}, {}, {}
for _, request in ipairs(requests) do
  local id, lease, outcome, reason, letters, notes = unpack(request)
  local packed = call('HGET', C .. ':leases', id)
  local row = packed and cmsgpack.unpack(packed)
  if row and row[TOKEN] == lease and (row[WORKER] == worker or row[WORKER] == mine) then
    if call('HEXISTS', C .. ':repeats', id) == 1 then
      repeated[#repeated + 1] = id
      if row[WORKER] == mine then
        row[WORKER] = worker
        rows[#rows + 1] = id
        rows[#rows + 1] = cmsgpack.pack(row)
        call('SADD', S .. ':held:' .. worker, id)
      end
    else
      if row[WORKER] == worker then
        row[WORKER] = mine
        rows[#rows + 1] = id
        rows[#rows + 1] = cmsgpack.pack(row)
        call('SREM', S .. ':held:' .. worker, id)
        if call('SREM', S .. ':busy:' .. worker, id) == 1 then free_slot(row[DOMAIN]) end
      end
      ids[#ids + 1] = id
      batch[#batch + 1] = {id, outcome, reason, letters or 0, notes}
    end
  end
end
if #rows > 0 then call('HSET', C .. ':leases', unpack(rows)) end
if #ids > 0 then
  call('HSET', key, 'token', token, 'crawl', C, 'batch', cmsgpack.pack(batch), 'until', now + ttl)
else
  call('HDEL', key, 'token', 'crawl', 'batch')
end
save_domains()
return cmsgpack.pack({'ok', ids, repeated})
