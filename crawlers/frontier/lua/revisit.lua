-- What is remembered of pages, and of the products that they show. Reads S:pages and S:products only.
-- ARGV: msgpack {topic, site, id of the page's request} each
-- Returns {page or false, product or false} of each, as lua/products.lua keeps them.
local found = {}
for i, asked in ipairs(cmsgpack.unpack(ARGV[1])) do
  local scope, remembered = asked[1] .. ':' .. asked[2], false
  local page = call('HGET', node_of(pages_of(scope), asked[3]), asked[3])
  if page then
    local _, _, _, length = struct.unpack(PAGE, page)
    local product = string.sub(page, 11, 10 + length)
    remembered = call('HGET', node_of(products_of(scope), product), product)
  end
  found[i] = {page, remembered}
end
return found
