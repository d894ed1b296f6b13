#include "raft/message.h"

#include "base/assert.h"

const char *raft_message_kind_name(enum raft_message_kind kind) {
    static const char *const names[] = {
        "",         "vote-request",    "vote-answer", "append", "append-answer",
        "snapshot", "snapshot-answer", "timeout-now"};
    ASSERT(kind >= RAFT_MESSAGE_VOTE_REQUEST && kind <= RAFT_MESSAGE_TIMEOUT_NOW);
    return names[kind];
}

void raft_message_split(struct raft_message *first, uint32_t count, struct raft_message *ret_rest) {
    ASSERT(first->kind == RAFT_MESSAGE_APPEND);
    ASSERT(count > 0 && count < first->append.count);
    *ret_rest = *first;
    ret_rest->append.prev_index += count;
    ret_rest->append.prev_term = first->append.entry_term;
    ret_rest->append.count -= count;
    first->append.count = count;
}
