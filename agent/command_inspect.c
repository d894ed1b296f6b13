/* `cairn snapshot inspect` (contract 3.5): what is in a saved snapshot, by kind of record. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/archive.h"
#include "agent/command.h"
#include "agent/command_flags.h"
#include "agent/command_snapshot.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "catalog/codec.h"

#define INDENT_BYTES 11 /* of a name's column, behind the longest name */

struct sum {
    const char *name;
    uint64_t bytes, count;
};

struct sums {
    struct sum *v;
    uint32_t count, capacity;
    uint64_t bytes;
};

struct inspection {
    struct arena arena;
    const struct archive *archive;
    bool kv_details;
    int64_t kv_depth;
    const char *kv_filter;
    struct sums kinds, keys;
};

/* ---- counting ---- */

/* Names that come again later are merged at the end. */
static void add(struct sums *sums, const char *name, uint64_t bytes, struct arena *arena) {
    if (sums->count == 0 || strcmp(sums->v[sums->count - 1].name, name) != 0) {
        if (sums->count == sums->capacity) {
            sums->capacity = sums->capacity * 2 + 16;
            sums->v = mem_realloc(sums->v, sums->capacity * sizeof *sums->v);
        }
        sums->v[sums->count++] = (struct sum){.name = arena_strdup(arena, name)};
    }
    sums->v[sums->count - 1].bytes += bytes;
    sums->v[sums->count - 1].count++;
    sums->bytes += bytes;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct sum *)a)->name, ((const struct sum *)b)->name);
}

static int by_size(const void *a, const void *b) {
    const struct sum *x = a, *y = b;
    return x->bytes != y->bytes ? (x->bytes < y->bytes ? 1 : -1) : strcmp(x->name, y->name);
}

static void merge_and_sort(struct sums *sums) {
    uint32_t kept = 0;
    if (sums->count == 0) {
        return;
    }
    qsort(sums->v, sums->count, sizeof sums->v[0], by_name);
    for (uint32_t i = 1; i < sums->count; i++) {
        if (strcmp(sums->v[kept].name, sums->v[i].name) != 0) {
            sums->v[++kept] = sums->v[i];
        } else {
            sums->v[kept].bytes += sums->v[i].bytes;
            sums->v[kept].count += sums->v[i].count;
        }
    }
    sums->count = kept + 1;
    qsort(sums->v, sums->count, sizeof sums->v[0], by_size);
}

static const char *kind_name(enum codec_record_kind kind) {
    switch (kind) {
    case RECORD_NODE:
    case RECORD_SERVICE:
    case RECORD_CHECK:
        return "Register";
    case RECORD_KV:
        return "KVS";
    case RECORD_SESSION:
        return "Session";
    case RECORD_TOMBSTONE:
        return "Tombstone";
    case RECORD_LOCK_DELAY:
        return "LockDelay";
    case RECORD_AUTOPILOT:
        return "Autopilot";
    case RECORD_REMOVAL:
        return "Removal";
    case RECORD_COORDINATE:
        return "CoordinateBatchUpdate";
    case RECORD_QUERY:
        return "PreparedQuery";
    case RECORD_FAILOVER:
        return "Failover";
    case RECORD_INDEXES:
    case RECORD_SERVICE_INDEX:
    case RECORD_NODE_INDEX:
    case RECORD_END:
        return "Index";
    }
    return "Other"; /* of a newer program */
}

/* The key's first segments. */
static void add_key(struct inspection *in, const char *key, uint64_t bytes, struct arena *arena) {
    size_t size = 0;
    if (strncmp(key, in->kv_filter, strlen(in->kv_filter)) != 0) {
        return;
    }
    for (int64_t depth = 0; key[size] != '\0'; size++) {
        depth += key[size] == '/';
        if (depth == in->kv_depth) {
            break;
        }
    }
    char *prefix = arena_strdup(arena, key);
    prefix[size] = '\0';
    add(&in->keys, prefix, bytes, &in->arena);
}

/* The archive has been read as a whole before: its records are good. */
static void count_records(struct inspection *in) {
    const uint8_t *at = in->archive->state, *end = at + in->archive->state_size;
    while (end - at >= 4) {
        size_t size =
            (size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 | (size_t)at[3] << 24;
        struct codec_record record;
        struct arena arena;
        arena_init(&arena);
        if (size > (size_t)(end - at) - 4 ||
            codec_decode_record(at + 4, size, &arena, &record) != ERR_OK) {
            arena_clear(&arena);
            return;
        }
        add(&in->kinds, kind_name(record.kind), size + 4, &in->arena);
        if (record.kind == RECORD_KV && in->kv_details) {
            add_key(in, catalog_kv_key(record.kv), size + 4, &arena);
        }
        arena_clear(&arena);
        at += 4 + size;
    }
}

/* ---- for people ---- */

static void format_size(uint64_t bytes, char out[32]) {
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    unsigned unit = 0;
    double value = (double)bytes;
    while (value >= 1024 && unit < 4) {
        value /= 1024;
        unit++;
    }
    snprintf(out, 32, "%.1f", value);
    size_t used = strlen(out);
    if (strcmp(out + used - 2, ".0") == 0) {
        out[used - 2] = '\0';
    }
    strcat(out, units[unit]);
}

static void print_row(int width, const char *name, const char *count, const char *size) {
    printf(" %-*s%-11s%s\n", width, name, count, size);
}

static void print_sums(const char *title, const struct sums *sums) {
    size_t longest = strlen(title);
    char size[32], count[32];
    for (uint32_t i = 0; i < sums->count; i++) {
        size_t own = strlen(sums->v[i].name);
        longest = own > longest ? own : longest;
    }
    int width = (int)longest + INDENT_BYTES;
    print_row(width, title, "Count", "Size");
    print_row(width, "----", "----", "----");
    for (uint32_t i = 0; i < sums->count; i++) {
        snprintf(count, sizeof count, "%" PRIu64, sums->v[i].count);
        format_size(sums->v[i].bytes, size);
        print_row(width, sums->v[i].name, count, size);
    }
    print_row(width, "----", "----", "----");
    format_size(sums->bytes, size);
    print_row(width, "Total", "", size);
}

static void print_pretty(struct inspection *in) {
    const struct archive *archive = in->archive;
    printf(" %-13s%s\n %-13s%zu\n %-13s%" PRIu64 "\n %-13s%" PRIu64 "\n %-13s%d\n\n", "ID",
           archive->id, "Size", archive->state_size, "Index", archive->index, "Term", archive->term,
           "Version", 1);
    print_sums("Type", &in->kinds);
    if (in->kv_details) {
        printf("\n");
        print_sums("Key Name", &in->keys);
    }
}

/* ---- as JSON ---- */

static void put_sums(struct json *json, const char *key, const struct sums *sums, bool present) {
    json_key(json, key);
    if (!present) {
        json_null(json);
        return;
    }
    json_array_begin(json);
    for (uint32_t i = 0; i < sums->count; i++) {
        json_object_begin(json);
        json_member_str(json, "Name", sums->v[i].name);
        json_member_u64(json, "Sum", sums->v[i].bytes);
        json_member_u64(json, "Count", sums->v[i].count);
        json_object_end(json);
    }
    json_array_end(json);
}

static void print_json(struct inspection *in) {
    const struct archive *archive = in->archive;
    struct buf out;
    struct json json;
    buf_init(&out, LIMIT_HTTP_ANSWER_BYTES);
    json_init(&json, &out, true);
    json_object_begin(&json);
    json_key(&json, "Meta");
    json_object_begin(&json);
    json_member_str(&json, "ID", archive->id);
    json_member_u64(&json, "Size", archive->state_size);
    json_member_u64(&json, "Index", archive->index);
    json_member_u64(&json, "Term", archive->term);
    json_member_u64(&json, "Version", 1);
    json_object_end(&json);
    put_sums(&json, "Stats", &in->kinds, true);
    put_sums(&json, "StatsKV", &in->keys, in->kv_details);
    json_member_u64(&json, "TotalSize", in->kinds.bytes);
    json_member_u64(&json, "TotalSizeKV", in->keys.bytes);
    json_object_end(&json);
    fwrite(out.data, 1, out.count, stdout);
    printf("\n");
    buf_clear(&out);
}

/* ---- the command ---- */

static int inspect(struct inspection *in, const char *path, bool as_json) {
    struct archive archive = {.index = 0};
    bool good = snapshot_file_open(path, &archive);
    if (good) {
        in->archive = &archive;
        count_records(in);
        merge_and_sort(&in->kinds);
        merge_and_sort(&in->keys);
        (as_json ? print_json : print_pretty)(in);
    }
    archive_clear(&archive);
    free(in->kinds.v);
    free(in->keys.v);
    return good ? 0 : 1;
}

int command_snapshot_inspect(int argc, char **argv) {
    struct inspection in = {.kv_depth = 2, .kv_filter = ""};
    const char *format = "pretty";
    const struct command_flag flags[] = {
        {"format", COMMAND_FLAG_STR, &format, "pretty or json."},
        {"kvdepth", COMMAND_FLAG_INT, &in.kv_depth, "Segments of a key that make its group."},
        {"kvdetails", COMMAND_FLAG_BOOL, &in.kv_details, "Shows the keys by their first segments."},
        {"kvfilter", COMMAND_FLAG_STR, &in.kv_filter, "Only keys with this prefix."}};
    const struct command_spec spec = {"snapshot inspect [options] FILE",
                                      "  Shows what a saved snapshot holds; asks no agent.", flags,
                                      sizeof flags / sizeof flags[0], 0};
    struct command_line line;
    int code = 1;
    arena_init(&in.arena);
    if (command_parse(&spec, argc, argv, &in.arena, &line, &code)) {
        code = 1;
        if (line.arg_count != 1) {
            fprintf(stderr, line.arg_count == 0 ? "Missing FILE argument\n"
                                                : "Too many arguments (expected 1)\n");
        } else if (strcmp(format, "pretty") != 0 && strcmp(format, "json") != 0) {
            fprintf(stderr, "Unknown format: %s\n", format);
        } else if (in.kv_details && in.kv_depth < 1) {
            fprintf(stderr, "-kvdepth must be at least 1\n");
        } else {
            code = inspect(&in, line.args[0], strcmp(format, "json") == 0);
        }
    }
    arena_clear(&in.arena);
    return code;
}
