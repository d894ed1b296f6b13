#include "agent/choice.h"

#include <math.h>

#include "base/hash.h"

/* Differences of less than this are not worth leaving a server for that has less to do. */
#define NEAR_MS 2.0

/* A server ten times as far gets a ten-thousandth of the share: the nearest ones do the work. */
static double weight_of(const struct choice_server *server) {
    double units = server->distance_ms < NEAR_MS ? 1 : server->distance_ms / NEAR_MS;
    return 1 / (units * units * units * units);
}

/* In (0, 1), the same for the same two. */
static double draw(const struct choice_server *server, const struct uuid *chooser) {
    uint64_t hash =
        hash_bytes(hash_bytes(1, chooser, sizeof *chooser), &server->node, sizeof server->node);
    return ((double)(hash_mix(hash) >> 11) + 0.5) / 9007199254740992.0; /* 2^53 */
}

int choice_server(const struct choice_server *servers, uint32_t count, const struct uuid *chooser) {
    int best = -1;
    double best_score = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct choice_server *server = &servers[i];
        double score = -weight_of(server) / log(draw(server, chooser));
        bool better = best < 0 || server->avoid_ms < servers[best].avoid_ms ||
                      (server->avoid_ms == servers[best].avoid_ms && score > best_score);
        if (server->alive && better) {
            best = (int)i;
            best_score = score;
        }
    }
    return best;
}
