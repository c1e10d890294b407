-- What a claimed slot holds; the claim lives on. Touches S:slot:<n>.
-- ARGV: slot, claim, milliseconds to live
-- Returns {} where the claim is lost, else {token that is prepared or '', offset of its ledger, run id}
local key = S .. ':slot:' .. ARGV[1]
local known = call('HMGET', key, 'claim', 'token', 'offset')
if known[1] ~= ARGV[2] then return {} end
even_when_full()
call('HSET', key, 'until', now + tonumber(ARGV[3]))
return {known[2] or '', tonumber(known[3] or 0), run_id()}
