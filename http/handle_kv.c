/* /v1/kv (contract, kv 1). */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "http/handlers.h"

/* ---- reads ---- */

struct listing {
    struct json json;
    size_t count;
};

static bool put_kv(const struct catalog_kv *kv, void *context) {
    struct listing *list = context;
    encode_kv(&list->json, kv, true);
    list->count++;
    return true;
}

static bool put_key(const char *key, size_t size, void *context) {
    struct listing *list = context;
    char text[LIMIT_KV_KEY_BYTES + 1];
    memcpy(text, key, size);
    text[size] = '\0';
    json_str(&list->json, text);
    list->count++;
    return true;
}

static void list_kvs(const struct http_request *req, struct http_read *read,
                     struct http_response *res, bool keys) {
    struct listing list = {.count = 0};
    const char *separator = http_request_param(req, "separator");
    if (separator == NULL) {
        separator = str_or_empty(http_request_param(req, "seperator"));
    }
    read->index = view_index_prefix(read->view, req->rest);
    http_response_json(res, req, &list.json);
    json_array_begin(&list.json);
    if (keys) {
        view_walk_keys(read->view, req->rest, separator, put_key, &list);
    } else {
        view_walk_kvs(read->view, req->rest, put_kv, &list);
    }
    json_array_end(&list.json);
    http_response_json_end(res, req);
    if (list.count == 0 && !(keys && *req->rest == '\0')) {
        http_response_absent(res);
    }
}

static void send_raw(const struct catalog_kv *kv, struct http_response *res) {
    buf_reset(&res->body);
    buf_append(&res->body, catalog_kv_value(kv), kv->value_size);
    res->status = 200;
    res->content_type = "text/plain";
    http_response_header(res, "X-Content-Type-Options", "nosniff");
    http_response_header(res, "Content-Security-Policy", "sandbox");
}

void handle_kv_get(const struct http_request *req, struct http_read *read,
                   struct http_response *res) {
    bool keys = http_request_has(req, "keys");
    if (keys || http_request_has(req, "recurse")) {
        list_kvs(req, read, res, keys);
        return;
    }
    if (*req->rest == '\0') {
        http_response_text(res, 400, "Missing key name");
        return;
    }
    const struct catalog_kv *kv = view_get_kv(read->view, req->rest);
    read->index = view_index_kv(read->view, req->rest);
    if (kv == NULL) {
        http_response_absent(res);
    } else if (http_request_has(req, "raw")) {
        send_raw(kv, res);
    } else {
        struct listing list = {.count = 0};
        http_response_json(res, req, &list.json);
        json_array_begin(&list.json);
        put_kv(kv, &list);
        json_array_end(&list.json);
        http_response_json_end(res, req);
    }
}

/* ---- writes ---- */

static int compare_params(const void *a, const void *b) {
    const struct http_param *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : x < y ? -1 : 1;
}

/* As url.Values.Encode() of Go writes a query. */
static void append_escaped(struct buf *out, const char *s) {
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
            strchr("-_.~", c) != NULL) {
            buf_append_byte(out, *s);
        } else if (c == ' ') {
            buf_append_byte(out, '+');
        } else {
            buf_append_format(out, "%%%02X", c);
        }
    }
}

/* False: more than one of the flags is there, and an answer is set. */
static bool judge_flags(const struct http_request *req, const char *const *flags, size_t count,
                        struct http_response *res) {
    unsigned found = 0;
    for (size_t i = 0; i < count; i++) {
        found += http_request_has(req, flags[i]);
    }
    if (found <= 1) {
        return true;
    }
    struct buf all;
    buf_init(&all, 4 * LIMIT_HTTP_POOL_BYTES);
    qsort(req->params, req->param_count, sizeof *req->params, compare_params);
    for (unsigned i = 0; i < req->param_count; i++) {
        buf_append_str(&all, i > 0 ? "&" : "");
        append_escaped(&all, req->params[i].name);
        buf_append_byte(&all, '=');
        append_escaped(&all, req->params[i].value);
    }
    http_response_text(res, 400, "Conflicting flags: %.*s\n", (int)all.count,
                       str_or_empty(all.data));
    buf_clear(&all);
    return false;
}

/* In the words of Go's strconv. False: an answer is set. */
static bool parse_number(const struct http_request *req, const char *name, uint64_t *ret_value,
                         struct http_response *res) {
    const char *text = http_request_param(req, name);
    if (text == NULL || str_parse_u64(text, ret_value)) {
        return true;
    }
    bool digits = *text != '\0' && text[strspn(text, "0123456789")] == '\0';
    http_response_text(res, 500, "strconv.ParseUint: parsing \"%.512s\": %s", text,
                       digits ? "value out of range" : "invalid syntax");
    return false;
}

/* What PUT and DELETE have in common. False: an answer is set. */
static bool begin_write(const struct http_request *req, struct backend_call *call,
                        struct http_response *res) {
    if (!http_query_accept_dc(req, res)) {
        return false;
    }
    if (strlen(req->rest) > LIMIT_KV_KEY_BYTES) {
        http_response_text(res, 400, "a key is longer than %d bytes", LIMIT_KV_KEY_BYTES);
        return false;
    }
    call->kind = BACKEND_COMMAND;
    call->command.kind = COMMAND_KV;
    call->command.kv = (struct catalog_kv_operation){.key = req->rest, .session = ""};
    return true;
}

bool handle_kv_put(const struct http_request *req, struct backend_call *call,
                   struct http_response *res) {
    static const char *const flags[] = {"cas", "acquire", "release"};
    struct catalog_kv_operation *op = &call->command.kv;
    uint64_t most = req->backend->facts->kv_value_bytes_max;
    if (*req->rest == '\0') {
        http_response_text(res, 400, "Missing key name");
        return false;
    }
    if (!judge_flags(req, flags, 3, res) || !begin_write(req, call, res)) {
        return false;
    }
    if (req->body_size > most) {
        http_response_text(res, 413, HTTP_BODY_TOO_LARGE, req->body_size, (unsigned long long)most,
                           "kv_max_value_size");
        return false;
    }
    op->value = (struct catalog_bytes){(const uint8_t *)req->body, (uint32_t)req->body_size};
    if (!parse_number(req, "flags", &op->flags, res) ||
        !parse_number(req, "cas", &op->index, res)) {
        return false;
    }
    if (http_request_has(req, "cas")) {
        op->verb = KV_CAS;
    } else if (http_request_has(req, "acquire")) {
        op->verb = KV_LOCK;
        op->session = http_request_param(req, "acquire");
    } else if (http_request_has(req, "release")) {
        op->verb = KV_UNLOCK;
        op->session = http_request_param(req, "release");
    }
    return true;
}

bool handle_kv_delete(const struct http_request *req, struct backend_call *call,
                      struct http_response *res) {
    static const char *const flags[] = {"recurse", "cas"};
    struct catalog_kv_operation *op = &call->command.kv;
    bool recurse = http_request_has(req, "recurse");
    if (!judge_flags(req, flags, 2, res)) {
        return false;
    }
    if (*req->rest == '\0' && !recurse) {
        http_response_text(res, 400, "Missing key name");
        return false;
    }
    if (!begin_write(req, call, res) || !parse_number(req, "cas", &op->index, res)) {
        return false;
    }
    op->verb = recurse ? KV_DELETE_TREE : http_request_has(req, "cas") ? KV_DELETE_CAS : KV_DELETE;
    return true;
}

void finish_kv(const struct http_request *req, struct backend_call *call,
               struct http_response *res) {
    struct json json;
    http_response_json(res, req, &json);
    json_bool(&json, !call->result.unchanged);
    http_response_json_end(res, req);
    if (call->result.fence_index > 0) {
        http_response_header(
            res, HTTP_FENCING_INDEX,
            arena_format(req->arena, "%llu", (unsigned long long)call->result.fence_index));
    }
}
