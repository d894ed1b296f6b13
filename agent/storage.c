#include "agent/storage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/recovery.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/file.h"
#include "store/identity.h"
#include "store/repair.h"
#include "store/snapshot.h"

#define PATH_BYTES 4096
#define READ_BYTES (4 * 1024 * 1024)

_Static_assert(STORE_VOTE_BYTES == 2 * sizeof(struct uuid), "a vote is a raft_id");
_Static_assert(RAFT_CONFIGURATION_BYTES_MAX <= STORE_SNAPSHOT_CONFIGURATION_BYTES_MAX,
               "a snapshot's header holds any configuration");

struct storage {
    struct store_identity *identity;
    struct store_hard_state *hard_state; /* NULL while there is no cluster */
    struct store_log *log;
    struct store_log_thread *log_thread;
    struct store_snapshot_thread *snapshot_thread;
    struct store_work_thread *work_thread;
    struct loop *loop;
    struct uuid cluster;                   /* if hard_state is set */
    struct store_snapshot_reader *sending; /* the reading thread's: the last one asked for */
    char raft_dir[PATH_BYTES];
};

/* ---- open ---- */

void storage_start_clear(struct storage_start *start) {
    free(start->runs);
    free(start->configurations);
    raft_sizes_clear(&start->sizes);
    *start = (struct storage_start){0};
}

static void add_configuration(struct storage_start *start, uint64_t index,
                              const struct raft_configuration *configuration) {
    start->configurations = mem_realloc(start->configurations, (start->configuration_count + 1) *
                                                                   sizeof *start->configurations);
    start->configurations[start->configuration_count++] =
        (struct raft_configuration_at){.index = index, .configuration = *configuration};
}

struct restore {
    struct store_snapshot_reader *reader;
    struct err_text text;
};

static int64_t read_snapshot(void *context, void *data, size_t size) {
    struct restore *restore = context;
    size_t done = 0;
    enum err err = store_snapshot_reader_read(restore->reader, data, size, &done, &restore->text);
    return err == ERR_OK ? (int64_t)done : -(int64_t)err;
}

static enum err open_snapshot(struct storage *storage, const struct uuid *cluster,
                              struct catalog *catalog, struct storage_start *start,
                              struct err_text *text) {
    struct restore restore = {0};
    enum err err = store_snapshot_reader_open(storage->raft_dir, cluster, &restore.reader, text);
    if (err == ERR_NOT_FOUND) {
        return ERR_OK;
    }
    if (err != ERR_OK) {
        return err;
    }
    const struct store_snapshot_info *info = store_snapshot_reader_info(restore.reader);
    start->snapshot_index = info->index;
    start->snapshot_term = info->term;
    start->snapshot_bytes = store_snapshot_reader_bytes(restore.reader);
    struct raft_configuration configuration;
    err = raft_configuration_decode(info->configuration, info->configuration_size, &configuration);
    if (err == ERR_OK) {
        add_configuration(start, info->configuration_index, &configuration);
        err = catalog_restore(catalog, read_snapshot, &restore, text);
    } else {
        err_set(text, err, "the snapshot's configuration is %s", err_name(err));
    }
    store_snapshot_reader_close(restore.reader);
    return err;
}

static void visit_entry(void *context, const struct store_entry *entry) {
    struct storage_start *start = context;
    struct raft_configuration configuration;
    raft_sizes_add(&start->sizes, entry->index, entry->size);
    if (entry->kind == RAFT_ENTRY_CONFIGURATION && entry->index > start->snapshot_index &&
        entry->term >= start->recovered_term &&
        raft_configuration_decode(entry->payload, entry->size, &configuration) == ERR_OK) {
        add_configuration(start, entry->index, &configuration);
    }
}

/* What visit_entry has seen above the log's end does not count. */
static void drop_beyond(struct storage_start *start, uint64_t last) {
    while (start->configuration_count > 0 &&
           start->configurations[start->configuration_count - 1].index > last &&
           start->configurations[start->configuration_count - 1].index > start->snapshot_index) {
        start->configuration_count--;
    }
    raft_sizes_clear(&start->sizes); /* unknown is allowed */
}

/* Others hold what this server has lost: only then may it go on without. */
static bool has_peers(const struct storage_start *start) {
    uint32_t voters = 0;
    if (start->configuration_count > 0) {
        const struct raft_configuration *newest =
            &start->configurations[start->configuration_count - 1].configuration;
        for (uint32_t i = 0; i < newest->count; i++) {
            voters += newest->servers[i].voter;
        }
    }
    return voters > 1;
}

/* Opens it, cut before its first bad entry if it has rotted and peers can give that back (raft.h,
 * "Rot"); that this server has lost entries is noted first. */
static enum err open_or_cut(struct storage *storage, struct store_log_options *options,
                            struct storage_start *start, struct store_log_found *found,
                            struct err_text *text) {
    enum err err = store_repair_is_noted(storage->raft_dir, &start->needs_repair, text);
    if (err != ERR_OK) {
        return err;
    }
    options->cut_rot = start->needs_repair;
    err = store_log_open(options, visit_entry, start, &storage->log, found, text);
    if (err != ERR_CORRUPT || found->bad_index == 0 || !has_peers(start)) {
        return err;
    }
    free(found->runs);
    *found = (struct store_log_found){0};
    err = store_repair_note(storage->raft_dir, text);
    if (err == ERR_OK) {
        start->needs_repair = options->cut_rot = true;
        err = store_log_open(options, NULL, NULL, &storage->log, found, text);
    }
    return err;
}

static enum err open_log(struct storage *storage, const struct uuid *cluster,
                         struct storage_start *start, struct err_text *text) {
    struct store_log_options options = {.directory = storage->raft_dir, .cluster = *cluster};
    struct store_log_found found = {0};
    enum err err = open_or_cut(storage, &options, start, &found, text);
    if (err == ERR_OK && start->needs_repair) {
        drop_beyond(start, found.last);
    }
    if (err == ERR_OK) {
        start->log_first = found.first;
        start->log_last = found.last;
        start->cut = found.cut;
        start->run_count = found.runs_count;
        start->runs = mem_calloc(found.runs_count, sizeof *start->runs);
        for (uint32_t i = 0; i < found.runs_count; i++) {
            start->runs[i] = (struct raft_run){found.runs[i].first, found.runs[i].term};
        }
    }
    free(found.runs);
    return err;
}

static enum err open_hard_state(struct storage *storage, const struct uuid *cluster,
                                struct storage_start *start, struct err_text *text) {
    struct store_vote vote;
    enum err err =
        store_hard_state_open(storage->raft_dir, cluster, &storage->hard_state, &vote, text);
    if (err == ERR_OK) {
        start->hard_state.term = vote.term;
        start->hard_state.voted = vote.voted;
        memcpy(&start->hard_state.vote, vote.vote, sizeof vote.vote);
    }
    return err;
}

static enum err open_files(struct storage *storage, const struct uuid *cluster,
                           struct catalog *catalog, struct storage_start *start,
                           struct err_text *text) {
    enum err err = store_directory_make(storage->raft_dir, text);
    if (err == ERR_OK) {
        err = open_hard_state(storage, cluster, start, text);
    }
    if (err == ERR_OK) {
        err = open_snapshot(storage, cluster, catalog, start, text);
    }
    if (err == ERR_OK) {
        err = recovery_load(storage->raft_dir, cluster, start, text);
    }
    if (err == ERR_OK) {
        err = open_log(storage, cluster, start, text);
    }
    if (err == ERR_OK) {
        err = recovery_take_file(storage->raft_dir, cluster, &start->disk, storage->hard_state,
                                 start, text);
    }
    if (err == ERR_OK) {
        storage->log_thread = store_log_thread_start(storage->log, storage->hard_state);
        storage->snapshot_thread = store_snapshot_thread_start(storage->raft_dir, cluster);
        storage->work_thread = store_work_thread_start();
        storage->cluster = *cluster;
    }
    return err;
}

enum err storage_open(const char *data_dir, const struct uuid *disk, const struct uuid *cluster,
                      bool create_cluster, struct loop *loop, struct catalog *catalog,
                      struct storage **ret_storage, struct storage_start *ret_start,
                      struct err_text *text) {
    struct storage *storage = mem_calloc(1, sizeof *storage);
    storage->loop = loop;
    struct storage_start start = {.log_first = 1};
    struct uuid own;
    snprintf(storage->raft_dir, sizeof storage->raft_dir, "%s/raft", data_dir);
    enum err err = store_identity_open(data_dir, disk, &storage->identity, text);
    if (err == ERR_OK) {
        start.disk = store_identity_disk(storage->identity);
        bool known = store_identity_cluster(storage->identity, &own);
        if (!known && create_cluster) {
            own = *cluster;
            err = store_identity_set_cluster(storage->identity, cluster, text);
            known = err == ERR_OK;
        }
        if (known) {
            err = open_files(storage, &own, catalog, &start, text);
            if (err == ERR_CORRUPT || err == ERR_FOREIGN) {
                err_prefix(text,
                           "data_dir %s is damaged: put back a good copy of it, or give up what it "
                           "holds and start with an empty one",
                           data_dir);
            }
        }
    }
    if (err != ERR_OK) {
        storage_start_clear(&start);
        storage_close(storage, 0);
        return err;
    }
    *ret_start = start;
    *ret_storage = storage;
    return ERR_OK;
}

bool storage_has_cluster(const struct storage *storage) {
    return storage->log_thread != NULL;
}

struct uuid storage_cluster(const struct storage *storage) {
    return storage->cluster;
}

enum err storage_join(struct storage *storage, const struct uuid *cluster, struct catalog *catalog,
                      struct err_text *text) {
    struct storage_start start = {.log_first = 1};
    ASSERT(!storage_has_cluster(storage));
    enum err err = store_identity_set_cluster(storage->identity, cluster, text);
    if (err == ERR_OK) {
        err = open_files(storage, cluster, catalog, &start, text);
    }
    storage_start_clear(&start);
    return err;
}

/* ---- use ---- */

void storage_append(struct storage *storage, const struct store_entry *entries, uint32_t count,
                    store_done_fn done, void *context) {
    store_log_thread_append(storage->log_thread, entries, count, done, context);
}

void storage_write_hard_state(struct storage *storage, const struct raft_hard_state *state,
                              store_done_fn done, void *context) {
    struct store_vote vote = {.term = state->term, .voted = state->voted};
    if (state->voted) {
        memcpy(vote.vote, &state->vote, sizeof vote.vote);
    }
    store_log_thread_write_hard_state(storage->log_thread, &vote, done, context);
}

void storage_truncate(struct storage *storage, uint64_t from, store_done_fn done, void *context) {
    store_log_thread_truncate(storage->log_thread, from, done, context);
}

void storage_reset(struct storage *storage, store_done_fn done, void *context) {
    store_log_thread_reset(storage->log_thread, done, context);
}

void storage_compact(struct storage *storage, uint64_t index, store_done_fn done, void *context) {
    store_log_thread_compact(storage->log_thread, index, done, context);
}

enum err storage_take_snapshot(struct storage *storage, const struct store_snapshot_job *job) {
    return store_snapshot_thread_take(storage->snapshot_thread, job);
}

bool storage_has_space(const struct storage *storage) {
    return storage->log == NULL || store_log_has_space(storage->log);
}

uint64_t storage_log_bytes(const struct storage *storage) {
    return storage->log != NULL ? store_log_bytes(storage->log) : 0;
}

/* ---- the reading thread ---- */

enum err storage_clear_repair(struct storage *storage, struct err_text *text) {
    return store_repair_clear(storage->raft_dir, text);
}

static void job_back(struct loop_task *task) {
    struct storage_job *job = CONTAINER_OF(task, struct storage_job, task);
    job->done(job);
}

static void job_run(struct store_work *work, void *context) {
    struct storage_job *job = CONTAINER_OF(work, struct storage_job, work);
    struct storage *storage = context;
    job->run(job);
    job->task.run = job_back;
    loop_post(storage->loop, &job->task);
}

void storage_run(struct storage *storage, struct storage_job *job) {
    job->work.run = job_run;
    job->work.context = storage;
    store_work_thread_run(storage->work_thread, &job->work);
}

enum err storage_read_snapshot(struct storage *storage, uint64_t index, uint64_t offset,
                               uint8_t *piece, size_t *ret_size, bool *ret_done,
                               struct err_text *text) {
    enum err err = ERR_OK;
    if (storage->sending != NULL && store_snapshot_reader_info(storage->sending)->index != index) {
        store_snapshot_reader_close(storage->sending);
        storage->sending = NULL;
    }
    if (storage->sending == NULL) {
        err = store_snapshot_reader_open(storage->raft_dir, &storage->cluster, &storage->sending,
                                         text);
        if (err != ERR_OK) {
            return err;
        }
    }
    if (store_snapshot_reader_info(storage->sending)->index != index) {
        return err_set(text, ERR_NOT_FOUND, "a newer snapshot has replaced it");
    }
    err = store_snapshot_reader_seek(storage->sending, offset, text);
    if (err == ERR_OK) {
        err = store_snapshot_reader_read(storage->sending, piece, LIMIT_SNAPSHOT_PIECE_BYTES,
                                         ret_size, text);
    }
    *ret_done = offset + *ret_size == store_snapshot_reader_bytes(storage->sending);
    return err;
}

enum err storage_create_snapshot(struct storage *storage, const struct store_snapshot_info *info,
                                 struct store_snapshot_writer **ret_writer, struct err_text *text) {
    return store_snapshot_writer_create(storage->raft_dir, &storage->cluster, info, ret_writer,
                                        text);
}

enum err storage_read_image(struct storage *storage, uint64_t index,
                            struct catalog_image **ret_image, struct err_text *text) {
    struct restore restore = {0};
    enum err err =
        store_snapshot_reader_open(storage->raft_dir, &storage->cluster, &restore.reader, text);
    if (err == ERR_OK && store_snapshot_reader_info(restore.reader)->index != index) {
        err = err_set(text, ERR_CORRUPT, "another snapshot is the newest");
    }
    if (err == ERR_OK) {
        err = catalog_read_image(read_snapshot, &restore, ret_image, text);
    }
    store_snapshot_reader_close(restore.reader);
    return err;
}

enum err storage_read(struct storage *storage, uint64_t first, uint64_t last, store_entry_fn visit,
                      void *context, struct err_text *text) {
    enum err err = ERR_OK;
    while (err == ERR_OK && first <= last) {
        err = store_log_read(storage->log, first, last, READ_BYTES, visit, context, &first, text);
    }
    return err;
}

bool storage_close(struct storage *storage, uint64_t timeout_ms) {
    bool stopped = true;
    if (storage->work_thread != NULL) {
        stopped = store_work_thread_stop(storage->work_thread, timeout_ms);
    }
    if (storage->snapshot_thread != NULL) {
        stopped = store_snapshot_thread_stop(storage->snapshot_thread, timeout_ms) && stopped;
    }
    if (storage->log_thread != NULL) {
        stopped = store_log_thread_stop(storage->log_thread, timeout_ms) && stopped;
    }
    if (!stopped) {
        return false;
    }
    store_snapshot_reader_close(storage->sending);
    store_log_close(storage->log);
    if (storage->hard_state != NULL) {
        store_hard_state_close(storage->hard_state);
    }
    store_identity_close(storage->identity);
    free(storage);
    return true;
}
