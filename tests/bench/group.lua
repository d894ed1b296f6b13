-- Writes for wrk, no two of one key: `cairn` registers a node with a service and a check, `etcd` puts
-- the same text under a key by the JSON gateway; `kv` and `etcd-kv` put a value of 128 bytes.
local threads = 0

function setup(thread)
    thread:set("number", threads)
    threads = threads + 1
end

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(text)
    local out = {}
    for i = 1, #text, 3 do
        local a, b, c = text:byte(i, i + 2)
        local bits = a * 65536 + (b or 0) * 256 + (c or 0)
        for shift = 3, 0, -1 do
            local n = math.floor(bits / 64 ^ shift) % 64 + 1
            out[#out + 1] = alphabet:sub(n, n)
        end
        if not c then out[#out] = "=" end
        if not b then out[#out - 1] = "=" end
    end
    return table.concat(out)
end

local kind, run, count = "cairn", "", 0
local value
local plain = string.rep("v", 128)

local function registration(name)
    return '{"Node":"' .. name .. '","Address":"192.0.2.1","Service":{"Service":"web","ID":"' .. name ..
        '","Port":80,"Tags":["v1"]},"Check":{"CheckID":"c","Name":"c","ServiceID":"' .. name ..
        '","Status":"passing"}}'
end

function init(arguments)
    kind, run = arguments[1], arguments[2]
    value = kind == "etcd" and base64(registration("n0000-00000")) or base64(plain)
end

function request()
    count = count + 1
    local name = "n" .. run .. "-" .. number .. "-" .. count % 5000
    local headers = {["Content-Type"] = "application/json"}
    if kind == "kv" then
        return wrk.format("PUT", "/v1/kv/bench/" .. name, nil, plain)
    end
    if kind == "etcd" or kind == "etcd-kv" then
        return wrk.format("POST", "/v3/kv/put", headers,
            '{"key":"' .. base64(name) .. '","value":"' .. value .. '"}')
    end
    return wrk.format("PUT", "/v1/catalog/register", headers, registration(name))
end
