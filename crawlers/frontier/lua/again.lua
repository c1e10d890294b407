-- Another start for a request that was sent: its page is asked for once more under the same lease, as by a browser after
-- plain HTTP. Touches S:domain, C:leases.
-- ARGV: worker, id, token, default delay (ms), milliseconds to look ahead
-- Returns {what, milliseconds, delay (ms)}
--   go    until its start; the same one, if asked again before 'began' has told that it was used
--   wait  before asking again: another worker's starts are planned, or its own is too far off; nobody plans more until then
--   shut  until the domain may be asked anything, by its circuit or a Retry-After
--   lost  the lease is no longer this worker's
local worker, id, token, default_delay, look = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local PATIENCE = 1000 -- milliseconds, past the moment to ask again, until a worker that does not is waited for no longer

local packed = call('HGET', C .. ':leases', id)
local row = packed and cmsgpack.unpack(packed)
if not row or row[TOKEN] ~= token or row[WORKER] ~= worker then return {'lost', 0, 0} end
local fields = domain(row[DOMAIN])
local delay = delay_of(fields, default_delay)
if row[AGAIN] then return {'go', math.max(0, row[AGAIN] - now), delay} end
local shut = math.max(fields.a or 0, fields.q == 'open' and fields.v or 0)
if shut > now then return {'shut', shut - now, delay} end
if delay == 0 then return {'go', 0, 0} end

even_when_full()
local start, wait = spaced_start(fields, delay), 0
local is_mine = not fields.u or fields.o == worker
if not is_mine or start > now + look then
  wait = is_mine and start - now - look or 0
  fields.y = math.max(fields.y or 0, now + wait + PATIENCE)
else
  fields.t, fields.p, fields.u, fields.o, fields.y = start + delay, start, (fields.u or 0) + 1, worker, nil
  row[SPACED], row[AGAIN] = true, start
  call('HSET', C .. ':leases', id, cmsgpack.pack(row))
end
fields.changed = true
save_domains()
if not row[AGAIN] then return {'wait', wait, delay} end
return {'go', start - now, delay}
