/* `cairn kv get`, `put`, `delete`, `export` and `import` (contract 3.4). */
#include "agent/command_kv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/command.h"
#include "base/base64.h"

#define SETS (COMMAND_SET_CLIENT | COMMAND_SET_SERVER | COMMAND_SET_TENANCY)
#define DATA_BYTES_MAX (256 * 1024 * 1024)
#define LABEL_WIDTH 17
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

struct run {
    struct client *client;
    struct arena arena;
    struct command_line line;
    struct err_text text;
};

/* False: *ret_code is the exit code. end() is called in any case. */
static bool begin(struct run *run, const struct command_spec *spec, int argc, char **argv,
                  int *ret_code) {
    run->client = NULL;
    run->text.s[0] = '\0';
    arena_init(&run->arena);
    return command_parse(spec, argc, argv, &run->arena, &run->line, ret_code);
}

/* After the arguments are judged. */
static bool connect_to_agent(struct run *run) {
    run->client = client_create(&run->line.options);
    return run->client != NULL;
}

static int end(struct run *run, int code) {
    client_destroy(run->client);
    arena_clear(&run->arena);
    return code;
}

static int complain(struct run *run, const char *sentence) {
    fprintf(stderr, "%s\n", sentence);
    return end(run, 1);
}

static const char *without_slash(const char *key) {
    return *key == '/' ? key + 1 : key;
}

/* The one argument that may be there; NULL: an answer is out. */
static const char *argument(const struct run *run) {
    return run->line.arg_count > 0 ? run->line.args[0] : "";
}

/* ---- get ---- */

static void print_value(const struct kv_row *row, bool base64, struct arena *arena) {
    size_t size = strlen(row->value);
    const char *value = base64 ? row->value : kv_value(row, arena, &size);
    fwrite(value, 1, size, stdout);
}

static void print_detailed(const struct kv_row *row, bool base64, struct arena *arena) {
    printf("%-*s%llu\n", LABEL_WIDTH, "CreateIndex", (unsigned long long)row->create_index);
    printf("%-*s%llu\n", LABEL_WIDTH, "Flags", (unsigned long long)row->flags);
    printf("%-*s%s\n", LABEL_WIDTH, "Key", row->key);
    printf("%-*s%llu\n", LABEL_WIDTH, "LockIndex", (unsigned long long)row->lock_index);
    printf("%-*s%llu\n", LABEL_WIDTH, "ModifyIndex", (unsigned long long)row->modify_index);
    printf("%-*s%s\n", LABEL_WIDTH, "Session", *row->session != '\0' ? row->session : "-");
    printf("%-*s", LABEL_WIDTH, "Value");
    print_value(row, base64, arena);
    printf("\n");
}

static int query_failed(struct run *run) {
    fprintf(stderr, "Error querying Consul agent: %s\n", run->text.s);
    return 1;
}

static int get_keys(struct run *run, const char *key, const char *separator, bool all) {
    struct list {
        struct str_list keys;
    } list = {0};
    static const struct decode_field fields[] = {
        DECODE_FIELD(struct list, keys, "keys", DECODE_STR_LIST)};
    static const struct decode_spec spec = {"keys", sizeof(struct list), fields, 1, true};
    const struct client_query queries[] = {{"keys", NULL}, {"separator", separator}};
    struct client_answer answer;
    const char *path = arena_format(&run->arena, "/v1/kv/%s", client_escape_path(key, &run->arena));
    enum err err = client_exchange(run->client, "GET", path, queries, all ? 1 : 2, NULL, 0, &answer,
                                   &run->text);
    if (err == ERR_OK && answer.status == 200) {
        const char *object =
            arena_format(&run->arena, "{\"keys\":%.*s}", (int)answer.body.count, answer.body.data);
        err =
            decode_json(&spec, DECODE_BODY, object, strlen(object), &run->arena, &list, &run->text);
    } else if (err == ERR_OK && answer.status != 404) {
        err = client_refusal(&answer, &run->text);
    }
    buf_clear(&answer.body);
    for (uint32_t i = 0; err == ERR_OK && i < list.keys.count; i++) {
        printf("%s\n", list.keys.v[i]);
    }
    return err != ERR_OK ? query_failed(run) : 0;
}

static int get_rows(struct run *run, const char *key, bool recurse, bool detailed, bool base64) {
    static const struct client_query queries[] = {{"recurse", NULL}};
    struct decode_objects rows;
    uint64_t index;
    enum err err =
        kv_get(run->client, key, queries, recurse, &run->arena, &rows, &index, &run->text);
    if (err == ERR_NOT_FOUND && !recurse) {
        fprintf(stderr, "Error! No key exists at: %s\n", key);
        return 1;
    }
    if (err != ERR_OK && err != ERR_NOT_FOUND) {
        return query_failed(run);
    }
    const struct kv_row *row = rows.v;
    for (uint32_t i = 0; i < rows.count; i++, row++) {
        if (detailed) {
            printf("%s", i > 0 ? "\n" : "");
            print_detailed(row, base64, &run->arena);
        } else {
            printf("%s%s", recurse ? row->key : "", recurse ? ":" : "");
            print_value(row, base64, &run->arena);
            printf("\n");
        }
    }
    return 0;
}

int command_kv_get(int argc, char **argv) {
    bool base64 = false, detailed = false, keys = false, recurse = false;
    const char *separator = "/";
    const struct command_flag flags[] = {
        {"base64", COMMAND_FLAG_BOOL, &base64, "Prints values in base64."},
        {"detailed", COMMAND_FLAG_BOOL, &detailed, "Prints what belongs to each key."},
        {"keys", COMMAND_FLAG_BOOL, &keys, "Lists keys with the prefix instead of values."},
        {"recurse", COMMAND_FLAG_BOOL, &recurse, "All keys with the prefix."},
        {"separator", COMMAND_FLAG_STR, &separator, "Where -keys cuts keys; / by default."},
    };
    const struct command_spec spec = {"kv get [options] [KEY_OR_PREFIX]",
                                      "  Prints the value of a key, or lists keys.", flags,
                                      COUNT(flags), SETS};
    struct run run;
    int code = 1;
    if (!begin(&run, &spec, argc, argv, &code)) {
        return end(&run, code);
    }
    const char *key = without_slash(argument(&run));
    if (run.line.arg_count > 1) {
        fprintf(stderr, "Error! Too many arguments (expected 1, got %d)\n", run.line.arg_count);
        return end(&run, 1);
    }
    if (*key == '\0' && !keys && !recurse) {
        return complain(&run, "Error! Missing KEY argument");
    }
    if (connect_to_agent(&run)) {
        code = keys ? get_keys(&run, key, separator, recurse)
                    : get_rows(&run, key, recurse, detailed, base64);
    }
    return end(&run, code);
}

/* ---- put ---- */

struct put {
    bool cas, base64, acquire, release;
    int64_t modify_index;
    const char *flags, *session;
};

static size_t put_queries(struct run *run, const struct put *put, struct client_query *queries) {
    size_t count = 0;
    if (strcmp(put->flags, "0") != 0) {
        queries[count++] = (struct client_query){"flags", put->flags};
    }
    if (put->cas) {
        queries[count++] = (struct client_query){
            "cas", arena_format(&run->arena, "%lld", (long long)put->modify_index)};
    } else if (put->acquire || put->release) {
        queries[count++] =
            (struct client_query){put->acquire ? "acquire" : "release", put->session};
    }
    return count;
}

static int put_done(const struct put *put, const char *key, bool yes) {
    if (yes) {
        printf("Success! %s: %s\n",
               put->cas       ? "Data written to"
               : put->acquire ? "Lock acquired on"
               : put->release ? "Lock released on"
                              : "Data written to",
               key);
    } else if (put->cas) {
        fprintf(stderr, "Error! Did not write to %s: CAS %s\n", key,
                put->modify_index == 0 ? "performed with index=0 and key already exists."
                                       : "failed");
    } else if (put->acquire || put->release) {
        fprintf(stderr, "Error! Did not %s lock\n", put->acquire ? "acquire" : "release");
    } else {
        fprintf(stderr, "Error! Did not write to %s\n", key);
    }
    return yes ? 0 : 1;
}

static int write_value(struct run *run, const struct put *put, const char *key,
                       const struct buf *data) {
    struct client_query queries[2];
    const uint8_t *bytes = (const uint8_t *)data->data;
    size_t size = data->count;
    bool yes = false;
    if (put->base64 && base64_decode(arena_strndup(&run->arena, str_or_empty(data->data), size),
                                     &run->arena, &bytes, &size, &run->text) != ERR_OK) {
        fprintf(stderr, "Error! Cannot base 64 decode data: %s\n", run->text.s);
        return 1;
    }
    size_t count = put_queries(run, put, queries);
    if (*key == '/') {
        fprintf(stderr,
                "Error! Failed writing data: Invalid key. Key must not begin with a '/': "
                "%s\n",
                key);
        return 1;
    }
    if (!connect_to_agent(run)) {
        return 1;
    }
    if (kv_write(run->client, "PUT", key, queries, count, bytes, size, &yes, &run->text) !=
        ERR_OK) {
        fprintf(stderr, "Error! Failed writing data: %s\n", run->text.s);
        return 1;
    }
    return put_done(put, key, yes);
}

int command_kv_put(int argc, char **argv) {
    struct put put = {.flags = "0", .session = ""};
    const struct command_flag flags[] = {
        {"acquire", COMMAND_FLAG_BOOL, &put.acquire, "Takes the lock on the key for -session."},
        {"base64", COMMAND_FLAG_BOOL, &put.base64, "The data is base64."},
        {"cas", COMMAND_FLAG_BOOL, &put.cas, "Only if the key's index is -modify-index."},
        {"flags", COMMAND_FLAG_STR, &put.flags, "A number of your own, kept beside the value."},
        {"modify-index", COMMAND_FLAG_INT, &put.modify_index,
         "For -cas; 0 = only if there is no such key."},
        {"release", COMMAND_FLAG_BOOL, &put.release, "Gives the lock back."},
        {"session", COMMAND_FLAG_STR, &put.session, "Id of the session, for -acquire, -release."},
    };
    const struct command_spec spec = {
        "kv put [options] KEY [DATA]",
        "  Writes a key. DATA is the value; @FILE is read, and - is standard input.", flags,
        COUNT(flags), SETS};
    struct run run;
    struct buf data;
    uint64_t number;
    int code = 1;
    if (!begin(&run, &spec, argc, argv, &code)) {
        return end(&run, code);
    }
    if (run.line.arg_count == 0) {
        return complain(&run, "Error! Missing KEY argument");
    }
    if (run.line.arg_count > 2) {
        fprintf(stderr, "Error! Too many arguments (expected 1 or 2, got %d)\n",
                run.line.arg_count);
        return end(&run, 1);
    }
    if ((put.acquire || put.release) && *put.session == '\0') {
        return complain(&run, "Error! Missing -session (required with -acquire and -release)");
    }
    if (!str_parse_u64(put.flags, &number)) {
        fprintf(stderr, "invalid value \"%s\" for flag -flags: parse error\n", put.flags);
        return end(&run, 1);
    }
    buf_init(&data, DATA_BYTES_MAX);
    if (run.line.arg_count > 1 && command_load_data(run.line.args[1], &data, &run.text) != ERR_OK) {
        fprintf(stderr, "Error! %s\n", run.text.s);
    } else {
        code = write_value(&run, &put, argument(&run), &data);
    }
    buf_clear(&data);
    return end(&run, code);
}

/* ---- delete ---- */

static const char *judge_delete(const char *key, bool cas, bool recurse, int64_t index) {
    if (*key == '\0' && !recurse) {
        return "Error! Missing KEY argument";
    }
    if (index != 0 && !cas) {
        return "Cannot specify -modify-index without -cas!";
    }
    if (cas && recurse) {
        return "Cannot specify both -cas and -recurse!";
    }
    if (cas && index == 0) {
        return "Cannot delete a key that does not exist. Provide a -modify-index greater than than "
               "0.";
    }
    return NULL;
}

int command_kv_delete(int argc, char **argv) {
    bool cas = false, recurse = false, yes = false;
    int64_t modify_index = 0;
    const struct command_flag flags[] = {
        {"cas", COMMAND_FLAG_BOOL, &cas, "Only if the key's index is -modify-index."},
        {"modify-index", COMMAND_FLAG_INT, &modify_index, "For -cas."},
        {"recurse", COMMAND_FLAG_BOOL, &recurse, "All keys that begin so."},
    };
    const struct command_spec spec = {"kv delete [options] KEY_OR_PREFIX",
                                      "  Deletes a key, or all keys with a prefix.", flags,
                                      COUNT(flags), SETS};
    struct run run;
    int code = 1;
    if (!begin(&run, &spec, argc, argv, &code)) {
        return end(&run, code);
    }
    const char *key = without_slash(argument(&run));
    const char *wrong = judge_delete(key, cas, recurse, modify_index);
    if (wrong != NULL) {
        return complain(&run, wrong);
    }
    if (!connect_to_agent(&run)) {
        return end(&run, 1);
    }
    const struct client_query query = {
        recurse ? "recurse" : "cas",
        recurse ? NULL : arena_format(&run.arena, "%lld", (long long)modify_index)};
    if (kv_write(run.client, "DELETE", key, &query, recurse || cas, NULL, 0, &yes, &run.text) !=
        ERR_OK) {
        fprintf(stderr, "Error! Did not delete %s %s: %s\n", recurse ? "prefix" : "key", key,
                run.text.s);
    } else if (!yes) {
        fprintf(stderr, "Error! Did not delete key %s: CAS failed\n", key);
    } else {
        printf("Success! Deleted key%s: %s\n", recurse ? "s with prefix" : "", key);
        code = 0;
    }
    return end(&run, yes ? 0 : 1);
}

/* ---- export and import ---- */

int command_kv_export(int argc, char **argv) {
    const struct command_spec spec = {"kv export [options] [PREFIX]",
                                      "  Prints all keys with the prefix, with their values, as "
                                      "JSON.",
                                      NULL, 0, SETS};
    static const struct client_query recurse = {"recurse", NULL};
    struct run run;
    struct decode_objects rows;
    uint64_t index;
    int code = 1;
    if (!begin(&run, &spec, argc, argv, &code)) {
        return end(&run, code);
    }
    if (run.line.arg_count > 1) {
        fprintf(stderr, "Error! Too many arguments (expected 1, got %d)\n", run.line.arg_count);
        return end(&run, 1);
    }
    if (!connect_to_agent(&run)) {
        return end(&run, 1);
    }
    enum err err = kv_get(run.client, without_slash(argument(&run)), &recurse, 1, &run.arena, &rows,
                          &index, &run.text);
    if (err != ERR_OK && err != ERR_NOT_FOUND) {
        return end(&run, query_failed(&run));
    }
    const struct kv_row *row = rows.v;
    printf("[");
    for (uint32_t i = 0; i < rows.count; i++, row++) {
        struct buf key;
        struct json json;
        buf_init(&key, DATA_BYTES_MAX);
        json_init(&json, &key, false);
        json_str(&json, row->key);
        printf("%s\n\t{\n\t\t\"key\": %.*s,\n\t\t\"flags\": %llu,\n\t\t\"value\": \"%s\"\n\t}",
               i > 0 ? "," : "", (int)key.count, key.data, (unsigned long long)row->flags,
               row->value);
        buf_clear(&key);
    }
    printf("%s]\n", rows.count > 0 ? "\n" : "");
    return end(&run, 0);
}

/* prefix and key as one clean path; a slash at the key's end stays. */
static const char *join(const char *prefix, const char *key, struct arena *arena) {
    const char *out = "";
    const char *path = arena_format(arena, "%s/%s", prefix, key);
    size_t size = strlen(key);
    for (const char *at = path; *at != '\0';) {
        at += strspn(at, "/");
        size_t part = strcspn(at, "/");
        if (part == 2 && memcmp(at, "..", 2) == 0) {
            const char *last = strrchr(out, '/');
            out = last != NULL ? arena_strndup(arena, out, (size_t)(last - out)) : "";
        } else if (part > 0 && !(part == 1 && *at == '.')) {
            out = arena_format(arena, "%s%s%.*s", out, *out != '\0' ? "/" : "", (int)part, at);
        }
        at += part;
    }
    return size > 0 && key[size - 1] == '/' ? arena_format(arena, "%s/", out) : out;
}

static int import(struct run *run, const char *prefix, const struct buf *data) {
    struct decode_objects rows;
    if (decode_json_list(&kv_row_spec, data->data, data->count, &run->arena, &rows, &run->text) !=
        ERR_OK) {
        fprintf(stderr, "Cannot unmarshal data: %s\n", run->text.s);
        return 1;
    }
    if (!connect_to_agent(run)) {
        return 1;
    }
    const struct kv_row *row = rows.v;
    for (uint32_t i = 0; i < rows.count; i++, row++) {
        const uint8_t *value;
        size_t size;
        bool yes;
        const char *key = join(prefix, str_or_empty(row->key), &run->arena);
        const struct client_query flags = {
            "flags", arena_format(&run->arena, "%llu", (unsigned long long)row->flags)};
        if (base64_decode(str_or_empty(row->value), &run->arena, &value, &size, &run->text) !=
            ERR_OK) {
            fprintf(stderr, "Error base 64 decoding value for key %s: %s\n", key, run->text.s);
            return 1;
        }
        if (kv_write(run->client, "PUT", key, &flags, row->flags != 0, value, size, &yes,
                     &run->text) != ERR_OK) {
            fprintf(stderr, "Error! Failed writing data for key %s: %s\n", key, run->text.s);
            return 1;
        }
        printf("Imported: %s\n", key);
    }
    return 0;
}

int command_kv_import(int argc, char **argv) {
    const char *prefix = "";
    const struct command_flag flags[] = {
        {"prefix", COMMAND_FLAG_STR, &prefix, "Put before each key."}};
    const struct command_spec spec = {
        "kv import [options] DATA",
        "  Writes the keys of an export. @FILE is read, and - is standard input.", flags,
        COUNT(flags), SETS};
    struct run run;
    struct buf data;
    int code = 1;
    if (!begin(&run, &spec, argc, argv, &code)) {
        return end(&run, code);
    }
    if (run.line.arg_count != 1) {
        fprintf(stderr, "Error! %s\n",
                run.line.arg_count == 0 ? "Missing DATA argument" : "Too many arguments");
        return end(&run, 1);
    }
    buf_init(&data, DATA_BYTES_MAX);
    if (command_load_data(argument(&run), &data, &run.text) != ERR_OK) {
        fprintf(stderr, "Error! %s\n", run.text.s);
    } else if (data.count == 0) {
        fprintf(stderr, "Error! Data is empty\n");
    } else {
        code = import(&run, prefix, &data);
    }
    buf_clear(&data);
    return end(&run, code);
}
