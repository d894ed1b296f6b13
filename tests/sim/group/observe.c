/* Calls of the driver to core, catalog and store that pass by the checkers (observed.h). `here` is
 * the server whose code runs. */
#define SIM_GROUP_REAL
#include "tests/sim/group/observed.h"

#include <stdlib.h>
#include <string.h>

#include "agent/log_tail.h"
#include "base/hash.h"
#include "base/mem.h"
#include "store/snapshot.h"
#include "tests/sim/group/group.h"

#define SEGMENT_BYTES (16 * 1024)

/* ---- the core ---- */

struct raft *sim_raft_create(const struct raft_options *options) {
    struct world *world = here->world;
    struct raft_options own = *options;
    own.seed = rand_next(&world->rand);
    own.append_bytes = (uint32_t)world_between(world, 100, 4000);
    own.inflight_bytes = (uint32_t)world_between(world, 500, 20000);
    own.trailing_bytes = (uint32_t)world_between(world, 1, 6000);
    check_identity(here, &options->self);
    here->raft = raft_create(&own);
    return here->raft;
}

static void judge_role(struct server *server, const struct raft_output *output) {
    if (!output->role_changed) {
        return;
    }
    world_trace(server->world, "%c is %s of term %lu", server->letter, raft_role_name(output->role),
                output->term);
    if (output->role == RAFT_LEADER) {
        server->world->elections++;
        check_leader_elected(server);
        check_complete(server);
        if (server->world->voter_count >= 3 && !server->world->calm &&
            world_one_in(server->world, 4)) {
            world_post(server->world, 50, EVENT_TOO_EARLY, server);
        }
    }
}

/* What leaves the log before something new comes. */
static void note_cut(struct server *server, const struct raft_output *output) {
    uint64_t from = output->reset ? 1 : output->truncate_from;
    if (from == 0) {
        return;
    }
    world_trace(server->world, "%c: its log is cut from %lu on", server->letter, from);
    server->world->truncations += output->truncate_from > 0;
    for (uint64_t i = from; i <= server->log_last; i++) {
        server->log[i] = (struct entry_seen){0};
    }
    server->log_last = output->reset ? output->reset_to : from - 1;
}

enum err sim_raft_step(struct raft *raft, uint64_t now_ms, const struct raft_event *event,
                       struct raft_output *ret_output) {
    struct server *server = here;
    enum err err = raft_step(raft, now_ms, event, ret_output);
    server->raft = raft;
    if (event->kind == RAFT_EVENT_START && err == ERR_OK) {
        server->output.commit = event->start.snapshot_index;
        if (server->durable_snapshot < event->start.snapshot_index) {
            server->durable_snapshot = event->start.snapshot_index; /* of an install cut short */
        }
        check_vote_kept(server, event->start.hard_state.term);
        check_repair_kept(server, event->start.needs_repair);
        server->started_at_ms = now_ms;
        server->blank = event->start.hard_state.term == 0;
    }
    if (err != ERR_OK || server->dying) {
        return err;
    }
    server->repairing = server->repairing && !ret_output->repaired;
    if (event->kind == RAFT_EVENT_PERSISTED) {
        server->reported_at = server->world->now;
    }
    world_note(server->world, hash_mix(event->kind) ^ ret_output->commit ^ ret_output->term << 32);
    note_cut(server, ret_output);
    if (ret_output->append.count > 0) {
        check_change(server, ret_output, event);
    }
    uint64_t commit_before = server->output.commit;
    server->output = *ret_output;
    judge_role(server, ret_output);
    check_committed(server, commit_before);
    for (uint32_t i = 0; i < ret_output->message_count; i++) {
        check_vote(server, &ret_output->messages[i]);
    }
    check_persisted(server);
    return err;
}

/* ---- the log in memory ---- */

static void see_entry(struct server *server, const struct store_entry *entry, uint64_t at) {
    if (entry->index > INDEX_MAX) {
        world_fail(server->world, "an entry with index %lu", entry->index);
        return;
    }
    server->log[entry->index] =
        (struct entry_seen){.term = entry->term,
                            .content = content_of(entry->kind, entry->payload, entry->size),
                            .pushed_at = at};
    server->log_last = entry->index;
    check_entry_held(server, entry->index);
    check_content(server, entry->index);
}

void sim_log_tail_push(struct log_tail *tail, struct batch *batch) {
    for (uint32_t i = 0; i < batch->count; i++) {
        see_entry(here, &batch->entries[i], here->world->now);
    }
    log_tail_push(tail, batch);
}

/* ---- the catalog ---- */

enum err sim_catalog_begin(struct catalog *catalog, uint64_t index, const uint8_t *command,
                           size_t size, struct catalog_result *result, struct err_text *text) {
    check_applied(here, index, content_of(RAFT_ENTRY_COMMAND, command, size));
    if (!here->world->failed && index == here->world->model.applied + 1) {
        model_apply(here->world, index, command, size);
    }
    enum err err = catalog_begin(catalog, index, command, size, result, text);
    check_answered(here, index, err);
    return err;
}

void sim_catalog_skip(struct catalog *catalog, uint64_t index) {
    check_applied(here, index, 0);
    if (index == here->world->model.applied + 1) {
        model_apply(here->world, index, NULL, 0);
    }
    catalog_skip(catalog, index);
}

void sim_catalog_take_image(struct catalog *catalog, struct catalog_image *image) {
    catalog_take_image(catalog, image);
    here->world->installs++;
    world_trace(here->world, "%c installs the snapshot of %lu", here->letter,
                server_view_applied(here));
    here->applied = server_view_applied(here);
    check_restored(here);
}

/* ---- the disk ---- */

struct opening {
    struct server *server;
    store_entry_fn visit;
    void *context;
};

static void visit_entry(void *context, const struct store_entry *entry) {
    struct opening *opening = context;
    see_entry(opening->server, entry, 0);
    if (entry->index <= INDEX_MAX) {
        opening->server->durable_term[entry->index] = entry->term;
    }
    if (opening->visit != NULL) {
        opening->visit(opening->context, entry);
    }
}

enum err sim_log_open(const struct store_log_options *options, store_entry_fn visit, void *context,
                      struct store_log **ret_log, struct store_log_found *ret_found,
                      struct err_text *text) {
    struct store_log_options own = *options;
    struct opening opening = {here, visit, context};
    own.segment_bytes = SEGMENT_BYTES;
    own.first_bytes = SEGMENT_BYTES;
    memset(here->log, 0, (INDEX_MAX + 1) * sizeof *here->log);
    here->log_last = 0;
    enum err err = store_log_open(&own, visit_entry, &opening, ret_log, ret_found, text);
    if (err == ERR_CORRUPT) {
        world_trace(here->world, "%c: rot in its log at %lu", here->letter, ret_found->bad_index);
    }
    if (err == ERR_OK) {
        for (uint64_t i = ret_found->last + 1; i <= here->log_last; i++) {
            here->log[i] = (struct entry_seen){0};
        }
        here->log_last = ret_found->last;
        check_opened(here, ret_found, options->cut_rot);
        if (ret_found->last < here->mark_certain) {
            here->mark_certain = ret_found->last;
        }
        here->synced_to = here->mark_certain;
    }
    return err;
}

enum err sim_log_append_batch(struct store_log *log, const struct store_entry *entries,
                              uint32_t count, struct err_text *text) {
    struct server *server = here;
    enum err err = store_log_append_batch(log, entries, count, text);
    for (uint32_t i = 0; i < count && err == ERR_OK; i++) {
        server->written_term[entries[i].index] = entries[i].term;
    }
    return err;
}

/* All that was written is on the disk. */
enum err sim_log_sync(struct store_log *log, struct err_text *text) {
    struct server *server = here;
    enum err err = store_log_sync(log, text);
    uint64_t last = store_log_last(log);
    if (err != ERR_OK) {
        return err;
    }
    for (uint64_t i = last; i > 0 && server->written_term[i] != 0; i--) {
        server->durable_term[i] = server->written_term[i];
        server->written_term[i] = 0;
    }
    if (!disk_write_has_failed()) {
        server->mark_certain = server->synced_to; /* the sync carried the mark of the one before */
        server->synced_to = last;
    }
    return err;
}

/* The mark comes down with the first call of the disk. */
static void lower_mark(struct server *server, uint64_t most) {
    server->mark_certain = server->mark_certain < most ? server->mark_certain : most;
    server->synced_to = server->synced_to < most ? server->synced_to : most;
}

enum err sim_log_truncate(struct store_log *log, uint64_t from, struct err_text *text) {
    lower_mark(here, from - 1);
    return store_log_truncate(log, from, text);
}

enum err sim_log_reset(struct store_log *log, struct err_text *text) {
    lower_mark(here, 0);
    return store_log_reset(log, text);
}

/* The last one begun of each server; snapshot and install never overlap but by their ends. */
static struct {
    struct store_snapshot_writer *writer;
    uint64_t index;
} writers[SERVERS_MAX][4];

enum err sim_snapshot_writer_create(const char *directory, const struct uuid *cluster,
                                    const struct store_snapshot_info *info,
                                    struct store_snapshot_writer **ret_writer,
                                    struct err_text *text) {
    struct server *server = here;
    enum err err = store_snapshot_writer_create(directory, cluster, info, ret_writer, text);
    if (err == ERR_OK) {
        memmove(&writers[server->at][1], &writers[server->at][0], 3 * sizeof writers[0][0]);
        writers[server->at][0].writer = *ret_writer;
        writers[server->at][0].index = info->index;
    }
    return err;
}

enum err sim_snapshot_writer_commit(struct store_snapshot_writer *writer, uint64_t *ret_bytes,
                                    struct err_text *text) {
    struct server *server = here;
    enum err err = store_snapshot_writer_commit(writer, ret_bytes, text);
    for (uint32_t i = 0; i < 4 && err == ERR_OK; i++) {
        if (writers[server->at][i].writer == writer) {
            uint64_t index = writers[server->at][i].index;
            server->durable_snapshot =
                index > server->durable_snapshot ? index : server->durable_snapshot;
            break;
        }
    }
    return err;
}
