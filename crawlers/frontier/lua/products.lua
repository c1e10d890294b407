-- What is remembered of products and their pages, so that EMIT=changes tells a change; stands after common.lua before every
-- script. It belongs to no crawl; a scope is a topic, its id and a site.
--
-- S:products:<scope>:<node>  hash   product -> pass that it was last seen in, hour of its last record (2 bytes each), the
--                                   fingerprints of its fields (2 bytes each); of a long identity, its text too
-- S:pages:<scope>:<node>     hash   request's id -> what crawlers/changes/pages.py says of a page that shows a product
-- S:products:<scope>:split   bitmap nodes of that tree that were split, as those of C:seen; S:pages:<scope>:split too
-- S:topics                   set    topics, with their ids, of which something is remembered: at most one of each name
-- S:memory:<scope>           hash   passes: how many crawls of the site were complete and saw it
--
-- A product is its identity, or where that is long, byte 0 and 9 bytes of a digest; the parts of its text then lie beside it, as
-- byte 1, that digest and the part's number. No field and no value is too long for a listpack.

local MOST_OF_A_NODE = 440 -- pairs; a listpack holds 512 by default
local DEEPEST_NODE = 24
local PART_OF_TEXT = 60
local PAGE = '>I4I4BB' -- due (s), interval (s), times that it may be skipped, length of its product
local PAGE_LIFE = 90 * 86400 -- seconds past its being due
local ALWAYS = 255 -- a page that may be skipped any number of times

local function products_of(scope) return S .. ':products:' .. scope end
local function pages_of(scope) return S .. ':pages:' .. scope end

-- The bits by which a product, a part of its text, or a page finds its node.
local function place_of(field)
  local first = string.byte(field)
  if first == 0 or first == 1 then field = string.sub(field, 2, 10) end
  return tonumber(string.sub(redis.sha1hex(field), 1, 6), 16)
end

-- (its node's key, the node, its depth)
local function node_of(root, field)
  local place, depth, node = place_of(field), 0, 1
  while depth < DEEPEST_NODE and call('GETBIT', root .. ':split', node) == 1 do
    depth = depth + 1
    node = 2 ^ depth + place % 2 ^ depth
  end
  return root .. string.format(':%d', node), node, depth
end

-- A key is there for `life` seconds more, 0 is without end.
local function live(key, life)
  if life > 0 then call('EXPIRE', key, life) else call('PERSIST', key) end
end

local function is_forgotten(root, value)
  return string.find(root, ':pages:', 1, true) and struct.unpack(PAGE, value) + PAGE_LIFE < clock[1] + 0
end

local function split_node(root, key, node, depth, life)
  local here, there = {}, {}
  local fields = call('HGETALL', key)
  for i = 1, #fields, 2 do
    if not is_forgotten(root, fields[i + 1]) then
      local side = place_of(fields[i]) % 2 ^ (depth + 1) >= 2 ^ depth and there or here
      side[#side + 1] = fields[i]
      side[#side + 1] = fields[i + 1]
    end
  end
  local index = node - 2 ^ depth
  call('DEL', key)
  for at, side in pairs({[2 ^ (depth + 1) + index] = here, [2 ^ (depth + 1) + 2 ^ depth + index] = there}) do
    if #side > 0 then
      local child = root .. string.format(':%d', at)
      call('HSET', child, unpack(side))
      live(child, life)
    end
  end
  call('SETBIT', root .. ':split', node, 1)
end

-- `more` are fields that come with a new one.
local function keep(root, field, value, life, more)
  local key, node, depth = node_of(root, field)
  local is_new = call('HSET', key, field, value) == 1
  if is_new and more and #more > 0 then call('HSET', key, unpack(more)) end
  live(key, life)
  live(root .. ':split', life)
  if is_new and depth < DEEPEST_NODE and call('HLEN', key) > MOST_OF_A_NODE then
    split_node(root, key, node, depth, life)
  end
end

local function pass_of(scope)
  return struct.pack('>I2', tonumber(call('HGET', S .. ':memory:' .. scope, 'passes') or 0) % 65536)
end

-- A product counts as seen; returns whether it is remembered.
local function touch(scope, product)
  local key = node_of(products_of(scope), product)
  local known = call('HGET', key, product)
  if known then call('HSET', key, product, pass_of(scope) .. string.sub(known, 3)) end
  return known
end

-- A page is not read: it may be that for one time less until it must be. Returns whether its product is remembered.
local function skip(scope, id, key, page, due, interval)
  local _, _, left, length = struct.unpack(PAGE, page)
  if not touch(scope, string.sub(page, 11, 10 + length)) then return false end
  if left > 0 and left < ALWAYS then left = left - 1 end
  call('HSET', key, id, struct.pack(PAGE, due, interval, left, length) .. string.sub(page, 11))
  return true
end

-- Whether a page need not be fetched yet: it then counts as seen.
local function is_not_due(scope, id)
  local key = node_of(pages_of(scope), id)
  local page = call('HGET', key, id)
  if not page then return false end
  local due, interval, left = struct.unpack(PAGE, page)
  return left > 0 and due * 1000 > now and skip(scope, id, key, page, due, interval)
end

local function text_part(product, number)
  return '\1' .. string.sub(product, 2) .. string.char(number)
end

-- Returns 1 where it was remembered.
local function drop_product(scope, product)
  local key, number = node_of(products_of(scope), product), 0
  while string.byte(product) == 0 and call('HDEL', key, text_part(product, number)) == 1 do number = number + 1 end
  return call('HDEL', key, product)
end

local note = {}

-- A product was seen: `fingerprints` begins with the hour of its last record; `text` is a long identity's; it is
-- remembered for `life` seconds, 0 is without end.
function note.seen(scope, product, fingerprints, text, life)
  local parts = {}
  for number = 0, math.ceil(#text / PART_OF_TEXT) - 1 do
    parts[#parts + 1] = text_part(product, number)
    parts[#parts + 1] = string.sub(text, number * PART_OF_TEXT + 1, (number + 1) * PART_OF_TEXT)
  end
  keep(products_of(scope), product, pass_of(scope) .. fingerprints, life, parts)
  live(S .. ':memory:' .. scope, life)
end

-- A product is gone, unless somebody has seen it since it was `remembered` so.
function note.gone(scope, product, remembered)
  if call('HGET', node_of(products_of(scope), product), product) == remembered then drop_product(scope, product) end
end

-- A record of a product was written without being compared.
note.forgotten = drop_product

-- A product counts as seen, though nothing new is known of it.
note.vouched = touch

-- A page was read.
function note.page(scope, id, page)
  keep(pages_of(scope), id, page, PAGE_LIFE)
end

-- A page is as it was, and was not sent; or it could not be had, and may be skipped once more.
function note.skipped(scope, id, due, interval)
  local key = node_of(pages_of(scope), id)
  local page = call('HGET', key, id)
  if page then skip(scope, id, key, page, due, interval) end
end

-- What a settled request has told of products: {what, topic, site, product or id, arguments…} each. Called where its
-- outcome is written, by whoever holds its lease. Those that are counted (tallies.lua) are so in `crawl`, where one is given.
-- Returns whether they say that its page was skipped.
function take_notes(notes, crawl)
  local is_skipped = false
  for _, one in ipairs(notes) do
    if note[one[1]] then
      note[one[1]](one[2] .. ':' .. one[3], unpack(one, 4))
    elseif crawl then
      counted[one[1]](crawl, one[3], unpack(one, 4))
    end
    is_skipped = is_skipped or one[1] == 'skipped'
  end
  return is_skipped
end

local MOST_TEXT = 255 * PART_OF_TEXT -- bytes: a part's number is a byte

local function is_text(value, most, least)
  return type(value) == 'string' and #value <= most and #value >= (least or 0)
end

local function is_whole(value)
  return type(value) == 'number' and value >= 0 and value < 2 ^ 32 and value % 1 == 0
end

local good = {}

function good.seen(product, fingerprints, text, life)
  return is_text(product, 64, 1) and is_text(fingerprints, 62, 2) and is_text(text, MOST_TEXT) and is_whole(life)
end

function good.gone(product, remembered) return is_text(product, 64, 1) and is_text(remembered, 64) end

function good.vouched(product) return is_text(product, 64, 1) end

good.forgotten = good.vouched

function good.page(id, page)
  return is_text(id, 8, 8) and is_text(page, 64, 10) and string.byte(page, 10) <= #page - 10
end

function good.counted(product, mask, sampled)
  return is_text(product, 64, 1) and is_whole(mask) and mask < 65536 and is_text(sampled, 64)
    and (sampled == '' or #sampled > 8)
end

function good.unread() return true end

function good.skipped(id, due, interval) return is_text(id, 8, 8) and is_whole(due) and is_whole(interval) end

-- Whether take_notes can take all of these.
local function are_notes(notes)
  if type(notes) ~= 'table' then return false end
  for _, one in ipairs(notes) do
    local is_good = type(one) == 'table' and good[one[1]]
    if not is_good or not is_text(one[2], 1000) or not is_text(one[3], 1000) or not is_good(unpack(one, 4)) then
      return false
    end
  end
  return true
end
