/* One run: lives of a server between crashes, with damage done while it is down. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "tests/sim/disk.h"
#include "tests/sim/sim.h"

/* store/log_internal.h and store/hard_state.c: where things lie. */
#define RECORD_HEADER 32
#define SLOT_A 4096
#define SLOT_B 8192

void sim_fail(struct sim *sim, const char *format, ...) {
    if (sim->failed) {
        return;
    }
    sim->failed = true;
    va_list args;
    va_start(args, format);
    vsnprintf(sim->message, sizeof sim->message, format, args);
    va_end(args);
}

uint64_t sim_tag(uint64_t serial) {
    return serial ^ 0xc0ffee5eed15600du;
}

uint8_t *sim_payload(const struct sim *sim, uint64_t serial, uint32_t *ret_size) {
    struct rand rand;
    rand_init(&rand, hash_mix(sim->seed) ^ serial);
    uint64_t kind = rand_below(&rand, 100);
    uint64_t size = kind < 60   ? 40
                    : kind < 85 ? 8 + rand_below(&rand, 600)
                    : kind < 98 ? 600 + rand_below(&rand, 3400)
                                : 9000 + rand_below(&rand, 11000);
    uint8_t *payload = mem_alloc(size);
    rand_bytes(&rand, payload, size);
    uint64_t tag = sim_tag(serial);
    memcpy(payload, &tag, sizeof tag);
    *ret_size = (uint32_t)size;
    return payload;
}

static bool one_in(struct sim *sim, uint64_t n) {
    return rand_below(&sim->rand, n) == 0;
}

static struct disk_faults draw_faults(struct sim *sim) {
    struct disk_faults faults = {0};
    if (!one_in(sim, 4)) {
        faults.crash_after_calls = 1 + rand_below(&sim->rand, one_in(sim, 3) ? 30 : 300);
    }
    if (one_in(sim, 3)) {
        faults.sync_fails_per_1000 = 10 + (uint32_t)rand_below(&sim->rand, 100);
    }
    if (one_in(sim, 8)) {
        faults.write_fails_per_1000 = 10;
    }
    if (one_in(sim, 8)) {
        faults.quota_bytes = 60000 + rand_below(&sim->rand, 200000);
    }
    return faults;
}

/* Other files than the log and the hard state: their failed syncs are harmless, and the checkers
 * could not tell. */
static void aside(struct server *server, struct disk_faults *faults) {
    struct sim *sim = server->sim;
    uint32_t per_1000 = faults->sync_fails_per_1000;
    /* Setting the faults anew must not put the crash off. */
    if (per_1000 > 0) {
        return;
    }
    if (one_in(sim, 2)) {
        server_prepare(server);
    } else {
        server_snapshot(server);
    }
}

static void live(struct server *server, struct disk_faults *faults) {
    struct sim *sim = server->sim;
    uint64_t steps = rand_below(&sim->rand, 60);
    for (uint64_t i = 0; i < steps && !sim->failed && !disk_has_crashed(); i++) {
        uint64_t what = rand_below(&sim->rand, 100);
        if (what < 45) {
            server_propose(server, 1 + (uint32_t)rand_below(&sim->rand, 6));
        } else if (what < 80) {
            server_sync(server);
        } else if (what < 90) {
            aside(server, faults);
        } else {
            server_read(server);
        }
    }
}

/* A start without faults must succeed, and everything ever answered must be there. */
static void check_start(struct sim *sim, struct server *server) {
    struct store_log_found found;
    struct err_text text = {.s = ""};
    disk_set_faults(&(struct disk_faults){0});
    enum err err = server_start(server, sim, &found, &text);
    check_starts(sim, err, &text);
    if (err == ERR_OK && !sim->failed) {
        check_all_there(sim, server);
    }
    free(found.runs);
    server_end(server);
    disk_restart(false);
}

/* Finds the record of an applied command; false: compacted away, or not a command. */
static bool find_record(struct sim *sim, uint64_t index, struct disk_place *ret,
                        uint32_t *ret_size) {
    uint64_t serial = sim->facts[index].serial;
    if (serial == 0) {
        return false;
    }
    uint64_t tag = sim_tag(serial);
    uint8_t *payload = sim_payload(sim, serial, ret_size);
    free(payload);
    if (!disk_find(SIM_LOG_PREFIX, &tag, sizeof tag, ret)) {
        return false;
    }
    ret->offset -= RECORD_HEADER;
    return true;
}

/* One bit, or a whole record where another one belongs. */
static bool damage_record(struct sim *sim, uint64_t index, struct disk_place *ret, uint8_t *before,
                          uint32_t *ret_bytes) {
    uint32_t size, other_size;
    struct disk_place other;
    if (!find_record(sim, index, ret, &size)) {
        return false;
    }
    uint32_t bytes = RECORD_HEADER + size;
    *ret_bytes = bytes;
    disk_peek(ret, before, bytes);
    if (one_in(sim, 2) && index > 1 && find_record(sim, index - 1, &other, &other_size) &&
        other_size == size) {
        uint8_t *copy = mem_alloc(bytes);
        disk_peek(&other, copy, bytes);
        disk_poke(ret, copy, bytes);
        free(copy);
        return true;
    }
    uint32_t bit = (uint32_t)rand_below(&sim->rand, bytes * 8);
    disk_flip(ret, bit);
    return true;
}

static void rot_log(struct sim *sim, struct server *server) {
    static uint8_t before[RECORD_HEADER + 20000];
    struct disk_place place;
    uint32_t bytes;
    if (sim->mark_certain == 0 || sim->mark_certain > sim->known) {
        return;
    }
    uint64_t index = 1 + rand_below(&sim->rand, sim->mark_certain);
    /* What a snapshot holds may be in a segment that the next open removes unread. */
    if (index <= sim->snapshot_index || !damage_record(sim, index, &place, before, &bytes)) {
        return;
    }
    sim->rots++;
    struct store_log_found found;
    struct err_text text = {.s = ""};
    uint64_t hash = disk_hash(SIM_LOG_PREFIX);
    enum err err = server_start(server, sim, &found, &text);
    if (!sim->failed) {
        check_rot_reported(sim, err, &found, index, hash != disk_hash(SIM_LOG_PREFIX));
    }
    free(found.runs);
    server_end(server);
    disk_restart(false);
    disk_poke(&place, before, bytes);
}

static void rot_hard_state(struct sim *sim, struct server *server) {
    struct disk_place place;
    uint64_t slot = one_in(sim, 2) ? SLOT_A : SLOT_B;
    if (!disk_find_offset(SIM_DIRECTORY "/hard-state", slot + rand_below(&sim->rand, 64), &place)) {
        return;
    }
    sim->rots++;
    disk_flip(&place, (uint32_t)rand_below(&sim->rand, 8));
    check_start(sim, server); /* the other slot has it */
}

static void rot_snapshot(struct sim *sim, struct server *server) {
    const char *path = disk_file_path(SIM_DIRECTORY "/snapshot-", 0);
    struct disk_place place;
    if (path == NULL || sim->snapshot_index == 0 ||
        disk_file_path(SIM_DIRECTORY "/snapshot-", 1) != NULL ||
        !disk_find_offset(path, rand_below(&sim->rand, 150), &place)) {
        return;
    }
    sim->rots++;
    uint32_t bit = (uint32_t)rand_below(&sim->rand, 8);
    disk_flip(&place, bit);
    struct store_log_found found;
    struct err_text text = {.s = ""};
    enum err err = server_start(server, sim, &found, &text);
    if (err != ERR_CORRUPT && err != ERR_FOREIGN && err != ERR_VERSION) {
        sim_fail(sim, "a rotten snapshot was taken for a whole one: %s", err_name(err));
    }
    free(found.runs);
    server_end(server);
    disk_restart(false);
    disk_flip(&place, bit);
}

static void one_life(struct sim *sim, struct server *server) {
    struct store_log_found found;
    struct err_text text = {.s = ""};
    struct disk_faults faults = draw_faults(sim);
    disk_set_faults(&faults);
    uint64_t log_synced = sim->log_synced, mark_certain = sim->mark_certain;
    enum err err = server_start(server, sim, &found, &text);
    bool excused = disk_has_crashed() || disk_sync_has_failed() || disk_write_has_failed() ||
                   (faults.quota_bytes > 0 && err == ERR_NO_SPACE);
    if (err != ERR_OK && !excused) {
        check_starts(sim, err, &text);
    }
    if (err == ERR_OK && !sim->failed) {
        live(server, &faults);
    }
    if (err != ERR_OK) {
        sim->log_synced = log_synced;
    }
    if (disk_write_has_failed() || err != ERR_OK) {
        sim->mark_certain = mark_certain; /* the mark may be among what was not written */
    }
    free(found.runs);
    bool crashed = disk_has_crashed();
    sim->crashes += crashed;
    server_end(server);
    disk_restart(crashed ? !one_in(sim, 3) : one_in(sim, 2));
}

bool sim_run(struct sim *sim, uint64_t seed) {
    memset(sim, 0, sizeof *sim);
    sim->seed = seed;
    rand_init(&sim->rand, seed);
    struct server *server = mem_calloc(1, sizeof *server);
    disk_create(&sim->rand);
    uint64_t lives = 2 + rand_below(&sim->rand, 8);
    for (uint64_t i = 0; i < lives && !sim->failed; i++) {
        one_life(sim, server);
        if (!sim->failed && one_in(sim, 3)) {
            check_start(sim, server);
        }
        if (!sim->failed && one_in(sim, 3)) {
            rot_log(sim, server);
        }
        if (!sim->failed && one_in(sim, 4)) {
            rot_hard_state(sim, server);
        }
        if (!sim->failed && one_in(sim, 4)) {
            rot_snapshot(sim, server);
        }
    }
    if (!sim->failed) {
        check_start(sim, server);
    }
    disk_destroy();
    free(server);
    return !sim->failed;
}
