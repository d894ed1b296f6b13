#include <string.h>

#include "base/assert.h"
#include "raft/internal.h"

#define FORMAT 1
#define SERVER_BYTES 33

bool raft_id_equal(const struct raft_id *a, const struct raft_id *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

/* No server twice. */
static bool is_set(const struct raft_configuration *configuration) {
    for (uint32_t i = 0; i < configuration->count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (raft_id_equal(&configuration->servers[i].id, &configuration->servers[k].id)) {
                return false;
            }
        }
    }
    return true;
}

bool raft_configuration_is_valid(const struct raft_configuration *configuration) {
    return configuration->count <= LIMIT_RAFT_SERVERS &&
           raft_configuration_voters(configuration) > 0 && is_set(configuration);
}

uint32_t raft_configuration_voters(const struct raft_configuration *configuration) {
    uint32_t voters = 0;
    for (uint32_t i = 0; i < configuration->count; i++) {
        voters += configuration->servers[i].voter;
    }
    return voters;
}

void raft_use_configuration(struct raft *raft, const struct raft_configuration *configuration,
                            uint64_t index) {
    raft->configuration = *configuration;
    raft->configuration_index = index;
    raft->configuration_at = (struct raft_configuration_at){index, *configuration};
    raft->self_at = 0;
    while (raft->self_at < configuration->count &&
           !raft_id_equal(&configuration->servers[raft->self_at].id, &raft->self)) {
        raft->self_at++;
    }
}

bool raft_is_sole_voter(const struct raft *raft) {
    return raft->self_at < raft->configuration.count &&
           raft->configuration.servers[raft->self_at].voter &&
           raft_configuration_voters(&raft->configuration) == 1;
}

void raft_configuration_encode(const struct raft_configuration *configuration, struct buf *out) {
    ASSERT(configuration->count <= LIMIT_RAFT_SERVERS);
    buf_append_byte(out, FORMAT);
    buf_append_byte(out, (char)(configuration->count & 0xff));
    buf_append_byte(out, (char)(configuration->count >> 8));
    for (uint32_t i = 0; i < configuration->count; i++) {
        const struct raft_server *server = &configuration->servers[i];
        buf_append(out, server->id.node.bytes, 16);
        buf_append(out, server->id.disk.bytes, 16);
        buf_append_byte(out, server->voter);
    }
}

enum err raft_configuration_decode(const void *data, size_t size,
                                   struct raft_configuration *ret_configuration) {
    const uint8_t *at = data;
    if (size < 3) {
        return ERR_CORRUPT;
    }
    if (at[0] != FORMAT) {
        return at[0] > FORMAT ? ERR_VERSION : ERR_CORRUPT;
    }
    struct raft_configuration configuration = {.count = (uint32_t)(at[1] | at[2] << 8)};
    if (configuration.count > LIMIT_RAFT_SERVERS ||
        size != 3 + (size_t)configuration.count * SERVER_BYTES) {
        return ERR_CORRUPT;
    }
    at += 3;
    for (uint32_t i = 0; i < configuration.count; i++, at += SERVER_BYTES) {
        struct raft_server *server = &configuration.servers[i];
        memcpy(server->id.node.bytes, at, 16);
        memcpy(server->id.disk.bytes, at + 16, 16);
        if (at[32] > 1) {
            return ERR_CORRUPT;
        }
        server->voter = at[32] == 1;
    }
    if (!is_set(&configuration)) {
        return ERR_CORRUPT;
    }
    *ret_configuration = configuration;
    return ERR_OK;
}
