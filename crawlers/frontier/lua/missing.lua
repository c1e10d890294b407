-- Of one node of a site's products: those that were not seen lately. Reads S:products only.
-- ARGV: topic, site, node, pass (how many crawls of the site were complete and saw it), passes without it until a
--   product is gone
-- Returns {whether it was split, products, those of this pass, of each that is gone: key, what is remembered, text}
local root, node = products_of(ARGV[1] .. ':' .. ARGV[2]), tonumber(ARGV[3])
local pass, enough = tonumber(ARGV[4]), tonumber(ARGV[5])
if call('GETBIT', root .. ':split', node) == 1 then return {1, 0, 0} end

local fields, products, seen = call('HGETALL', root .. ':' .. ARGV[3]), 0, 0
local reply, texts = {0, 0, 0}, {}
for i = 1, #fields, 2 do
  if string.byte(fields[i]) == 1 then texts[fields[i]] = fields[i + 1] end
end
for i = 1, #fields, 2 do
  local product, remembered = fields[i], fields[i + 1]
  if string.byte(product) ~= 1 then
    local missed = (pass - struct.unpack('>I2', remembered)) % 65536
    if missed >= 32768 then missed = 0 end -- another crawl has seen it since
    products = products + 1
    if missed == 0 then seen = seen + 1 end
    if missed >= enough then
      local parts, number = {}, 0
      while texts[text_part(product, number)] do
        parts[#parts + 1] = texts[text_part(product, number)]
        number = number + 1
      end
      for _, part in ipairs({product, remembered, #parts > 0 and table.concat(parts) or product}) do
        reply[#reply + 1] = part
      end
    end
  end
end
reply[2], reply[3] = products, seen
return reply
