/* The little driver: does what the core asks for, one thing after the other. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "tests/sim/disk.h"
#include "tests/sim/sim.h"

static void step(struct server *server, const struct raft_event *event);

static void hold(struct server *server, const struct store_entry *entry) {
    ASSERT(entry->index < SIM_INDEX_MAX);
    struct held *held = &server->held[entry->index];
    free(held->payload);
    *held = (struct held){.term = entry->term,
                          .kind = entry->kind,
                          .payload = mem_memdup(entry->payload, entry->size),
                          .size = entry->size};
}

static void visit_entry(void *context, const struct store_entry *entry) {
    struct server *server = context;
    if (entry->index >= SIM_INDEX_MAX) {
        sim_fail(server->sim, "an entry with index %lu", entry->index);
        return;
    }
    check_entry(server->sim, entry);
    hold(server, entry);
}

static void apply(struct server *server, uint64_t index) {
    struct sim *sim = server->sim;
    struct held *held = &server->held[index];
    uint64_t serial = 0;
    if (held->term == 0) {
        sim_fail(sim, "entry %lu is to be applied and not there", index);
        return;
    }
    if (held->kind == RAFT_ENTRY_COMMAND) {
        memcpy(&serial, held->payload, sizeof serial);
        serial ^= sim_tag(0);
        server->chain = hash_mix(server->chain ^ hash_bytes(index, held->payload, held->size));
    } else if (held->kind == RAFT_ENTRY_CONFIGURATION) {
        if (raft_configuration_decode(held->payload, held->size, &server->configuration) !=
            ERR_OK) {
            sim_fail(sim, "entry %lu is no configuration", index);
        }
        server->configuration_index = index;
    }
    check_no_answer_after_failed_sync(sim, index);
    check_apply(sim, server, index, held->term, serial, server->chain);
    server->applied = index;
    server->applied_term = held->term;
    free(held->payload);
    *held = (struct held){0};
}

static void fail_disk(struct server *server) {
    if (!server->disk_failed) {
        server->disk_failed = true;
        step(server, &(struct raft_event){.kind = RAFT_EVENT_DISK_FAILED});
    }
}

static struct store_vote vote_of(const struct raft_hard_state *state) {
    struct store_vote vote = {.term = state->term, .voted = state->voted};
    _Static_assert(sizeof state->vote == STORE_VOTE_BYTES, "an id fills a vote");
    if (state->voted) {
        memcpy(vote.vote, &state->vote, sizeof state->vote);
    }
    return vote;
}

/* Entries of the output, with payloads for commands 1 .. */
static enum err append(struct server *server, const struct raft_append *append) {
    struct sim *sim = server->sim;
    struct store_entry *entries = mem_calloc(append->count, sizeof *entries);
    struct buf configuration;
    buf_init(&configuration, RAFT_CONFIGURATION_BYTES_MAX);
    raft_configuration_encode(raft_get_configuration(server->raft), &configuration);
    for (uint32_t i = 0; i < append->count; i++) {
        struct store_entry *entry = &entries[i];
        *entry = (struct store_entry){
            .index = append->first + i, .term = append->term, .kind = (uint8_t)append->kind};
        if (append->kind == RAFT_ENTRY_COMMAND) {
            uint32_t size;
            uint8_t *payload = sim_payload(sim, ++sim->serials, &size);
            entry->payload = payload;
            entry->size = size;
        } else if (append->kind == RAFT_ENTRY_CONFIGURATION) {
            entry->payload = configuration.data;
            entry->size = (uint32_t)configuration.count;
        }
        hold(server, entry);
    }
    bool promised = server->space_promised && store_log_has_space(server->log);
    enum err err = store_log_append_batch(server->log, entries, append->count, NULL);
    check_space(sim, err, promised, entries, append->count);
    server->space_promised = false;
    if (append->kind == RAFT_ENTRY_COMMAND) {
        for (uint32_t i = 0; i < append->count; i++) {
            free((void *)(uintptr_t)entries[i].payload);
        }
    }
    buf_clear(&configuration);
    free(entries);
    return err;
}

static void write_hard_state(struct server *server, const struct raft_hard_state *state) {
    struct store_vote vote = vote_of(state);
    if (store_hard_state_write(server->hard_state, &vote, NULL) != ERR_OK) {
        fail_disk(server);
        return;
    }
    check_hard_state_answered(server->sim, &vote);
    step(server, &(struct raft_event){.kind = RAFT_EVENT_HARD_STATE_PERSISTED,
                                      .hard_state_persisted = {.hard_state = *state}});
}

static void step(struct server *server, const struct raft_event *event) {
    struct raft_output output;
    uint64_t commit_before = server->output.commit;
    server->now_ms++;
    enum err err = raft_step(server->raft, server->now_ms, event, &output);
    if (err != ERR_OK) {
        if (event->kind != RAFT_EVENT_PROPOSE) {
            sim_fail(server->sim, "event %d: %s", event->kind, err_name(err));
        }
        return;
    }
    server->output = output;
    if (event->kind != RAFT_EVENT_START) {
        check_commit(server->sim, server, commit_before);
    }
    check_leader(server->sim, &output);
    if (server->disk_failed) {
        return;
    }
    if (output.append.count > 0) {
        server->appended_term = output.append.term;
    }
    /* The hard state of the output first; what it leads to comes after the output's entries. */
    bool voted = output.write_hard_state;
    struct store_vote vote = vote_of(&output.hard_state);
    if (voted && output.append.count > 0) {
        if (store_hard_state_write(server->hard_state, &vote, NULL) != ERR_OK) {
            fail_disk(server);
            return;
        }
        check_hard_state_answered(server->sim, &vote);
    }
    if (output.append.count > 0) {
        server->unsynced = true;
        if (append(server, &output.append) != ERR_OK) {
            fail_disk(server);
            return;
        }
    }
    for (uint64_t i = output.apply_first; i <= output.apply_last && !server->sim->failed; i++) {
        apply(server, i);
    }
    if (output.compact_to > 0) {
        (void)store_log_compact(server->log, output.compact_to, NULL);
    }
    if (voted && output.append.count > 0) {
        step(server,
             &(struct raft_event){.kind = RAFT_EVENT_HARD_STATE_PERSISTED,
                                  .hard_state_persisted = {.hard_state = output.hard_state}});
    } else if (voted) {
        write_hard_state(server, &output.hard_state);
    }
}

void server_sync(struct server *server) {
    struct sim *sim = server->sim;
    if (server->disk_failed || !server->unsynced) {
        return;
    }
    if (store_log_sync(server->log, NULL) != ERR_OK) {
        fail_disk(server);
        return;
    }
    server->unsynced = false;
    /* The sync carried the mark that followed the one before. */
    sim->mark_certain = sim->log_synced;
    sim->log_synced = store_log_last(server->log);
    step(server, &(struct raft_event){
                     .kind = RAFT_EVENT_PERSISTED,
                     .persisted = {.term = server->appended_term, .index = sim->log_synced}});
}

void server_propose(struct server *server, uint32_t count) {
    if (server->disk_failed || !store_log_has_space(server->log) ||
        store_log_last(server->log) + count + 8 >= SIM_INDEX_MAX) {
        return;
    }
    step(server, &(struct raft_event){.kind = RAFT_EVENT_PROPOSE, .propose = {.count = count}});
}

static void take_snapshot(struct server *server, struct store_snapshot_writer *writer,
                          const struct store_snapshot_info *info) {
    uint8_t state[64];
    memcpy(state, &server->chain, 8);
    memset(state + 8, 0x5a, sizeof state - 8);
    /* The state is repeated, so that it has some length. */
    uint64_t copies = 1 + rand_below(&server->sim->rand, 200);
    enum err err = ERR_OK;
    for (uint64_t i = 0; i < copies && err == ERR_OK; i++) {
        err = store_snapshot_writer_write(writer, state, sizeof state, NULL);
    }
    bool early = MUTANT(compacted_before_snapshot);
    struct raft_event event = {.kind = RAFT_EVENT_SNAPSHOT_TAKEN,
                               .snapshot_taken = {.index = info->index, .term = info->term}};
    if (early) {
        step(server, &event);
    }
    if (err == ERR_OK) {
        err = store_snapshot_writer_commit(writer, NULL, NULL);
    }
    if (err == ERR_OK) {
        server->sim->snapshot_index = info->index;
        server->sim->snapshots++;
        if (!early) {
            step(server, &event);
        }
    }
}

void server_snapshot(struct server *server) {
    struct store_snapshot_info info = {.index = server->applied,
                                       .term = server->applied_term,
                                       .configuration_index = server->configuration_index};
    struct raft_status status;
    raft_get_status(server->raft, &status);
    if (info.index <= status.snapshot_index) {
        return;
    }
    struct buf bytes;
    buf_init(&bytes, RAFT_CONFIGURATION_BYTES_MAX);
    raft_configuration_encode(&server->configuration, &bytes);
    memcpy(info.configuration, bytes.data, bytes.count);
    info.configuration_size = (uint32_t)bytes.count;
    buf_clear(&bytes);
    struct store_snapshot_writer *writer;
    if (store_snapshot_writer_create(SIM_DIRECTORY, &server->cluster, &info, &writer, NULL) ==
        ERR_OK) {
        take_snapshot(server, writer, &info);
        store_snapshot_writer_destroy(writer);
    }
}

void server_prepare(struct server *server) {
    while (store_log_prepare(server->log, 4096)) {
    }
    server->space_promised =
        !disk_has_crashed() && !disk_write_has_failed() && store_log_has_space(server->log);
}

static void visit_again(void *context, const struct store_entry *entry) {
    check_entry(context, entry);
}

void server_read(struct server *server) {
    struct sim *sim = server->sim;
    uint64_t first = store_log_first(server->log);
    uint64_t last = sim->log_synced;
    if (last < first || server->disk_failed) {
        return;
    }
    uint64_t from = first + rand_below(&sim->rand, last - first + 1);
    uint64_t next = 0;
    struct err_text text = {.s = ""};
    enum err err = store_log_read(server->log, from, last, (size_t)rand_below(&sim->rand, 8192),
                                  visit_again, sim, &next, &text);
    if (!disk_has_crashed() && (err != ERR_OK || next <= from)) {
        sim_fail(sim, "entry %lu cannot be read: %.150s", from, text.s);
    }
}

static enum err load_snapshot(struct server *server, uint64_t *ret_index, struct err_text *text) {
    struct store_snapshot_reader *reader;
    uint8_t state[64];
    size_t size = 0;
    enum err err = store_snapshot_reader_open(SIM_DIRECTORY, &server->cluster, &reader, text);
    if (err != ERR_OK) {
        return err == ERR_NOT_FOUND ? ERR_OK : err;
    }
    const struct store_snapshot_info *info = store_snapshot_reader_info(reader);
    while ((err = store_snapshot_reader_read(reader, state, sizeof state, &size, text)) == ERR_OK &&
           size == sizeof state) {
        memcpy(&server->chain, state, 8);
    }
    if (err == ERR_OK) {
        check_snapshot_state(server->sim, info, server->chain);
        err = raft_configuration_decode(info->configuration, info->configuration_size,
                                        &server->configuration);
        server->configuration_index = info->configuration_index;
        server->applied = info->index;
        server->applied_term = info->term;
        *ret_index = info->index;
    }
    store_snapshot_reader_close(reader);
    return err;
}

static enum err open_disk(struct server *server, struct store_vote *ret_vote,
                          struct store_log_found *ret_found, struct err_text *text) {
    enum err err = store_identity_open("/data", &server->self.disk, &server->identity, text);
    if (err == ERR_OK && !store_identity_cluster(server->identity, &server->cluster)) {
        server->cluster = (struct uuid){.bytes = "one cluster"};
        err = store_identity_set_cluster(server->identity, &server->cluster, text);
    }
    if (err == ERR_OK) {
        server->self.disk = store_identity_disk(server->identity);
        err = store_hard_state_open(SIM_DIRECTORY, &server->cluster, &server->hard_state, ret_vote,
                                    text);
    }
    uint64_t snapshot_index = 0;
    if (err == ERR_OK) {
        check_hard_state(server->sim, ret_vote);
        err = load_snapshot(server, &snapshot_index, text);
    }
    if (err == ERR_OK) {
        struct store_log_options options = {.directory = SIM_DIRECTORY,
                                            .cluster = server->cluster,
                                            .segment_bytes = SIM_SEGMENT_BYTES};
        err = store_log_open(&options, visit_entry, server, &server->log, ret_found, text);
    }
    if (err == ERR_OK) {
        server->sim->log_synced = store_log_last(server->log);
        check_no_hole(server->sim, snapshot_index, ret_found);
    }
    return err;
}

/* The snapshot's configuration and those in the log. */
static void find_configuration(struct server *server, const struct store_log_found *found,
                               struct raft_event *event) {
    struct raft_configuration_at *list = &server->found[0];
    uint32_t count = 0;
    if (server->configuration_index > 0) {
        list[count++] =
            (struct raft_configuration_at){server->configuration_index, server->configuration};
    }
    for (uint64_t i = found->first; i <= found->last; i++) {
        struct held *held = &server->held[i];
        if (held->kind == RAFT_ENTRY_CONFIGURATION && i > server->applied &&
            count < SIM_CONFIGURATIONS_MAX &&
            raft_configuration_decode(held->payload, held->size, &list[count].configuration) ==
                ERR_OK) {
            list[count++].index = i;
        }
    }
    event->start.configurations = list;
    event->start.configuration_count = count;
}

static void start_raft(struct server *server, const struct store_vote *vote,
                       const struct store_log_found *found) {
    struct raft_event event = {.kind = RAFT_EVENT_START};
    struct raft_run *runs = mem_calloc(found->runs_count + 1, sizeof *runs);
    for (uint32_t i = 0; i < found->runs_count; i++) {
        runs[i] = (struct raft_run){.first = found->runs[i].first, .term = found->runs[i].term};
    }
    event.start.hard_state.term = vote->term;
    event.start.hard_state.voted = vote->voted;
    memcpy(&event.start.hard_state.vote, vote->vote, STORE_VOTE_BYTES);
    event.start.snapshot_index = server->applied;
    event.start.snapshot_term = server->applied_term;
    event.start.log_first = found->first;
    event.start.log_last = found->last;
    event.start.runs = runs;
    event.start.run_count = found->runs_count;
    find_configuration(server, found, &event);
    server->appended_term = found->runs_count > 0 ? runs[found->runs_count - 1].term : 0;
    server->output.commit = server->applied;
    step(server, &event);
    free(runs);
    if (raft_get_configuration(server->raft)->count == 0 && !server->disk_failed) {
        struct raft_event bootstrap = {.kind = RAFT_EVENT_BOOTSTRAP};
        bootstrap.bootstrap.configuration = (struct raft_configuration){
            .count = 1, .servers = {{.id = server->self, .voter = true}}};
        step(server, &bootstrap);
    }
    for (int i = 0; i < 4; i++) {
        server_sync(server);
    }
}

enum err server_start(struct server *server, struct sim *sim, struct store_log_found *ret_found,
                      struct err_text *text) {
    struct store_vote vote = {0};
    memset(server, 0, sizeof *server);
    *ret_found = (struct store_log_found){0};
    sim->starts++;
    server->sim = sim;
    server->self.node = (struct uuid){.bytes = "the only node"};
    rand_bytes(&sim->rand, server->self.disk.bytes, sizeof server->self.disk.bytes);
    enum err err = open_disk(server, &vote, ret_found, text);
    if (err == ERR_OK && !sim->failed) {
        server->raft = raft_create(&(struct raft_options){.self = server->self});
        start_raft(server, &vote, ret_found);
    }
    return err;
}

void server_end(struct server *server) {
    raft_destroy(server->raft);
    store_log_close(server->log);
    store_hard_state_close(server->hard_state);
    store_identity_close(server->identity);
    for (uint32_t i = 0; i < SIM_INDEX_MAX; i++) {
        free(server->held[i].payload);
    }
    memset(server, 0, sizeof *server);
}
