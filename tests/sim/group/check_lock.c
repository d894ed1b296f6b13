/* Locks: of one key two never hold it at once, as far as clocks go; and whatever clocks do, each
 * grant has a higher fencing index than those before, so what the lock protects can tell. */
#include "tests/sim/group/group.h"

/* By the holder's own reckoning: its server's clock may run 10 % fast. */
static bool believes(struct world *world, const struct locker *locker, uint32_t key) {
    const struct session *session = &world->model.sessions[locker->session];
    return locker->session != 0 && locker->fence != 0 && locker->key == key &&
           world->now < locker->renewed_us + (uint64_t)session->ttl_ms * MS * 10 / 11;
}

void check_grant(struct world *world, uint32_t key, uint64_t fence) {
    uint64_t *last = &world->model.fence[key];
    uint32_t holders = 0;
    for (uint32_t i = 0; i < LOCKERS; i++) {
        holders += believes(world, &world->lockers[i], key);
    }
    if (holders > 1) {
        world_fail(world, "%s has %u holders", model_key(key), holders);
    }
    *last = fence > *last ? fence : *last;
}

/* It writes to what the lock protects, which refuses a fence below the highest it has seen. */
void check_protected(struct world *world, const struct locker *locker) {
    uint64_t *seen = &world->protected_fence[locker->key];
    const struct version *now = model_at(&world->model, locker->key, world->model.applied);
    if (locker->fence < *seen) {
        return; /* it was late: refused */
    }
    *seen = locker->fence;
    if (believes(world, locker, locker->key) && now->session != locker->session) {
        world_fail(world, "%s was granted with fence %lu and is not its holder's any more",
                   model_key(locker->key), locker->fence);
    }
}
