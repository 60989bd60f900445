-- What wrk sends, and the check of every answer's status and body.
--
-- Arguments: the kind of request; how its answers are checked (task, constant, none); the prefix of
-- the titles that this run writes; a file of requests and one of answers; and after how many answers
-- to stop, 0 for never. bench/load.py writes the files, with ASCII's own separators of fields and
-- records, which no JSON holds.
--
-- wrk doesn't tell which request an answer belongs to. An answer to a read must be, byte for byte,
-- one that was asked for and is still due; one to a write bears what was sent.

local find, match, format, sub = string.find, string.match, string.format, string.sub

local WORDS = "call the supplier about the delivery, ask for the new price list and note down " ..
   "who promised what by when, then send the summary to everybody in the office"
local TITLE, DESCRIPTION = 60, 120

local STATUS = {create = 201}
local TURNED = {["true"] = "false", ["false"] = "true"}

local ffi = require("ffi")
ffi.cdef("int kill(int pid, int signal); int getpid(void);")
local SIGINT = 2

-- Each thread has a Lua of its own; there is one thread.
local thread_of_load

function setup(thread)
   thread_of_load = thread
end

local kind, check, run, limit
local targets, plain, answers, due = {}, {}, {}, {}
-- How many toggles of each task are under way, and how many of these were so together.
local flying, overlapping = {}, {}

-- Global, for done() to get them from the thread's Lua. `states` is what the last answer said of each
-- task that is written: its number, or whether it is completed, if that can be known.
sent, right, wrong, created = 0, 0, 0, 0
reason, token, refused, states = "", "", {}, {}

local function fields(path)
   local rows, file = {}, assert(io.open(path, "rb"))
   for line in string.gmatch(file:read("*a"), "([^\30]*)\30") do
      local row = {}
      for field in string.gmatch(line .. "\31", "([^\31]*)\31") do row[#row + 1] = field end
      rows[#rows + 1] = row
   end
   file:close()
   return rows
end

local function text(number, length)
   local start = format("%s %d ", run, number)
   return start .. sub(WORDS, #start - length)
end

local function build(method, target, body)
   local headers = {
      Accept = "application/json",
      ["User-Agent"] = "taskapi-bench",
      Authorization = target[2] ~= "" and "Bearer " .. target[2] or nil,
      ["Content-Type"] = body and "application/json" or nil,
   }
   return wrk.format(method, target[1], headers, body)
end

local function build_task(method, target)
   return build(method, target, format(
      '{"title":"%s","description":"%s"}', text(sent, TITLE), text(sent, DESCRIPTION)
   ))
end

-- Requests that are the same each time are made once.
local function plan(kind)
   local method = kind == "toggle" and "PATCH" or "GET"
   for i, target in ipairs(targets[kind]) do
      if kind == "login" then
         local body = format('{"email":"%s","password":"%s"}', target[3], target[4])
         plain[kind][i] = build("POST", target, body)
      else
         plain[kind][i] = build(method, target)
      end
   end
end

local function in_turn(kind)
   local known = targets[kind]
   return known[sent % #known + 1]
end

local function owe(key)
   due[key] = (due[key] or 0) + 1
end

local next_request = {
   read = function()
      local i = math.random(#targets.read)
      owe(targets.read[i][3])
      return plain.read[i]
   end,
   list = function()
      local i = math.random(#targets.list)
      owe(targets.list[i][3])
      return plain.list[i]
   end,
   create = function() return build_task("POST", in_turn("create")) end,
   put = function() return build_task("PUT", in_turn("put")) end,
   toggle = function()
      local i = sent % #targets.toggle + 1
      local id = targets.toggle[i][3]
      flying[id] = (flying[id] or 0) + 1
      if flying[id] > 1 then overlapping[id] = flying[id] end
      return plain.toggle[i]
   end,
   login = function()
      local i = sent % #targets.login + 1
      owe(targets.login[i][3])
      return plain.login[i]
   end,
}
local MIX = {"read", "list", "create", "toggle"}
next_request.mix = function() return next_request[MIX[sent % #MIX + 1]]() end

local function settle(key)
   local owed = due[key] or 0
   due[key] = owed > 1 and owed - 1 or nil
   return owed > 0
end

local function id_of(body)
   return match(body, '"id": ?"([%x-]+)"')
end

local function check_read(body)
   local id = id_of(body)
   return id and answers[id] == body and settle(id)
end

-- Tells whether a body is the task that was written by a request of this run, not answered yet.
local function check_written(body)
   local number = tonumber(match(body, '"title": ?"' .. run .. " (%d+) "))
   return number and number <= sent and settle("written " .. number)
      and find(body, '"' .. text(number, TITLE) .. '"', 1, true)
      and find(body, '"' .. text(number, DESCRIPTION) .. '"', 1, true)
      and number
end

local check_answer = {
   read = check_read,
   list = check_read,
   create = function(body)
      if not (check_written(body) and id_of(body) and find(body, '"completed": ?false')) then
         return false
      end
      created = created + 1
      return true
   end,
   put = function(body)
      local number, id = check_written(body), id_of(body)
      if not number or targets.put[number % #targets.put + 1][3] ~= id then return false end
      states[id] = number
      return true
   end,
   toggle = function(body)
      local id, completed = id_of(body), match(body, '"completed": ?(%a+)')
      if not id or not TURNED[completed] or (flying[id] or 0) == 0 then return false end
      flying[id] = flying[id] - 1
      -- Of requests that were under way together nobody knows which was first.
      if (overlapping[id] or 0) > 0 then
         overlapping[id] = overlapping[id] - 1
         states[id] = "unknown"
         return true
      end
      if states[id] ~= "unknown" and states[id] ~= TURNED[completed] then return false end
      states[id] = completed
      return true
   end,
   login = function(body)
      local email = match(body, '"email": ?"([^"]+)"')
      token = match(body, '"token": ?"([%w_-]+%.[%w_-]+%.[%w_-]+)"')
      return email and token and settle(email)
   end,
}
check_answer.mix = function(body, status)
   if status == 201 then return check_answer.create(body) end
   if sub(body, 1, 1) == "[" or answers[id_of(body) or ""] then return check_read(body) end
   return check_answer.toggle(body)
end

function init(args)
   math.randomseed(os.time())
   kind, check, run, limit = args[1], args[2], args[3], tonumber(args[6])
   for _, row in ipairs(fields(args[4])) do
      local name = table.remove(row, 1)
      targets[name] = targets[name] or {}
      table.insert(targets[name], row)
      if name == "toggle" then states[row[3]] = row[4] end
   end
   for name in pairs(targets) do
      plain[name] = {}
      if name ~= "create" and name ~= "put" then plan(name) end
   end
   for _, row in ipairs(fields(args[5])) do answers[row[1]] = row[2] end
   -- Without this function wrk doesn't even make the answers' Lua strings.
   if check == "none" then response = nil end
end

function request()
   sent = sent + 1
   local message = next_request[kind]()
   if kind == "create" or kind == "put" or kind == "mix" then owe("written " .. sent) end
   return message
end

local function is_right(status, body)
   if check == "constant" then return status == 200 and body == answers.constant end
   if kind == "mix" then
      return (status == 200 or status == 201) and check_answer.mix(body, status)
   end
   return status == (STATUS[kind] or 200) and check_answer[kind](body)
end

local function note(status, body)
   if is_right(status, body) then
      right = right + 1
   else
      wrong = wrong + 1
      if reason == "" then reason = format("%d %s", status, sub(body, 1, 300)) end
   end
end

function response(status, _, body)
   if status < 400 then
      note(status, body)
   else
      refused[status] = (refused[status] or 0) + 1
   end
   if limit > 0 and right >= limit then
      limit = 0
      -- Its threads would stop, but wrk itself would sleep on until the time is over.
      ffi.C.kill(ffi.C.getpid(), SIGINT)
   end
end

local function quote(value)
   local escaped = tostring(value):gsub('[%c"\\]', function(c) return format("\\u%04x", c:byte()) end)
   return '"' .. escaped .. '"'
end

local function as_json(values)
   local members = {}
   for name, value in pairs(values) do
      local text = type(value) == "number" and format("%d", value)
         or type(value) == "table" and as_json(value)
         or quote(value)
      members[#members + 1] = quote(name) .. ":" .. text
   end
   return "{" .. table.concat(members, ",") .. "}"
end

function done(summary, latency, _)
   local outcome = {
      microseconds = summary.duration,
      requests = summary.requests,
      bytes = summary.bytes,
      errors = {
         connect = summary.errors.connect,
         read = summary.errors.read,
         write = summary.errors.write,
         timeout = summary.errors.timeout,
      },
      p50 = latency:percentile(50),
      p95 = latency:percentile(95),
      p99 = latency:percentile(99),
      max = latency.max,
   }
   for _, name in ipairs({
      "sent", "right", "wrong", "created", "reason", "token", "refused", "states",
   }) do
      outcome[name] = thread_of_load:get(name)
   end
   io.write(as_json(outcome), "\n")
end
