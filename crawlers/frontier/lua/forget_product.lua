-- A product and its pages are forgotten, whenever they were seen. Touches S:products and one node of S:pages.
-- ARGV: topic, site, product, node of the tree of pages
-- Returns {1 where that node was split, how many entries were removed}.
local scope, product, node = ARGV[1] .. ':' .. ARGV[2], ARGV[3], tonumber(ARGV[4])
local root = pages_of(scope)
local key = root .. string.format(':%d', node)
local removed = drop_product(scope, product)

local pages = call('HGETALL', key)
for i = 1, #pages, 2 do
  local _, _, _, length = struct.unpack(PAGE, pages[i + 1])
  if string.sub(pages[i + 1], 11, 10 + length) == product then removed = removed + call('HDEL', key, pages[i]) end
end
return {call('GETBIT', root .. ':split', node), removed}
