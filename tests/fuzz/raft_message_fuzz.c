/* Any bytes as a frame between servers; what is a message goes into a core, which must neither
 * break nor give up what it has committed. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "raft/raft.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct raft_id self = {.node = {"a"}, .disk = {"a"}};
static const struct raft_id peer = {.node = {"b"}, .disk = {"b"}};

static struct raft *start(void) {
    static const struct raft_run runs[] = {{4, 1}, {7, 2}};
    struct raft_configuration_at at = {
        .index = 1, .configuration = {.count = 2, .servers = {{self, true}, {peer, true}}}};
    struct raft_event event = {.kind = RAFT_EVENT_START};
    struct raft_output output;
    struct raft *raft = raft_create(&(struct raft_options){.self = self, .seed = 1});
    event.start.hard_state.term = 2;
    event.start.snapshot_index = 5;
    event.start.snapshot_term = 1;
    event.start.log_first = 4;
    event.start.log_last = 9;
    event.start.runs = runs;
    event.start.run_count = 2;
    event.start.configurations = &at;
    event.start.configuration_count = 1;
    ASSERT(raft_step(raft, 1000, &event, &output) == ERR_OK);
    return raft;
}

static void answer_for_the_disk(struct raft *raft, const struct raft_output *output) {
    struct raft_output next;
    if (output->write_hard_state) {
        struct raft_event event = {.kind = RAFT_EVENT_HARD_STATE_PERSISTED,
                                   .hard_state_persisted = {output->hard_state}};
        raft_step(raft, 2000, &event, &next);
    }
    if (output->append.count > 0) {
        struct raft_event event = {
            .kind = RAFT_EVENT_PERSISTED,
            .persisted = {.term = output->append.term,
                          .index = output->append.first + output->append.count - 1,
                          .cuts = output->append.cuts}};
        raft_step(raft, 2000, &event, &next);
    }
}

/* Frames, each behind its length in two bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct raft *raft = start();
    while (size >= 2) {
        size_t bytes = (size_t)data[0] | (size_t)data[1] << 8;
        data += 2;
        size -= 2;
        bytes = bytes < size ? bytes : size;
        struct raft_decoded decoded;
        if (raft_message_decode(data, bytes, &decoded) == ERR_OK) {
            struct raft_output output;
            decoded.message.to = self;
            decoded.message.from = peer;
            struct raft_event event = {
                .kind = RAFT_EVENT_MESSAGE,
                .message = {.message = &decoded.message, .entries = decoded.entries}};
            ASSERT(raft_step(raft, 2000, &event, &output) == ERR_OK);
            answer_for_the_disk(raft, &output);
            raft_decoded_clear(&decoded);
        }
        data += bytes;
        size -= bytes;
    }
    raft_destroy(raft);
    return 0;
}
