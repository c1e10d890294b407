-- A crawl has seen all that there is of a site. Touches S:memory, and C:passed (set, of the sites that it has told of).
-- ARGV: topic, site, seconds that it is remembered or 0
-- Returns whether it had not told so before.
if call('SADD', C .. ':passed', ARGV[2]) == 0 then return 0 end
local key = S .. ':memory:' .. ARGV[1] .. ':' .. ARGV[2]
call('HINCRBY', key, 'passes', 1)
live(key, tonumber(ARGV[3]))
return 1
