/* What ends by time. A session never ends before its TTL has passed since it was made or last
 * renewed; once a leader stays, it ends by 1.1 times its TTL. A lock's delay is as long as it was
 * to be. Clocks run 10 % fast at most, which the bounds allow for. */
#include <string.h>

#include "tests/sim/group/group.h"

#define SLACK_MS 5
#define COMMIT_MS 500 /* of the end's way through the log, with all links and disks well */

void check_session_renewed(struct server *server, const char *id) {
    struct world *world = server->world;
    struct session *session = &world->model.sessions[model_find_session(&world->model, id)];
    world_trace(world, "%c: session %s is renewed", server->letter, id);
    if (session->alive_us < world->now) {
        session->alive_us = world->now;
    }
    if (!session->alive_at_all) {
        world_fail(world, "session %s is renewed behind its end", id);
    }
}

void check_session_ended(struct world *world, const struct session *session) {
    world_trace(world, "%c: session %s ends", here->letter, session->id);
    uint64_t lived_ms = (world->now - session->alive_us) / MS;
    if (lived_ms * 11 / 10 + SLACK_MS < (uint64_t)session->ttl_ms) {
        world_fail(world, "session %s of %ld ms ends %lu ms after it was renewed", session->id,
                   session->ttl_ms, lived_ms);
    }
}

void check_delay_ended(struct world *world, uint32_t key) {
    uint64_t lasted_ms = (world->now - world->model.delay[key].since_us) / MS;
    if (lasted_ms * 11 / 10 + SLACK_MS < (uint64_t)world->model.delay[key].ms) {
        world_fail(world, "the delay of %s, %ld ms, ends after %lu", model_key(key),
                   world->model.delay[key].ms, lasted_ms);
    }
}

/* By the clock of a leader that has been one all the time. */
void check_no_session_late(struct server *server) {
    struct world *world = server->world;
    uint64_t calm_us = world->calm_at + CLIENTS_STOP_US;
    if (!server->leads || !world->calm || world->now < calm_us) {
        return;
    }
    for (uint32_t i = 1; i <= world->model.session_count; i++) {
        const struct session *session = &world->model.sessions[i];
        uint64_t from = session->alive_us;
        if (!session->alive_at_all) {
            continue;
        }
        from = from > world->led_at ? from : world->led_at;
        from = from > world->calm_at + 1000 * MS ? from : world->calm_at + 1000 * MS;
        uint64_t waits_ms = (world->now - from) / MS * server->rate / 1000;
        if (waits_ms > (uint64_t)session->ttl_ms * 11 / 10 + COMMIT_MS) {
            world_fail(world, "session %s of %ld ms is alive %lu ms after it was renewed",
                       session->id, session->ttl_ms, waits_ms);
            return;
        }
    }
}
