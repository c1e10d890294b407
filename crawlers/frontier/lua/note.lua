-- Notes on products that come with no request's end. Touches S:products, S:pages, S:memory.
-- ARGV: msgpack of the notes, see products.lua
local notes = cmsgpack.unpack(ARGV[1])
if not are_notes(notes) then return redis.error_reply('POISON 1') end
even_when_full()
take_notes(notes)
return 1
