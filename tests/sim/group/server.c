/* A server: the thin driver that does what the core asks for. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "tests/sim/group/group.h"

uint64_t server_now_ms(const struct server *server) {
    return 1000 + (server->world->now - server->clock_at) * server->rate / (1000 * 1000);
}

/* ---- entries in memory ---- */

void server_drop_held(struct server *server, uint64_t first, uint64_t last) {
    for (uint64_t i = first; i <= last && i <= INDEX_MAX; i++) {
        free(server->held[i].payload);
        server->held[i] = (struct held){0};
        if (server->proposals[i] != 0) {
            client_answer(server, server->proposals[i], ERR_TIMEOUT, 0, 0);
            server->proposals[i] = 0;
        }
    }
}

void server_hold(struct server *server, const struct store_entry *entry) {
    if (entry->index > INDEX_MAX) {
        world_fail(server->world, "an entry with index %lu", entry->index);
        return;
    }
    struct held *held = &server->held[entry->index];
    free(held->payload);
    *held =
        (struct held){.term = entry->term,
                      .kind = entry->kind,
                      .size = entry->size,
                      .payload = entry->size > 0 ? mem_memdup(entry->payload, entry->size) : NULL};
    server->held_last = entry->index;
    check_entry_held(server, entry->index);
}

/* ---- outputs ---- */

static struct disk_op *new_op(enum disk_op_kind kind) {
    struct disk_op *op = mem_calloc(1, sizeof *op);
    op->kind = kind;
    return op;
}

void server_free_op(struct disk_op *op) {
    for (uint32_t i = 0; op->entries != NULL && i < op->append.count; i++) {
        free((void *)(uintptr_t)op->entries[i].payload);
    }
    free(op->entries);
    free(op);
}

/* The message's entries, or the leader's own. */
static void append(struct server *server, const struct raft_output *output,
                   const struct raft_event *event, const struct raft_decoded *decoded) {
    struct disk_op *op = new_op(DISK_APPEND);
    op->append = output->append;
    op->entries = mem_calloc(op->append.count, sizeof *op->entries);
    struct buf configuration;
    buf_init(&configuration, RAFT_CONFIGURATION_BYTES_MAX);
    raft_configuration_encode(raft_get_configuration(server->raft), &configuration);
    const uint8_t *payload = decoded != NULL ? decoded->payload : NULL;
    for (uint32_t i = 0; op->append.received && i < op->append.skip; i++) {
        payload += decoded->entries[i].size;
    }
    for (uint32_t i = 0; i < op->append.count; i++) {
        struct store_entry *entry = &op->entries[i];
        *entry = (struct store_entry){.index = op->append.first + i, .term = op->append.term};
        if (op->append.received) {
            const struct raft_entry_head *head = &decoded->entries[op->append.skip + i];
            entry->kind = (uint8_t)head->kind;
            entry->size = head->size;
            entry->payload = mem_memdup(payload, head->size);
            payload += head->size;
        } else {
            entry->kind = (uint8_t)op->append.kind;
            const void *from = NULL;
            if (op->append.kind == RAFT_ENTRY_COMMAND) {
                uint64_t number = server->waiting_ops[i];
                from = &server->world->ops[number].command;
                entry->size = event->propose.sizes[i];
                server->proposals[entry->index] = number;
            } else if (op->append.kind == RAFT_ENTRY_CONFIGURATION) {
                from = configuration.data;
                entry->size = (uint32_t)configuration.count;
            }
            entry->payload = entry->size > 0 ? mem_memdup(from, entry->size) : NULL;
        }
        server_hold(server, entry);
    }
    buf_clear(&configuration);
    storage_queue(server, op);
}

static void cut(struct server *server, const struct raft_output *output) {
    if (output->reset) {
        server_drop_held(server, 1, server->held_last);
        server->held_last = output->reset_to;
        struct disk_op *op = new_op(DISK_RESET);
        op->index = output->reset_to;
        storage_queue(server, op);
    }
    if (output->truncate_from > 0) {
        server->world->truncations++;
        server_drop_held(server, output->truncate_from, server->held_last);
        server->held_last = output->truncate_from - 1;
        struct disk_op *op = new_op(DISK_TRUNCATE);
        op->index = output->truncate_from;
        storage_queue(server, op);
    }
}

static void apply(struct server *server, uint64_t index) {
    struct held *held = &server->held[index];
    struct command command = {0};
    bool changed = false;
    if (held->term == 0) {
        world_fail(server->world, "%c is to apply entry %lu, which it does not have",
                   server->letter, index);
        return;
    }
    if (held->kind == RAFT_ENTRY_COMMAND) {
        memcpy(&command, held->payload, held->size);
        changed = kv_apply(&server->kv, index, &command);
    }
    check_applied(server, index, held->term, held, &command, changed);
    server->kv.applied = index;
    server->kv.applied_term = held->term;
    uint64_t op = server->proposals[index];
    server->proposals[index] = 0;
    if (op != 0) {
        client_applied(server, index, op, changed);
    }
}

static void maybe_snapshot(struct server *server) {
    struct raft_status status;
    raft_get_status(server->raft, &status);
    if (server->snapshotting || server->received_bytes > 0 || server->disk_failed ||
        server->kv.applied < status.snapshot_index + server->snapshot_distance) {
        return;
    }
    const struct raft_configuration_at *at =
        raft_get_configuration_at(server->raft, server->kv.applied);
    if (at == NULL) {
        return;
    }
    struct disk_op *op = new_op(DISK_SNAPSHOT);
    op->index = server->kv.applied;
    op->term = server->kv.applied_term;
    op->kv = server->kv;
    op->configuration = *at;
    server->snapshotting = true;
    storage_queue(server, op);
}

static void receive_piece(struct server *server, const struct raft_output *output,
                          const struct raft_decoded *decoded) {
    if (output->snapshot_piece) {
        const struct raft_message *m = &decoded->message;
        server->received =
            mem_realloc(server->received, m->snapshot.offset + m->snapshot.bytes + 1);
        memcpy(server->received + m->snapshot.offset, decoded->payload, m->snapshot.bytes);
        server->received_bytes = m->snapshot.offset + m->snapshot.bytes;
        struct disk_op *op = new_op(DISK_PIECE);
        op->index = m->snapshot.index;
        op->term = m->snapshot.term;
        op->offset = server->received_bytes;
        storage_queue(server, op);
    }
    if (output->install) {
        struct disk_op *op = new_op(DISK_INSTALL);
        op->index = output->install_index;
        op->term = output->install_term;
        op->configuration = output->install_configuration;
        storage_queue(server, op);
    }
}

/* Somebody wants a change from a leader that has committed nothing yet: it has to refuse (2015). */
static void ask_too_early(struct server *server) {
    struct world *world = server->world;
    if (world->voter_count < 3 || world->calm || !world_one_in(world, 4)) {
        return;
    }
    struct raft_event event = {.kind = RAFT_EVENT_CHANGE,
                               .change = {.kind = RAFT_CHANGE_ADD_LEARNER, .id = server->id}};
    world_post(world, 50, EVENT_REPORT, server)->report = event;
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
        ask_too_early(server);
    } else {
        client_lost_leader(server);
    }
}

/* A queue of the outputs' work; what an output leads to at once comes behind it. */
static void follow(struct server *server, const struct raft_event *event,
                   const struct raft_decoded *decoded, const struct raft_output *output) {
    if (output->write_hard_state && !server->disk_failed) {
        struct disk_op *op = new_op(DISK_HARD_STATE);
        op->hard_state = output->hard_state;
        storage_queue(server, op);
    }
    cut(server, output);
    if (output->append.count > 0) {
        check_change(server, output, event);
        append(server, output, event, decoded);
    }
    bool was_ready = server->output.leader_ready;
    uint64_t commit_before = server->output.commit;
    server->output = *output;
    judge_role(server, output);
    check_committed(server, commit_before);
    for (uint32_t i = 0; i < output->message_count; i++) {
        net_send(server, &output->messages[i]);
    }
    for (uint64_t i = output->apply_first; i <= output->apply_last && !server->world->failed; i++) {
        apply(server, i);
    }
    if (output->leader_ready && !was_ready) {
        server->ready_at = output->commit;
    }
    if (output->compact_to > 0) {
        struct disk_op *op = new_op(DISK_COMPACT);
        op->index = output->compact_to;
        server_drop_held(server, server->held_first, output->compact_to);
        server->held_first = output->compact_to + 1;
        storage_queue(server, op);
    }
    receive_piece(server, output, decoded);
    if (output->repaired && !server->note_clearing) {
        server->note_clearing = true;
        storage_queue(server, new_op(DISK_CLEAR_NOTE));
    }
    client_reads_confirmed(server, output);
    client_reads_applied(server);
    if (output->apply_first <= output->apply_last) {
        watch_wake(server);
        maybe_snapshot(server);
    }
}

static bool step(struct server *server, const struct raft_event *event,
                 const struct raft_decoded *decoded) {
    struct raft_output output;
    enum err err = raft_step(server->raft, server_now_ms(server), event, &output);
    if (err != ERR_OK) {
        bool may_fail = event->kind == RAFT_EVENT_PROPOSE || event->kind == RAFT_EVENT_READ ||
                        event->kind == RAFT_EVENT_CHANGE || event->kind == RAFT_EVENT_TRANSFER;
        if (!may_fail) {
            world_fail(server->world, "%c: event %d: %s", server->letter, event->kind,
                       err_name(err));
        }
        return false;
    }
    follow(server, event, decoded, &output);
    check_disk_progress(server);
    check_persisted(server);
    server_arm_timer(server);
    return true;
}

bool server_step(struct server *server, const struct raft_event *event) {
    return server->up && !server->world->failed && step(server, event, NULL);
}

/* The configurations among the entries have to be told to the core. */
void net_deliver(struct world *world, const struct event *event) {
    struct server *server = &world->servers[event->server];
    struct raft_decoded decoded;
    if (!server->up) {
        return;
    }
    if (raft_message_decode(event->data, event->size, &decoded) != ERR_OK) {
        world_fail(world, "a frame that the codec made is no message");
        return;
    }
    struct raft_event step_event = {
        .kind = RAFT_EVENT_MESSAGE,
        .message = {.message = &decoded.message, .entries = decoded.entries}};
    struct raft_configuration_at *list = NULL;
    uint32_t count = 0;
    const uint8_t *payload = decoded.payload;
    bool append_kind = decoded.message.kind == RAFT_MESSAGE_APPEND;
    for (uint32_t i = 0; append_kind && i < decoded.message.append.count; i++) {
        if (decoded.entries[i].kind == RAFT_ENTRY_CONFIGURATION) {
            list = mem_realloc(list, (count + 1) * sizeof *list);
            list[count].index = decoded.message.append.prev_index + 1 + i;
            if (raft_configuration_decode(payload, decoded.entries[i].size,
                                          &list[count].configuration) != ERR_OK) {
                world_fail(world, "entry %lu is no configuration", list[count].index);
            }
            count++;
        }
        payload += decoded.entries[i].size;
    }
    step_event.message.configurations = list;
    step_event.message.configuration_count = count;
    if (!world->failed) {
        step(server, &step_event, &decoded);
    }
    free(list);
    raft_decoded_clear(&decoded);
}

/* ---- proposals of a turn ---- */

void server_flush(struct server *server) {
    uint32_t sizes[64];
    server->flush_posted = false;
    for (uint32_t i = 0; i < server->waiting_count; i++) {
        uint64_t number = server->waiting_ops[i];
        sizes[i] = (uint32_t)(24 + 8 * (hash_mix(number) % 9));
    }
    struct raft_event event = {.kind = RAFT_EVENT_PROPOSE,
                               .propose = {.count = server->waiting_count, .sizes = sizes}};
    uint32_t count = server->waiting_count;
    bool takes =
        server->output.role == RAFT_LEADER && !server->output.transferring && !server->disk_failed;
    if (count > 0 && takes) {
        step(server, &event, NULL);
    }
    server->waiting_count = 0;
    for (uint32_t i = 0; i < count && !takes; i++) {
        client_answer(server, server->waiting_ops[i], ERR_NO_LEADER, 0, 0);
    }
}

void server_fail_disk(struct server *server) {
    if (!server->disk_failed) {
        server->disk_failed = true;
        world_trace(server->world, "%c: its disk fails", server->letter);
        server_step(server, &(struct raft_event){.kind = RAFT_EVENT_DISK_FAILED});
    }
}

void server_arm_timer(struct server *server) {
    if (!server->up || server->output.deadline_at_ms == RAFT_NEVER) {
        return;
    }
    uint64_t now_ms = server_now_ms(server);
    uint64_t wait_ms =
        server->output.deadline_at_ms > now_ms ? server->output.deadline_at_ms - now_ms : 0;
    uint64_t delay = wait_ms * 1000 * 1000 / server->rate + 1000;
    uint64_t at = server->world->now + delay;
    if (server->timer_at != 0 && server->timer_at <= at) {
        return; /* an earlier one asks again */
    }
    server->timer_at = at;
    world_post(server->world, delay, EVENT_TIMER, server);
}

/* ---- a life ---- */

bool server_start(struct server *server) {
    struct world *world = server->world;
    struct raft_event event = {.kind = RAFT_EVENT_START};
    struct store_log_found found = {0};
    server->life++;
    server->up = true;
    server->rate = world_between(world, 900, 1100);
    server->clock_at = world->now - world_between(world, 0, world->now);
    server->snapshot_distance = world_between(world, 20, 150);
    server->disk_failed = server->disk_busy = false;
    server->hang_until = 0;
    server->timer_at = 0;
    server->kv = (struct kv){0};
    server->held_first = 1;
    server->held_last = 0;
    server->ready_at = 0;
    server->output = (struct raft_output){0};
    if (!storage_open(server, &event, &found)) {
        free(found.runs);
        server_stop(server);
        return false;
    }
    struct raft_options options = {.self = server->id,
                                   .seed = rand_next(&world->rand),
                                   .append_bytes = (uint32_t)world_between(world, 100, 4000),
                                   .inflight_bytes = (uint32_t)world_between(world, 500, 20000),
                                   .trailing_bytes = (uint32_t)world_between(world, 1, 6000)};
    server->raft = raft_create(&options);
    server->output.commit = server->kv.applied;
    server->started_at_ms = server_now_ms(server);
    server->blank = event.start.hard_state.term == 0;
    check_restored(server);
    server_step(server, &event);
    free((void *)(uintptr_t)event.start.runs);
    free((void *)(uintptr_t)event.start.configurations);
    struct raft_sizes *sizes = (struct raft_sizes *)(uintptr_t)event.start.sizes;
    raft_sizes_clear(sizes);
    free(sizes);
    free(found.runs);
    return true;
}

void server_stop(struct server *server) {
    server->up = false;
    server->life++;
    client_lost_leader(server);
    while (server->queue != NULL) {
        struct disk_op *op = server->queue;
        server->queue = op->next;
        server_free_op(op);
    }
    server->queue_end = &server->queue;
    for (uint32_t i = 0; i < WATCHERS; i++) {
        struct watcher *watcher = &server->world->watchers[i];
        if (watcher->server == server->at && watcher->number != 0) {
            watcher->number = 0;
            world_post(server->world, 10 * MS, EVENT_WATCH, NULL)->a = i;
        }
    }
    server->watch_count = 0;
    server->waiting_count = 0;
    server->flush_posted = server->snapshotting = server->note_clearing = false;
    server_drop_held(server, 1, INDEX_MAX);
    free(server->received);
    server->received = NULL;
    server->received_bytes = 0;
    raft_destroy(server->raft);
    server->raft = NULL;
    storage_close(server);
}
