#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "agent/command_kv.h"
#include "base/base64.h"

#define FIELD(member, name_, kind_) DECODE_FIELD(struct kv_row, member, name_, kind_)

static const struct decode_field kv_row_fields[] = {
    FIELD(key, "Key", DECODE_STR),
    FIELD(session, "Session", DECODE_STR),
    FIELD(value, "Value", DECODE_STR),
    FIELD(flags, "Flags", DECODE_U64),
    FIELD(lock_index, "LockIndex", DECODE_U64),
    FIELD(create_index, "CreateIndex", DECODE_U64),
    FIELD(modify_index, "ModifyIndex", DECODE_U64),
};

const struct decode_spec kv_row_spec = {"KVPair", sizeof(struct kv_row), kv_row_fields,
                                        sizeof kv_row_fields / sizeof kv_row_fields[0], true};

static const char *path_of(const char *key, struct arena *arena) {
    return arena_format(arena, "/v1/kv/%s", client_escape_path(key, arena));
}

enum err kv_get(struct client *client, const char *key, const struct client_query *queries,
                size_t query_count, struct arena *arena, struct decode_objects *ret_rows,
                uint64_t *ret_index, struct err_text *text) {
    struct client_answer answer;
    enum err err = client_exchange(client, "GET", path_of(key, arena), queries, query_count, NULL,
                                   0, &answer, text);
    *ret_rows = (struct decode_objects){0};
    *ret_index = answer.index;
    if (err == ERR_OK && answer.status == 404) {
        err = ERR_NOT_FOUND;
    } else if (err == ERR_OK && answer.status != 200) {
        err = client_refusal(&answer, text);
    } else if (err == ERR_OK) {
        err = decode_json_list(&kv_row_spec, answer.body.data, answer.body.count, arena, ret_rows,
                               text);
        struct kv_row *rows = ret_rows->v;
        for (uint32_t i = 0; err == ERR_OK && i < ret_rows->count; i++) {
            rows[i].key = str_or_empty(rows[i].key);
            rows[i].session = str_or_empty(rows[i].session);
            rows[i].value = str_or_empty(rows[i].value);
        }
    }
    buf_clear(&answer.body);
    return err;
}

enum err kv_write(struct client *client, const char *method, const char *key,
                  const struct client_query *queries, size_t query_count, const void *body,
                  size_t size, bool *ret_yes, struct err_text *text) {
    struct client_answer answer;
    struct arena arena;
    arena_init(&arena);
    enum err err = client_exchange(client, method, path_of(key, &arena), queries, query_count, body,
                                   size, &answer, text);
    if (err == ERR_OK && answer.status != 200) {
        err = client_refusal(&answer, text);
    }
    *ret_yes = err == ERR_OK && answer.body.count >= 4 && memcmp(answer.body.data, "true", 4) == 0;
    buf_clear(&answer.body);
    arena_clear(&arena);
    return err;
}

const char *kv_value(const struct kv_row *row, struct arena *arena, size_t *ret_size) {
    const uint8_t *data;
    if (base64_decode(row->value, arena, &data, ret_size, NULL) != ERR_OK) {
        *ret_size = 0;
        return "";
    }
    return arena_strndup(arena, (const char *)data, *ret_size);
}

enum err command_load_data(const char *arg, struct buf *out, struct err_text *text) {
    int fd = STDIN_FILENO;
    if (strcmp(arg, "-") != 0 && *arg != '@') {
        buf_append_str(out, arg);
        return ERR_OK;
    }
    if (*arg == '@') {
        fd = open(arg + 1, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            return err_set_errno(text, errno, "Failed to read file: open %.300s", arg + 1);
        }
    }
    ssize_t n = 0;
    do {
        char *to = buf_reserve(out, 65536);
        n = to != NULL ? read(fd, to, 65536) : -1;
        out->count += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    enum err err = out->failed ? err_set(text, ERR_TOO_LARGE, "Failed to read: it is too large")
                   : n < 0     ? err_set_errno(text, errno, "Failed to read %.300s", arg)
                               : ERR_OK;
    if (fd != STDIN_FILENO) {
        close(fd);
    }
    return err;
}
