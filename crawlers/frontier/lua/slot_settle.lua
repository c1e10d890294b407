-- The prepared batch was committed: its requests get their outcomes. Touches S:slot:<n>, C:leases, C:counts, C:ages,
-- C:tries, C:dead, C:done of the batch's crawl.
-- ARGV: slot, claim, token of the batch, offset after it in its ledger or '', milliseconds to live, seconds that outcomes
--   are kept
-- Returns ok, also for a batch that was settled already; lost (the claim), resync (with the ledger), unknown (batch).
local slot, claim, token, offset, ttl, kept = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local key = S .. ':slot:' .. slot
local known = call('HMGET', key, 'claim', 'token', 'crawl', 'batch', 'last')
if known[1] ~= claim then return 'lost' end
if call('HGET', S .. ':synced', slot) ~= run_id() then return 'resync' end
if known[2] ~= token then return known[5] == token and 'ok' or 'unknown' end
even_when_full()
end_batch(known[3], cmsgpack.unpack(known[4]), kept)
call('HDEL', key, 'token', 'crawl', 'batch')
call('HSET', key, 'last', token, 'until', now + ttl)
if offset ~= '' then call('HSET', key, 'offset', offset) end
save_batch(kept)
return 'ok'
