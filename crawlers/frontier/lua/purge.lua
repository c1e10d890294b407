-- Removes keys of a crawl, a page of them; what it waited for, it waits for no longer. Touches all of C, and S:domain.
-- ARGV: keys
local queues = C .. ':queue:'

local function wait_no_longer(name)
  local fields = domain(name)
  if not fields.w then return end
  local others = {}
  for crawl in string.gmatch(fields.w, '[^\n]+') do
    if crawl ~= C then others[#others + 1] = crawl end
  end
  fields.w = #others > 0 and table.concat(others, '\n') or nil
  fields.changed = true
end

for _, key in ipairs(ARGV) do
  if string.sub(key, 1, #queues) == queues then wait_no_longer(string.sub(key, #queues + 1)) end
  call('UNLINK', key)
end
save_domains()
