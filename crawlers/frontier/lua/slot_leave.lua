-- A claimant leaves its slot: the next one need not wait for the claim to expire. Touches S:slot:<n>.
-- ARGV: slot, claim
-- Returns 1, or 0 where the claim was lost.
local key = S .. ':slot:' .. ARGV[1]
if call('HGET', key, 'claim') ~= ARGV[2] then return 0 end
even_when_full()
call('HDEL', key, 'claim')
call('HSET', key, 'until', 0)
return 1
