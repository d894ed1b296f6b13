/* A snapshot that the leader sends: its pieces into a file, then the file into the catalog. One
 * step at a time, each on the reading thread, asked for by the core. */
#include <stdlib.h>
#include <string.h>

#include "agent/group_internal.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/mem.h"
#include "base/mutant.h"

static void fail(struct group *group, uint64_t index, uint64_t term, const char *why) {
    log_write(group->config.log, LOG_ERROR, MODULE, "failed to install snapshot: error=\"%s\"",
              why);
    struct raft_event event = {.kind = RAFT_EVENT_SNAPSHOT_FAILED,
                               .snapshot_failed = {.index = index, .term = term}};
    group_step(group, &event);
}

/* ---- pieces ---- */

/* Reading thread. */
static void write_piece(struct storage_job *job) {
    struct install *install = CONTAINER_OF(job, struct install, job);
    install->err = ERR_OK;
    if (install->begins) {
        store_snapshot_writer_destroy(install->writer);
        install->writer = NULL;
        install->err = storage_create_snapshot(install->group->storage, &install->info,
                                               &install->writer, &install->text);
    } else if (install->writer == NULL) {
        install->err = err_set(&install->text, ERR_NOT_FOUND, "its beginning is missing");
    }
    if (install->err == ERR_OK) {
        install->err = store_snapshot_writer_write(install->writer, install->piece,
                                                   install->piece_bytes, &install->text);
    }
}

static void piece_back(struct storage_job *job) {
    struct install *install = CONTAINER_OF(job, struct install, job);
    struct group *group = install->group;
    install->busy = false;
    free(install->piece);
    install->piece = NULL;
    if (group->closing) {
        return;
    }
    if (install->err != ERR_OK) {
        fail(group, install->info.index, install->info.term, install->text.s);
        return;
    }
    install->offset += install->piece_bytes;
    struct raft_event event = {.kind = RAFT_EVENT_SNAPSHOT_WRITTEN,
                               .snapshot_written = {.index = install->info.index,
                                                    .term = install->info.term,
                                                    .offset = install->offset}};
    group_step(group, &event);
}

static void fill_info(struct store_snapshot_info *info, uint64_t index, uint64_t term,
                      uint64_t configuration_index,
                      const struct raft_configuration *configuration) {
    struct buf out;
    buf_init(&out, STORE_SNAPSHOT_CONFIGURATION_BYTES_MAX);
    raft_configuration_encode(configuration, &out);
    ASSERT(!out.failed);
    *info = (struct store_snapshot_info){.index = index,
                                         .term = term,
                                         .configuration_index = configuration_index,
                                         .configuration_size = (uint32_t)out.count};
    memcpy(info->configuration, out.data, out.count);
    buf_clear(&out);
}

void group_install_piece(struct group *group) {
    struct install *install = &group->install;
    const struct raft_decoded *decoded = group->received;
    const struct raft_message *message = &decoded->message;
    if (install->busy || group->storage == NULL) {
        return; /* a repeated piece; the leader sends again what is missing */
    }
    if (group->snapshot_writing) { /* two writers of one directory would be one too many */
        fail(group, message->snapshot.index, message->snapshot.term,
             "a snapshot of this server's own is being taken");
        return;
    }
    install->begins = message->snapshot.offset == 0;
    if (install->begins) {
        fill_info(&install->info, message->snapshot.index, message->snapshot.term,
                  message->snapshot.configuration_index, message->snapshot.configuration);
        install->offset = 0;
    }
    install->piece = mem_memdup(decoded->payload, decoded->payload_size);
    install->piece_bytes = (uint32_t)decoded->payload_size;
    install->busy = true;
    install->job.run = write_piece;
    install->job.done = piece_back;
    storage_run(group->storage, &install->job);
}

/* ---- the last step ---- */

/* Reading thread. */
static void commit_file(struct storage_job *job) {
    struct install *install = CONTAINER_OF(job, struct install, job);
    install->err = store_snapshot_writer_commit(install->writer, &install->bytes, &install->text);
    store_snapshot_writer_destroy(install->writer);
    install->writer = NULL;
    if (install->err == ERR_OK) {
        install->err = storage_read_image(install->group->storage, install->info.index,
                                          &install->image, &install->text);
    }
}

static void commit_back(struct storage_job *job) {
    struct install *install = CONTAINER_OF(job, struct install, job);
    struct group *group = install->group;
    install->busy = false;
    if (group->closing) {
        return;
    }
    if (install->err != ERR_OK) {
        fail(group, install->info.index, install->info.term, install->text.s);
        return;
    }
    catalog_take_image(group->config.catalog, install->image);
    install->image = NULL;
    if (!MUTANT(apply_again_after_install)) {
        group_skip_to(group, install->info.index); /* what the tail still has of it */
    }
    group->apply_to = install->info.index;
    group->applying_failed = false;
    group_check_reset(group);
    group->snapshot_bytes = install->bytes;
    log_write(group->config.log, LOG_INFO, MODULE, "installed a snapshot: index=%llu bytes=%llu",
              (unsigned long long)install->info.index, (unsigned long long)install->bytes);
    struct raft_event event = {
        .kind = RAFT_EVENT_SNAPSHOT_INSTALLED,
        .snapshot_installed = {.index = install->info.index, .term = install->info.term}};
    group_step(group, &event);
    group_heal_installed(group);
    group->config.published(group->config.context);
    group_reads_applied(group);
}

void group_install(struct group *group, const struct raft_output *output) {
    struct install *install = &group->install;
    ASSERT(!install->busy && install->writer != NULL &&
           install->info.index == output->install_index);
    install->busy = true;
    install->job.run = commit_file;
    install->job.done = commit_back;
    storage_run(group->storage, &install->job);
}

void group_install_clear(struct group *group) {
    store_snapshot_writer_destroy(group->install.writer);
    catalog_drop_image(group->install.image);
    free(group->install.piece);
}
