-- What is remembered of products. Reads S:products only.
-- ARGV: msgpack {topic, site, product} each
-- Returns {what lua/products.lua keeps, or false} of each.
local found = {}
for i, asked in ipairs(cmsgpack.unpack(ARGV[1])) do
  local key = node_of(products_of(asked[1] .. ':' .. asked[2]), asked[3])
  found[i] = {call('HGET', key, asked[3])}
end
return found
