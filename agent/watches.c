/* The watches of the configuration (contract, configuration 3.9): what they ask is this agent. */
#include "agent/internal.h"
#include "base/assert.h"
#include "checks/watchers.h"

/* Where it answers itself: an address that stands for all becomes that of this host. */
static struct watch_agent own_address(const struct config *config) {
    struct watch_agent agent = {.unix_path = NULL};
    if (config->http_listen.count == 0) {
        agent.unix_path = config->http_listen.paths[0];
        return agent;
    }
    agent.addr = config->http_listen.v[0];
    if (addr_is_any(&agent.addr)) {
        bool v6 = agent.addr.any.sa_family == AF_INET6;
        ASSERT(addr_parse(v6 ? "::1" : "127.0.0.1", addr_port(&agent.addr), &agent.addr));
    }
    return agent;
}

void agent_watch(struct agent *agent, const struct config *live) {
    struct watch_agent own = {.unix_path = NULL};
    uint32_t count = live != NULL ? live->watch_inputs.count : 0;
    if (count > 0) {
        own = own_address(agent->config);
    }
    watchers_set(agent->checks, &own, count > 0 ? live->watch_inputs.v : NULL, count);
}
