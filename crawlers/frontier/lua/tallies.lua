-- What is counted of a crawl's sites for the monitors (crawlers/monitors); stands after common.lua before every script.
--
-- C:budgets:counts     hash   '<budget> ended', '<budget> dead', '<budget> missing' (dead, as there is no such page),
--                             '<budget> walls' (attempts) -> how many
-- C:site:<s>:counts    hash   products by the bits of their mask: 'm<mask>'; unread: those that were not sent again, as
--                             they are what they were
-- C:site:<s>:sample    zset   8 bytes of a product's digest and its price -> the first 4 of them: of all products that have a
--                             price, those with the lowest digests, so that crawls have the same ones in their samples

local MOST_SAMPLED = 500
local counted = {}

function counted.counted(crawl, site, key, mask, sampled)
  tally(crawl .. ':site:' .. site, string.format('m%d', mask), 1)
  if sampled == '' then return end
  local sample = crawl .. ':site:' .. site .. ':sample'
  call('ZADD', sample, struct.unpack('>I4', sampled), sampled)
  if call('ZCARD', sample) > MOST_SAMPLED then call('ZPOPMAX', sample) end
end

function counted.unread(crawl, site)
  tally(crawl .. ':site:' .. site, 'unread', 1)
end

-- Of notes, those that are counted.
local function only_counted(notes)
  local found = {}
  for _, one in ipairs(notes or {}) do
    if counted[one[1]] then found[#found + 1] = one end
  end
  return #found > 0 and found or nil
end
