#include "agent/storage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "store/file.h"
#include "store/identity.h"
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
    char raft_dir[PATH_BYTES];
};

/* ---- open ---- */

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
    start->configuration_index = info->configuration_index;
    err = raft_configuration_decode(info->configuration, info->configuration_size,
                                    &start->configuration);
    if (err == ERR_OK) {
        err = catalog_restore(catalog, read_snapshot, &restore, text);
    } else {
        err_set(text, err, "the snapshot's configuration is %s", err_name(err));
    }
    store_snapshot_reader_close(restore.reader);
    return err;
}

static void find_configuration(void *context, const struct store_entry *entry) {
    struct storage_start *start = context;
    struct raft_configuration configuration;
    if (entry->kind == RAFT_ENTRY_CONFIGURATION && entry->index > start->configuration_index &&
        raft_configuration_decode(entry->payload, entry->size, &configuration) == ERR_OK) {
        start->configuration = configuration;
        start->configuration_index = entry->index;
    }
}

static enum err open_log(struct storage *storage, const struct uuid *cluster,
                         struct storage_start *start, struct err_text *text) {
    struct store_log_options options = {.directory = storage->raft_dir, .cluster = *cluster};
    struct store_log_found found = {0};
    enum err err = store_log_open(&options, find_configuration, start, &storage->log, &found, text);
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
        err = open_log(storage, cluster, start, text);
    }
    if (err == ERR_OK) {
        storage->log_thread = store_log_thread_start(storage->log, storage->hard_state);
        storage->snapshot_thread = store_snapshot_thread_start(storage->raft_dir, cluster);
    }
    return err;
}

enum err storage_open(const char *data_dir, const struct uuid *disk, const struct uuid *cluster,
                      bool create_cluster, struct catalog *catalog, struct storage **ret_storage,
                      struct storage_start *ret_start, struct err_text *text) {
    struct storage *storage = mem_calloc(1, sizeof *storage);
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
        free(start.runs);
        storage_close(storage, 0);
        return err;
    }
    *ret_start = start;
    *ret_storage = storage;
    return ERR_OK;
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
    if (storage->snapshot_thread != NULL) {
        stopped = store_snapshot_thread_stop(storage->snapshot_thread, timeout_ms);
    }
    if (storage->log_thread != NULL) {
        stopped = store_log_thread_stop(storage->log_thread, timeout_ms) && stopped;
    }
    if (!stopped) {
        return false;
    }
    store_log_close(storage->log);
    if (storage->hard_state != NULL) {
        store_hard_state_close(storage->hard_state);
    }
    store_identity_close(storage->identity);
    free(storage);
    return true;
}
