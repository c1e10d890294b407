-- A crawl has seen all that there is of a site. Touches S:memory, and C:passed (set, of the sites that it has told of).
-- ARGV: topic, site
-- Returns whether it had not told so before.
if call('SADD', C .. ':passed', ARGV[2]) == 0 then return 0 end
call('HINCRBY', S .. ':memory:' .. ARGV[1] .. ':' .. ARGV[2], 'passes', 1)
return 1
