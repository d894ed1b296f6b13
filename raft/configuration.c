/* Configurations: their bytes, and the list of those that the log and the snapshot hold. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
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

const struct raft_configuration *raft_configuration(const struct raft *raft) {
    static const struct raft_configuration none;
    return raft->configuration_count > 0
               ? &raft->configurations[raft->configuration_count - 1].configuration
               : &none;
}

uint64_t raft_configuration_index(const struct raft *raft) {
    return raft->configuration_count > 0 ? raft->configurations[raft->configuration_count - 1].index
                                         : 0;
}

void raft_clear_peer(struct raft_peer *peer) {
    free(peer->snapshot);
    *peer = (struct raft_peer){0};
}

/* Peers follow their servers to the new places. */
static void place_peers(struct raft *raft, const struct raft_configuration *old) {
    const struct raft_configuration *now = raft_configuration(raft);
    struct raft_peer *peers = mem_calloc(LIMIT_RAFT_SERVERS, sizeof *peers);
    raft->self_at = now->count;
    for (uint32_t i = 0; i < now->count; i++) {
        if (raft_id_equal(&now->servers[i].id, &raft->self)) {
            raft->self_at = i;
        }
        peers[i].next = peers[i].from = raft->log.last + 1;
        for (uint32_t k = 0; k < old->count; k++) {
            if (raft_id_equal(&now->servers[i].id, &old->servers[k].id)) {
                peers[i] = raft->peers[k];
                raft->peers[k] = (struct raft_peer){0};
            }
        }
    }
    for (uint32_t k = 0; k < old->count; k++) {
        raft_clear_peer(&raft->peers[k]);
    }
    free(raft->peers);
    raft->peers = peers;
}

void raft_push_configuration(struct raft *raft, const struct raft_configuration *configuration,
                             uint64_t index) {
    struct raft_configuration old = *raft_configuration(raft);
    ASSERT(index > raft_configuration_index(raft));
    if (raft->configuration_count == raft->configuration_capacity) {
        raft->configuration_capacity += raft->configuration_capacity + 2;
        raft->configurations = mem_realloc(raft->configurations, raft->configuration_capacity *
                                                                     sizeof *raft->configurations);
    }
    raft->configurations[raft->configuration_count++] =
        (struct raft_configuration_at){.index = index, .configuration = *configuration};
    place_peers(raft, &old);
}

void raft_truncate_configurations(struct raft *raft, uint64_t index) {
    struct raft_configuration old = *raft_configuration(raft);
    uint32_t count = raft->configuration_count;
    while (raft->configuration_count > 0 && raft_configuration_index(raft) >= index) {
        raft->configuration_count--; /* 4.1: a server goes back to the one before */
    }
    if (raft->configuration_count < count) {
        place_peers(raft, &old);
    }
}

void raft_compact_configurations(struct raft *raft, uint64_t index) {
    uint32_t gone = 0;
    while (gone + 1 < raft->configuration_count && raft->configurations[gone + 1].index <= index) {
        gone++;
    }
    if (gone > 0) {
        raft->configuration_count -= gone;
        memmove(raft->configurations, raft->configurations + gone,
                raft->configuration_count * sizeof *raft->configurations);
    }
}

void raft_clear_configurations(struct raft *raft) {
    for (uint32_t i = 0; i < raft_configuration(raft)->count; i++) {
        raft_clear_peer(&raft->peers[i]);
    }
    free(raft->peers);
    free(raft->configurations);
    raft->peers = NULL;
    raft->configurations = NULL;
    raft->configuration_count = 0;
}

struct raft_peer *raft_find_peer(struct raft *raft, const struct raft_id *id) {
    const struct raft_configuration *configuration = raft_configuration(raft);
    for (uint32_t i = 0; i < configuration->count; i++) {
        if (raft_id_equal(&configuration->servers[i].id, id)) {
            return &raft->peers[i];
        }
    }
    return NULL;
}

bool raft_is_voter(const struct raft *raft) {
    const struct raft_configuration *configuration = raft_configuration(raft);
    return raft->self_at < configuration->count && configuration->servers[raft->self_at].voter;
}

bool raft_is_electable(const struct raft *raft) {
    uint32_t count = raft->configuration_count;
    if (raft_is_voter(raft) || count < 2 || raft_configuration_index(raft) <= raft->commit) {
        return raft_is_voter(raft);
    }
    const struct raft_configuration *before = &raft->configurations[count - 2].configuration;
    for (uint32_t i = 0; i < before->count; i++) {
        if (before->servers[i].voter && raft_id_equal(&before->servers[i].id, &raft->self)) {
            return true;
        }
    }
    return false;
}

bool raft_was_always_alone(const struct raft *raft) {
    for (uint32_t i = 0; i < raft->configuration_count; i++) {
        const struct raft_configuration *configuration = &raft->configurations[i].configuration;
        for (uint32_t k = 0; k < configuration->count; k++) {
            if (configuration->servers[k].voter &&
                !raft_id_equal(&configuration->servers[k].id, &raft->self)) {
                return false;
            }
        }
    }
    return raft_is_sole_voter(raft);
}

bool raft_is_sole_voter(const struct raft *raft) {
    return raft_is_voter(raft) && raft_configuration_voters(raft_configuration(raft)) == 1;
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
