#include "agent/recovery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/decode.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/file.h"
#include "store/recovery.h"

#define NAME "peers.json"
#define PATH_BYTES 4096
#define TERMS_APART ((uint64_t)1 << 20) /* no group has had so many elections */

/* ---- what counts ---- */

/* In place of all that is known. */
static void replace_configurations(struct storage_start *start,
                                   const struct raft_configuration *configuration) {
    uint64_t index = start->snapshot_index > 0 ? start->snapshot_index : 1;
    free(start->configurations);
    start->configurations = mem_calloc(1, sizeof *start->configurations);
    start->configurations[0] =
        (struct raft_configuration_at){.index = index, .configuration = *configuration};
    start->configuration_count = 1;
}

enum err recovery_load(const char *raft_dir, const struct uuid *cluster,
                       struct storage_start *start, struct err_text *text) {
    struct store_recovery note;
    struct raft_configuration configuration;
    enum err err = store_recovery_read(raft_dir, cluster, &note, text);
    if (err != ERR_OK || note.term == 0) {
        return err;
    }
    if (start->snapshot_index > 0 && start->snapshot_term >= note.term) {
        return store_recovery_clear(raft_dir, text);
    }
    err = raft_configuration_decode(note.configuration, note.configuration_size, &configuration);
    if (err != ERR_OK) {
        return err_set(text, err, "%s/recovery: the configuration is %s", raft_dir, err_name(err));
    }
    replace_configurations(start, &configuration);
    start->recovered_term = note.term;
    return ERR_OK;
}

/* ---- the file ---- */

struct named {
    const char *id, *address;
    bool non_voter;
};

static const struct decode_field named_fields[] = {
    DECODE_FIELD(struct named, id, "id", DECODE_STR),
    DECODE_FIELD(struct named, address, "address", DECODE_STR),
    DECODE_FIELD(struct named, non_voter, "non_voter", DECODE_BOOL),
};
static const struct decode_spec named_spec = {"server", sizeof(struct named), named_fields,
                                              sizeof named_fields / sizeof named_fields[0], false};

static enum err read_file(const char *path, char **ret_data, size_t *ret_size,
                          struct err_text *text) {
    struct store_file *file = NULL;
    enum err err = store_file_open(path, STORE_FILE_READ, &file, text);
    if (err != ERR_OK) {
        return err;
    }
    char *data = mem_calloc(1, LIMIT_PEERS_FILE_BYTES + 1);
    err = store_file_read(file, 0, data, LIMIT_PEERS_FILE_BYTES + 1, ret_size, text);
    store_file_close(file);
    if (err == ERR_OK && *ret_size > LIMIT_PEERS_FILE_BYTES) {
        err = err_set(text, ERR_INVALID, "it is longer than %u bytes", LIMIT_PEERS_FILE_BYTES);
    }
    if (err != ERR_OK) {
        free(data);
        return err;
    }
    *ret_data = data;
    return ERR_OK;
}

/* As the newest configuration that knows the node has it; NULL: none does. */
static const struct raft_id *find_server(const struct storage_start *start,
                                         const struct uuid *node) {
    for (uint32_t i = start->configuration_count; i > 0; i--) {
        const struct raft_configuration *configuration =
            &start->configurations[i - 1].configuration;
        for (uint32_t k = 0; k < configuration->count; k++) {
            const struct raft_id *id = &configuration->servers[k].id;
            if (memcmp(&id->node, node, sizeof *node) == 0) {
                return id;
            }
        }
    }
    return NULL;
}

static enum err add_server(const struct storage_start *start, const struct named *named,
                           struct raft_configuration *to, struct err_text *text) {
    struct uuid node;
    if (!uuid_parse(named->id, &node)) {
        return err_set(text, ERR_INVALID, "the id \"%.64s\" is no UUID", named->id);
    }
    const struct raft_id *id = find_server(start, &node);
    if (id == NULL) {
        return err_set(text, ERR_INVALID,
                       "server %s has not been in this group: leave it out, it can join later",
                       named->id);
    }
    for (uint32_t i = 0; i < to->count; i++) {
        if (raft_id_equal(&to->servers[i].id, id)) {
            return err_set(text, ERR_INVALID, "server %s is there twice", named->id);
        }
    }
    to->servers[to->count++] = (struct raft_server){.id = *id, .voter = !named->non_voter};
    return ERR_OK;
}

static const struct raft_id *find_disk(const struct raft_configuration *configuration,
                                       const struct uuid *disk) {
    for (uint32_t i = 0; i < configuration->count; i++) {
        if (memcmp(&configuration->servers[i].id.disk, disk, sizeof *disk) == 0) {
            return &configuration->servers[i].id;
        }
    }
    return NULL;
}

/* The reader has to name this server. */
static enum err refuse_without_self(const struct storage_start *start, const struct uuid *disk,
                                    struct err_text *text) {
    char id[UUID_TEXT_BYTES];
    for (uint32_t i = start->configuration_count; i > 0; i--) {
        const struct raft_id *own = find_disk(&start->configurations[i - 1].configuration, disk);
        if (own != NULL) {
            uuid_format(&own->node, id);
            return err_set(text, ERR_INVALID, "this server, %s, is not in it", id);
        }
    }
    return err_set(text, ERR_INVALID, "this server has not been in the group that it names");
}

static enum err parse(const char *data, size_t size, const struct storage_start *start,
                      const struct uuid *disk, struct raft_configuration *ret,
                      struct err_text *text) {
    struct decode_objects list = {0};
    struct arena arena;
    arena_init(&arena);
    *ret = (struct raft_configuration){.count = 0};
    enum err err = decode_json_list(&named_spec, data, size, &arena, &list, text);
    if (err != ERR_OK) {
        err = ERR_INVALID;
        err_prefix(text, "not a JSON list of servers with id, address and non_voter");
    } else if (list.count == 0) {
        err = err_set(text, ERR_INVALID, "it names no server");
    } else if (list.count > LIMIT_RAFT_SERVERS) {
        err = err_set(text, ERR_INVALID, "more than %u servers", LIMIT_RAFT_SERVERS);
    }
    const struct named *all = list.v;
    for (uint32_t i = 0; err == ERR_OK && i < list.count; i++) {
        struct named named = all[i];
        named.id = named.id != NULL ? named.id : "";
        err = add_server(start, &named, ret, text);
    }
    arena_clear(&arena);
    if (err == ERR_OK && find_disk(ret, disk) == NULL) {
        return refuse_without_self(start, disk, text);
    }
    uint32_t voters = 0;
    for (uint32_t i = 0; i < ret->count; i++) {
        voters += ret->servers[i].voter;
    }
    return err == ERR_OK && voters == 0
               ? err_set(text, ERR_INVALID, "none of the servers has a vote")
               : err;
}

/* ---- the recovery ---- */

static enum err write_note(const char *raft_dir, const struct uuid *cluster, uint64_t term,
                           const struct raft_configuration *configuration, struct err_text *text) {
    struct store_recovery note = {.term = term};
    struct buf bytes;
    buf_init(&bytes, sizeof note.configuration);
    raft_configuration_encode(configuration, &bytes);
    note.configuration_size = (uint32_t)bytes.count;
    memcpy(note.configuration, bytes.data, bytes.count);
    buf_clear(&bytes);
    return store_recovery_write(raft_dir, cluster, &note, text);
}

static enum err recover(const char *raft_dir, const struct uuid *cluster,
                        struct store_hard_state *hard_state, struct storage_start *start,
                        const struct raft_configuration *configuration, struct err_text *text) {
    struct store_vote vote = {.term = (start->hard_state.term / TERMS_APART + 1) * TERMS_APART};
    enum err err = write_note(raft_dir, cluster, vote.term, configuration, text);
    if (err == ERR_OK) {
        err = store_hard_state_write(hard_state, &vote, text);
    }
    if (err == ERR_OK) {
        start->hard_state = (struct raft_hard_state){.term = vote.term};
        start->recovered_term = vote.term;
        start->recovered_now = true;
        replace_configurations(start, configuration);
    }
    return err;
}

enum err recovery_take_file(const char *raft_dir, const struct uuid *cluster,
                            const struct uuid *disk, struct store_hard_state *hard_state,
                            struct storage_start *start, struct err_text *text) {
    struct raft_configuration configuration;
    char path[PATH_BYTES], *data = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/" NAME, raft_dir);
    enum err err = read_file(path, &data, &size, text);
    if (err == ERR_NOT_FOUND) {
        return ERR_OK;
    }
    if (err == ERR_OK && start->needs_repair) {
        err = err_set(text, ERR_INVALID,
                      "entries of this server's log have rotted: recover from another server, or "
                      "restore a snapshot");
    }
    if (err == ERR_OK) {
        err = parse(data, size, start, disk, &configuration, text);
    }
    if (err == ERR_OK) {
        err = recover(raft_dir, cluster, hard_state, start, &configuration, text);
    }
    if (err == ERR_OK) {
        err = store_file_unlink(path, text);
    }
    if (err == ERR_OK) {
        err = store_directory_sync(raft_dir, text);
    }
    free(data);
    if (err != ERR_OK) {
        err_prefix(text, "%s", path);
    }
    return err;
}
