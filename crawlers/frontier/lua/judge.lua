-- Who judges what a complete crawl came to, and what was found. KEYS[1] is shard 0, KEYS[2] G = S:<spider>, see open.lua.
-- G:monitors               hash   site -> its last result (JSON, crawlers/monitors/result.py)
-- G:monitors:history:<s>   list   the site's last results, the newest first
-- G:monitors:prices:<s>    string a sample of its prices (msgpack, crawlers/monitors/prices.py)
-- G:monitors:due           zset   crawl that is to be judged -> moment until which a worker has it (ms)
-- G:monitors:of:<crawl>    hash   token (of the worker that has it), tries, and site -> judged, or told: its alarm is out;
--                                 expires
-- ARGV: crawl, token, action
--   claim, milliseconds, most tries    to judge it, or to go on: returns {'yours'}, {'busy', milliseconds left} or {'done'}
--   record, site, result, prices, most rows, seconds that a crawl's keys are kept
--                                      what was found of a site: returns 'recorded', 'known' (before, by whoever), 'lost'
--   told, site                         its alarm is out, or given up: returns 'ok' or 'lost'
--   done, seconds                      all is judged and told: returns 'ok' or 'lost'
-- Only who has the claim is heard.
local id, token, action = ARGV[1], ARGV[2], ARGV[3]
local G, due, of = C .. ':monitors', C .. ':monitors:due', C .. ':monitors:of:' .. ARGV[1]

local function end_it(kept)
  call('ZREM', due, id)
  call('HDEL', of, 'token')
  if call('EXISTS', of) == 1 then call('EXPIRE', of, kept) end
end

if action == 'claim' then
  local ttl, most = tonumber(ARGV[4]), tonumber(ARGV[5])
  local till = call('ZSCORE', due, id)
  if not till then return {'done'} end
  if call('HGET', of, 'token') ~= token then
    if tonumber(till) > now then return {'busy', tonumber(till) - now} end
    if call('HINCRBY', of, 'tries', 1) > most then -- whoever tries, fails
      end_it(86400)
      return {'done'}
    end
    call('HSET', of, 'token', token)
  end
  call('ZADD', due, now + ttl, id)
  return {'yours'}
end

if call('HGET', of, 'token') ~= token then return 'lost' end
if action == 'record' then
  local site, result, prices, most, kept = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
  if call('HEXISTS', of, 'site:' .. site) == 1 then return 'known' end
  call('HSET', of, 'site:' .. site, 'judged')
  call('EXPIRE', of, kept)
  call('LPUSH', G .. ':history:' .. site, result)
  call('LTRIM', G .. ':history:' .. site, 0, most - 1)
  call('SET', G .. ':prices:' .. site, prices)
  call('HSET', G, site, result)
  return 'recorded'
elseif action == 'told' then
  call('HSET', of, 'site:' .. ARGV[4], 'told')
else
  end_it(tonumber(ARGV[4]))
end
return 'ok'
