/* Nobody comes home before home has been healthy for the hold-down, so answers change no more often
 * than that; and lookups are home again soon after. A break between two looks of the driver, which
 * are 250 ms apart, does not count. */
#include <string.h>

#include "tests/sim/regions/regions.h"

/* By a clock that runs at most 0.02 % fast, in whole milliseconds. */
static uint64_t at_least(uint64_t us) {
    return us - us / 1000 < 3 * MS ? 0 : us - us / 1000 - 3 * MS;
}

/* One that is held down is answered from home only while nobody else has it (check_local.c). */
static bool is_away(const struct server *server, const char *service) {
    const struct failover_state *state = atomic_load(&server->agent->failover_source.state);
    bool away = false;
    for (uint32_t i = 0; i < state->away.count; i++) {
        away = away || strcmp(state->away.v[i], service) == 0;
    }
    return away;
}

static void comes_home(struct server *server, uint32_t service) {
    struct world *world = server->world;
    struct service_seen *seen = &server->seen[service];
    uint64_t healthy_us = seen->broken ? 0 : world->now - seen->healthy_us;
    if (healthy_us < at_least(world->hold_down_us)) {
        world_fail(world, "%s: %s comes home after %llu of %llu ms", server->name,
                   service_name(service), (unsigned long long)(healthy_us / MS),
                   (unsigned long long)(world->hold_down_us / MS));
    }
    seen->elsewhere = false;
}

void check_failover(struct server *server, uint32_t service, const struct failover_place *place) {
    struct world *world = server->world;
    struct service_seen *seen = &server->seen[service];
    const char *name = service_name(service);
    bool away = is_away(server, name);
    if (place->datacenter != NULL) {
        uint64_t healthy_us = world->now - seen->healthy_us; /* if it is */
        if (seen->elsewhere && seen->healthy && !seen->broken &&
            healthy_us > world->hold_down_us + HOME_US) {
            world_fail(world, "%s: %s does not come home, which is healthy for %llu ms",
                       server->name, name, (unsigned long long)(healthy_us / MS));
        }
        seen->broken = seen->broken || !away; /* it begins */
        seen->elsewhere = true;
    } else if (seen->elsewhere && seen->healthy && !away) {
        comes_home(server, service); /* and was not held down */
    }
}

void check_returns(struct server *server) {
    for (uint32_t i = 0; i < SERVICES; i++) {
        struct service_seen *seen = &server->seen[i];
        bool away = is_away(server, service_name(i));
        if (seen->away && !away) {
            comes_home(server, i);
        }
        seen->away = away;
    }
}
