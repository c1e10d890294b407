-- What was learned of a domain is forgotten: circuit, failures, slow-down, latency, Retry-After, how proxies do there. Its
-- limits, its Crawl-delay and what is in flight stay. Touches S:domain, S:proxies, C:down, C:ready.
-- ARGV: domain
local name = ARGV[1]
local fields = domain(name)
for _, field in ipairs({'a', 'x', 'l', 'm', 'q', 'e', 'n', 'v'}) do fields[field] = nil end
fields.changed = true
call('HDEL', C .. ':down', name)
call('DEL', S .. ':proxies:' .. name)
call('ZADD', C .. ':ready', 'XX', now, name)
unpark(name, now)
save_domains()
