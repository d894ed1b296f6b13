/* A server's disk: opened at the start, then worked on by one thread, in order, with a delay. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "store/repair.h"
#include "tests/sim/group/group.h"

/* ---- open ---- */

struct opening {
    struct server *server;
    struct raft_sizes *sizes;
};

static void visit_entry(void *context, const struct store_entry *entry) {
    struct opening *opening = context;
    server_hold(opening->server, entry);
    raft_sizes_add(opening->sizes, entry->index, entry->size);
}

static enum err load_snapshot(struct server *server, struct raft_configuration_at *ret_at,
                              struct raft_event *start) {
    struct store_snapshot_reader *reader;
    struct uuid cluster = {.bytes = "one cluster"};
    size_t size = 0;
    enum err err = store_snapshot_reader_open(DIRECTORY, &cluster, &reader, NULL);
    if (err != ERR_OK) {
        return err;
    }
    const struct store_snapshot_info *info = store_snapshot_reader_info(reader);
    err = store_snapshot_reader_read(reader, &server->kv, sizeof server->kv, &size, NULL);
    if (err == ERR_OK && size == sizeof server->kv) {
        start->start.snapshot_index = info->index;
        start->start.snapshot_term = info->term;
        ret_at->index = info->configuration_index;
        err = raft_configuration_decode(info->configuration, info->configuration_size,
                                        &ret_at->configuration);
    }
    store_snapshot_reader_close(reader);
    return err;
}

/* Rot: the loss is noted before anything is cut. */
static enum err open_log(struct server *server, bool *noted, bool no_snapshot,
                         struct store_log_found *found, struct opening *opening) {
    struct store_log_options options = {.directory = DIRECTORY,
                                        .cluster = {.bytes = "one cluster"},
                                        .segment_bytes = SEGMENT_BYTES};
    enum err err = store_log_open(&options, visit_entry, opening, &server->log, found, NULL);
    if (err != ERR_CORRUPT) {
        return err;
    }
    world_trace(server->world, "%c: rot in its log at %lu", server->letter, found->bad_index);
    (void)no_snapshot;
    free(found->runs);
    *found = (struct store_log_found){0};
    err = store_repair_note(DIRECTORY, NULL);
    *noted = !MUTANT(repair_not_noted);
    options.cut_rot = true;
    raft_sizes_clear(opening->sizes);
    server_drop_held(server, 1, INDEX_MAX);
    return err == ERR_OK ? store_log_open(&options, visit_entry, opening, &server->log, found, NULL)
                         : err;
}

static void list_configurations(struct server *server, const struct raft_configuration_at *first,
                                struct raft_event *start) {
    struct raft_configuration_at *list = mem_calloc(1, sizeof *list);
    uint32_t count = 0;
    if (first->index > 0) {
        list[count++] = *first;
    }
    for (uint64_t i = start->start.snapshot_index + 1; i <= start->start.log_last; i++) {
        const struct held *held = &server->held[i];
        if (held->kind == RAFT_ENTRY_CONFIGURATION) {
            list = mem_realloc(list, (count + 1) * sizeof *list);
            list[count].index = i;
            if (raft_configuration_decode(held->payload, held->size, &list[count].configuration) ==
                ERR_OK) {
                count++;
            }
        }
    }
    start->start.configurations = list;
    start->start.configuration_count = count;
}

static void describe_log(struct server *server, const struct store_log_found *found,
                         struct raft_event *start) {
    struct raft_run *runs = mem_calloc(found->runs_count + 1, sizeof *runs);
    for (uint32_t i = 0; i < found->runs_count; i++) {
        runs[i] = (struct raft_run){.first = found->runs[i].first, .term = found->runs[i].term};
    }
    start->start.log_first = found->last == 0 ? start->start.snapshot_index + 1 : found->first;
    start->start.log_last = found->last == 0 ? start->start.snapshot_index : found->last;
    start->start.runs = runs;
    start->start.run_count = found->runs_count;
    server->held_first = found->first;
    server->held_last = found->last;
    for (uint64_t i = found->first; i <= found->last && found->last > 0; i++) {
        server->durable_term[i] = server->held[i].term;
        server->durable = i > server->durable ? i : server->durable;
    }
}

/* The newest snapshot is whole, or there is none; else everything behind it is worthless, too. */
static enum err open_snapshot(struct server *server, bool *noted, struct raft_event *start,
                              struct raft_configuration_at *at) {
    enum err err = load_snapshot(server, at, start);
    if (err == ERR_OK || err == ERR_NOT_FOUND || disk_has_crashed()) {
        return err == ERR_NOT_FOUND ? ERR_OK : err;
    }
    world_trace(server->world, "%c: its snapshot is rotten", server->letter);
    *noted = true;
    server->kv = (struct kv){0};
    err = store_repair_note(DIRECTORY, NULL);
    if (err == ERR_OK) {
        const char *path;
        while ((path = disk_file_path(DIRECTORY "/snapshot-", 0)) != NULL && err == ERR_OK) {
            char copy[128];
            memcpy(copy, path, strlen(path) + 1);
            err = store_file_unlink(copy, NULL);
        }
    }
    return err == ERR_OK ? store_directory_sync(DIRECTORY, NULL) : err;
}

static enum err open_files(struct server *server, struct raft_event *start,
                           struct raft_configuration_at *at, struct store_log_found *found,
                           struct opening *opening) {
    struct uuid cluster = {.bytes = "one cluster"}, known;
    struct store_vote vote = {0};
    bool noted = false;
    enum err err = store_identity_open("/data", &server->id.disk, &server->identity, NULL);
    if (err == ERR_OK && !store_identity_cluster(server->identity, &known)) {
        err = store_identity_set_cluster(server->identity, &cluster, NULL);
    }
    if (err == ERR_OK) {
        server->id.disk = store_identity_disk(server->identity);
        err = store_hard_state_open(DIRECTORY, &cluster, &server->hard_state, &vote, NULL);
    }
    if (err == ERR_OK) {
        err = store_repair_is_noted(DIRECTORY, &noted, NULL);
    }
    if (err == ERR_OK) {
        err = open_snapshot(server, &noted, start, at);
    }
    if (err == ERR_OK) {
        err = open_log(server, &noted, false, found, opening);
    }
    if (err == ERR_OK && found->last > 0 && found->first > start->start.snapshot_index + 1) {
        /* A hole: the snapshot was lost. */
        noted = true;
        err = store_repair_note(DIRECTORY, NULL);
        if (err == ERR_OK) {
            err = store_log_reset(server->log, NULL);
        }
        server_drop_held(server, 1, INDEX_MAX);
        raft_sizes_clear(opening->sizes);
        free(found->runs);
        *found = (struct store_log_found){.first = 1};
    }
    start->start.hard_state.term = vote.term;
    start->start.hard_state.voted = vote.voted;
    memcpy(&start->start.hard_state.vote, vote.vote, STORE_VOTE_BYTES);
    start->start.needs_repair = noted;
    if (noted) {
        server->damaged = true;
    }
    return err;
}

bool storage_open(struct server *server, struct raft_event *start, struct store_log_found *found) {
    struct raft_configuration_at at = {0};
    struct opening opening = {.server = server, .sizes = mem_calloc(1, sizeof *opening.sizes)};
    disk_use(server->disk);
    enum err err = open_files(server, start, &at, found, &opening);
    if (err != ERR_OK) {
        raft_sizes_clear(opening.sizes);
        free(opening.sizes);
        if (!disk_has_crashed() && !disk_write_has_failed() && !disk_sync_has_failed()) {
            world_fail(server->world, "%c does not start: %s", server->letter, err_name(err));
        }
        return false;
    }
    if (found->last < server->mark_certain) {
        server->mark_certain = found->last;
    }
    server->synced_to = server->mark_certain;
    if (server->durable_snapshot < start->start.snapshot_index) {
        server->durable_snapshot = start->start.snapshot_index; /* of an install cut short */
    }
    start->start.sizes = opening.sizes;
    describe_log(server, found, start);
    list_configurations(server, &at, start);
    return true;
}

void storage_close(struct server *server) {
    disk_use(server->disk);
    store_log_close(server->log);
    if (server->hard_state != NULL) {
        store_hard_state_close(server->hard_state);
    }
    store_identity_close(server->identity);
    server->log = NULL;
    server->hard_state = NULL;
    server->identity = NULL;
}

/* ---- the thread ---- */

static void post_work(struct server *server) {
    struct world *world = server->world;
    uint64_t delay = world_between(world, 100, world_one_in(world, 50) ? 40 * MS : 2 * MS);
    if (server->hang_until > world->now) {
        delay += server->hang_until - world->now;
    }
    server->disk_busy = true;
    world_post(world, delay, EVENT_DISK, server);
}

void storage_queue(struct server *server, struct disk_op *op) {
    if (server->disk_failed) {
        server_free_op(op);
        return;
    }
    op->asked_at = server->world->now;
    *server->queue_end = op;
    server->queue_end = &op->next;
    if (!server->disk_busy) {
        post_work(server);
    }
}

static struct disk_op *take_op(struct server *server) {
    struct disk_op *op = server->queue;
    server->queue = op->next;
    if (server->queue == NULL) {
        server->queue_end = &server->queue;
    }
    return op;
}

/* The report reaches the core some time later, when much may have happened. */
static void report(struct server *server, struct raft_event event) {
    struct world *world = server->world;
    uint64_t delay = world_between(world, 10, world_one_in(world, 10) ? 30 * MS : 500);
    delay += world_one_in(world, 40) ? world_between(world, 0, 300 * MS) : 0;
    world_post(world, delay, EVENT_REPORT, server)->report = event;
}

static void note_durable(struct server *server, const struct disk_op *op) {
    for (uint32_t i = 0; i < op->append.count; i++) {
        uint64_t index = op->append.first + i;
        server->durable_term[index] = op->append.term;
        server->durable = index > server->durable ? index : server->durable;
    }
}

/* All appends that wait go into one sync. What finds no space waits. */
static void append_group(struct server *server) {
    struct disk_op *first = NULL, **end = &first;
    enum err err = ERR_OK;
    while (server->queue != NULL && server->queue->kind == DISK_APPEND) {
        struct disk_op *op = server->queue;
        err = store_log_append_batch(server->log, op->entries, op->append.count, NULL);
        if (err != ERR_OK) {
            break;
        }
        *end = take_op(server);
        end = &(*end)->next;
        *end = NULL;
    }
    bool full = err == ERR_NO_SPACE, synced = false;
    if (err == ERR_OK || full) {
        err = store_log_sync(server->log, NULL);
    }
    while (first != NULL) {
        struct disk_op *op = first;
        first = op->next;
        if (err == ERR_OK) {
            note_durable(server, op);
            synced = true;
            report(server, (struct raft_event){
                               .kind = RAFT_EVENT_PERSISTED,
                               .persisted = {.term = op->append.term,
                                             .index = op->append.first + op->append.count - 1,
                                             .cuts = op->append.cuts}});
        }
        server_free_op(op);
    }
    if (synced && !disk_write_has_failed()) {
        server->mark_certain = server->synced_to; /* the sync carried the mark of the one before */
        server->synced_to = store_log_last(server->log);
    }
    if (err != ERR_OK && !disk_has_crashed()) {
        server_fail_disk(server);
    }
}

static enum err write_snapshot(struct server *server, const struct disk_op *op, const void *data,
                               size_t size) {
    struct store_snapshot_info info = {
        .index = op->index, .term = op->term, .configuration_index = op->configuration.index};
    struct uuid cluster = {.bytes = "one cluster"};
    struct store_snapshot_writer *writer;
    struct buf bytes;
    buf_init(&bytes, RAFT_CONFIGURATION_BYTES_MAX);
    raft_configuration_encode(&op->configuration.configuration, &bytes);
    memcpy(info.configuration, bytes.data, bytes.count);
    info.configuration_size = (uint32_t)bytes.count;
    buf_clear(&bytes);
    enum err err = store_snapshot_writer_create(DIRECTORY, &cluster, &info, &writer, NULL);
    if (err != ERR_OK) {
        return err;
    }
    err = store_snapshot_writer_write(writer, data, size, NULL);
    if (err == ERR_OK) {
        err = store_snapshot_writer_commit(writer, NULL, NULL);
    }
    store_snapshot_writer_destroy(writer);
    if (err == ERR_OK) {
        server->durable_snapshot =
            op->index > server->durable_snapshot ? op->index : server->durable_snapshot;
    }
    return err;
}

static void take_snapshot(struct server *server, const struct disk_op *op) {
    uint64_t copies = 1 + hash_mix(op->index) % 12;
    struct kv *data = mem_calloc(copies, sizeof *data);
    for (uint64_t i = 0; i < copies; i++) {
        data[i] = op->kv;
    }
    enum err err = write_snapshot(server, op, data, copies * sizeof *data);
    free(data);
    server->snapshotting = false;
    if (err == ERR_OK) {
        report(server,
               (struct raft_event){.kind = RAFT_EVENT_SNAPSHOT_TAKEN,
                                   .snapshot_taken = {.index = op->index, .term = op->term}});
    }
}

static void install(struct server *server, const struct disk_op *op) {
    enum err err = ERR_CORRUPT;
    if (server->received_bytes >= sizeof(struct kv)) {
        err = write_snapshot(server, op, server->received, server->received_bytes);
    }
    struct raft_event event = {.kind = err == ERR_OK ? RAFT_EVENT_SNAPSHOT_INSTALLED
                                                     : RAFT_EVENT_SNAPSHOT_FAILED};
    event.snapshot_installed.index = op->index;
    event.snapshot_installed.term = op->term;
    if (disk_has_crashed()) {
        return;
    }
    if (err == ERR_OK) {
        server->world->installs++;
        memcpy(&server->kv, server->received, sizeof server->kv);
        check_restored(server);
        world_trace(server->world, "%c installs the snapshot of %lu", server->letter, op->index);
    }
    server->received_bytes = 0;
    server_step(server, &event);
    if (err == ERR_OK) {
        watch_wake(server);
    }
}

static void lower(uint64_t *value, uint64_t most) {
    *value = *value < most ? *value : most;
}

static enum err work_one(struct server *server, const struct disk_op *op) {
    struct store_vote vote = {.term = op->hard_state.term, .voted = op->hard_state.voted};
    enum err err = ERR_OK;
    switch (op->kind) {
    case DISK_HARD_STATE:
        memcpy(vote.vote, &op->hard_state.vote, vote.voted ? STORE_VOTE_BYTES : 0);
        err = store_hard_state_write(server->hard_state, &vote, NULL);
        if (err == ERR_OK) {
            report(server, (struct raft_event){.kind = RAFT_EVENT_HARD_STATE_PERSISTED,
                                               .hard_state_persisted = {op->hard_state}});
        }
        return err;
    case DISK_TRUNCATE:
        lower(&server->mark_certain, op->index - 1);
        lower(&server->synced_to, op->index - 1);
        return store_log_truncate(server->log, op->index, NULL);
    case DISK_RESET:
        server->mark_certain = server->synced_to = 0;
        return store_log_reset(server->log, NULL);
    case DISK_COMPACT:
        (void)store_log_compact(server->log, op->index, NULL);
        return ERR_OK;
    case DISK_SNAPSHOT:
        take_snapshot(server, op);
        return ERR_OK;
    case DISK_PIECE:
        report(server, (struct raft_event){.kind = RAFT_EVENT_SNAPSHOT_WRITTEN,
                                           .snapshot_written = {.index = op->index,
                                                                .term = op->term,
                                                                .offset = op->offset}});
        return ERR_OK;
    case DISK_INSTALL:
        install(server, op);
        return ERR_OK;
    case DISK_CLEAR_NOTE:
        err = store_repair_clear(DIRECTORY, NULL);
        if (err == ERR_OK) {
            server->world->repairs++;
            report(server, (struct raft_event){.kind = RAFT_EVENT_REPAIR_NOTED});
        }
        return err;
    case DISK_APPEND:
        break;
    }
    return ERR_OK;
}

void storage_work(struct server *server) {
    disk_use(server->disk);
    server->disk_busy = false;
    if (server->disk_failed) {
        return;
    }
    if (server->queue == NULL) {
        /* only the spare segments, below */
    } else if (server->queue->kind == DISK_APPEND) {
        append_group(server); /* a full disk is asked again with the next work */
    } else {
        struct disk_op *op = take_op(server);
        uint32_t life = server->life;
        enum err err = work_one(server, op);
        server_free_op(op);
        if (!server->up || server->life != life) {
            return;
        }
        disk_use(server->disk);
        if (err != ERR_OK && !disk_has_crashed()) {
            server_fail_disk(server);
        }
    }
    disk_use(server->disk);
    if (disk_has_crashed()) {
        nemesis_crash(server, true);
        return;
    }
    if (!store_log_has_failed(server->log)) {
        while (store_log_prepare(server->log, 4096) && !disk_has_crashed()) {
        }
    }
    if (disk_has_crashed()) {
        nemesis_crash(server, true);
    } else if (server->queue != NULL && !server->disk_busy && !server->disk_failed) {
        post_work(server);
    }
}

bool storage_read_piece(struct server *server, uint64_t index, uint64_t offset, uint8_t *out,
                        uint32_t *ret_bytes, bool *ret_done) {
    struct store_snapshot_reader *reader;
    struct uuid cluster = {.bytes = "one cluster"};
    uint8_t skipped[PIECE_BYTES];
    size_t size = 0;
    disk_use(server->disk);
    if (store_snapshot_reader_open(DIRECTORY, &cluster, &reader, NULL) != ERR_OK) {
        return false;
    }
    bool fits = store_snapshot_reader_info(reader)->index == index && offset % PIECE_BYTES == 0 &&
                offset <= store_snapshot_reader_bytes(reader);
    for (uint64_t at = 0; fits && at < offset; at += PIECE_BYTES) {
        fits = store_snapshot_reader_read(reader, skipped, sizeof skipped, &size, NULL) == ERR_OK;
    }
    fits = fits && store_snapshot_reader_read(reader, out, PIECE_BYTES, &size, NULL) == ERR_OK;
    *ret_bytes = (uint32_t)size;
    *ret_done = offset + size >= store_snapshot_reader_bytes(reader);
    store_snapshot_reader_close(reader);
    return fits;
}
