-- What the fleet knows of whether a site's pages need a browser: notes what a worker has to tell, and tells all of it.
-- S:routes:<site>  hash  look and pattern -> "more same since until": comparisons in which the browser had more, in which
--                        it had not, pages since the last one, moment (ms) until which somebody compares;
--                        'word' and pattern -> http or browser, the operator's word
-- ARGV: site, seconds that this is remembered, then what, field, value, …, as crawlers/routing/knowledge.py has them
-- Returns now, whether the last claim was granted, and the hash. Evidence.note has the rules of a comparison, too.
local NEEDED, LATELY, AT_ONCE = 0.2, 20, 1000000000

local key, life = S .. ':routes:' .. ARGV[1], ARGV[2]
local granted = 0

local function evidence(field)
  local more, same, since, till = string.match(call('HGET', key, field) or '', '^(%S+) (%S+) (%S+) (%S+)$')
  return tonumber(more or 0), tonumber(same or 0), tonumber(since or 0), tonumber(till or 0)
end

local function keep(field, more, same, since, till)
  call('HSET', key, field, string.format('%.3f %.3f %.0f %.0f', more, same, math.min(since, AT_ONCE), till))
end

local act = {}

function act.pages(field, value)
  local more, same, since, till = evidence(field)
  keep(field, more, same, since + tonumber(value), till)
end

local function compared(field, gained)
  local more, same = evidence(field)
  local needs = more >= NEEDED * (more + same)
  local is_news = more + same > 0 and needs ~= (gained == 1)
  more, same = more + gained, same + 1 - gained
  if more + same > LATELY then more, same = more / 2, same / 2 end
  keep(field, more, same, is_news and AT_ONCE or 0, 0)
end

function act.more(field) compared(field, 1) end
function act.same(field) compared(field, 0) end

function act.claim(field, value)
  local more, same, since, till = evidence(field)
  granted = till <= now and 1 or 0
  if granted == 1 then keep(field, more, same, since, now + tonumber(value)) end
end

function act.release(field)
  local more, same, since = evidence(field)
  keep(field, more, same, since, 0)
end

function act.word(pattern, value)
  if value == '' then call('HDEL', key, 'word ' .. pattern) else call('HSET', key, 'word ' .. pattern, value) end
end

function act.forget(pattern)
  call('HDEL', key, 'full ' .. pattern, 'bare ' .. pattern, 'static ' .. pattern)
end

for i = 3, #ARGV, 3 do
  if not act[ARGV[i]] then return redis.error_reply('POISON ' .. i) end
end
for i = 3, #ARGV, 3 do act[ARGV[i]](ARGV[i + 1], ARGV[i + 2]) end
if #ARGV > 2 then call('EXPIRE', key, life) end
return {now, granted, call('HGETALL', key)}
