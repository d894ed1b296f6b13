#include "agent/archive.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/assert.h"
#include "base/decode.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"

#define FORMAT "cairn 1" /* of state.bin */
#define BLOCK 512        /* of tar (POSIX.1-1988 ustar) */
#define SUM_BYTES 32
#define GZIP_BITS (15 + 16)

/* ---- tar ---- */

static void put_number(char *to, size_t digits, uint64_t value) {
    char text[32];
    snprintf(text, sizeof text, "%0*llo", (int)digits, (unsigned long long)value);
    memcpy(to, text, digits + 1);
}

static void put_head(char head[BLOCK], const char *name, size_t size, int64_t wall_ms) {
    unsigned sum = 0;
    memset(head, 0, BLOCK);
    snprintf(head, 100, "%s", name);
    put_number(head + 100, 7, 0600);
    put_number(head + 108, 7, 0);
    put_number(head + 116, 7, 0);
    put_number(head + 124, 11, size);
    put_number(head + 136, 11, (uint64_t)wall_ms / 1000);
    memset(head + 148, ' ', 8);
    head[156] = '0';
    memcpy(head + 257, "ustar\00000", 8);
    for (size_t i = 0; i < BLOCK; i++) {
        sum += (unsigned char)head[i];
    }
    put_number(head + 148, 6, sum);
}

static void pad(struct buf *tar) {
    static const char zeros[BLOCK];
    buf_append(tar, zeros, (BLOCK - tar->count % BLOCK) % BLOCK);
}

static void put_file(struct buf *tar, const char *name, const void *data, size_t size,
                     int64_t wall_ms) {
    char head[BLOCK];
    put_head(head, name, size, wall_ms);
    buf_append(tar, head, BLOCK);
    buf_append(tar, data, size);
    pad(tar);
}

/* ---- writing ---- */

static void sum_of(const void *data, size_t size, char ret_hex[2 * SUM_BYTES + 1]) {
    uint8_t sum[SUM_BYTES];
    unsigned bytes = 0;
    ASSERT(EVP_Digest(data, size, sum, &bytes, EVP_sha256(), NULL) == 1 && bytes == SUM_BYTES);
    for (size_t i = 0; i < SUM_BYTES; i++) {
        snprintf(ret_hex + 2 * i, 3, "%02x", sum[i]);
    }
}

static enum err put_state(void *context, const void *data, size_t size) {
    struct buf *tar = context;
    buf_append(tar, data, size);
    return tar->failed ? ERR_TOO_LARGE : ERR_OK;
}

static void put_meta(struct buf *out, uint64_t index, uint64_t term, int64_t wall_ms,
                     size_t state_size) {
    struct json json;
    char id[64];
    snprintf(id, sizeof id, "%llu-%llu-%lld", (unsigned long long)term, (unsigned long long)index,
             (long long)wall_ms);
    json_init(&json, out, false);
    json_object_begin(&json);
    json_member_str(&json, "Format", FORMAT);
    json_member_u64(&json, "Version", 1);
    json_member_str(&json, "ID", id);
    json_member_u64(&json, "Index", index);
    json_member_u64(&json, "Term", term);
    json_member_u64(&json, "Size", state_size);
    json_object_end(&json);
}

static enum err compress_all(const struct buf *tar, struct buf *out, struct err_text *text) {
    z_stream stream = {0};
    if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, GZIP_BITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        return err_set(text, ERR_NO_SPACE, "failed to compress snapshot");
    }
    char piece[64 * 1024];
    int result = Z_OK;
    stream.next_in = (Bytef *)tar->data;
    stream.avail_in = (uInt)tar->count;
    while (result == Z_OK) {
        stream.next_out = (Bytef *)piece;
        stream.avail_out = sizeof piece;
        result = deflate(&stream, Z_FINISH);
        buf_append(out, piece, sizeof piece - stream.avail_out);
    }
    deflateEnd(&stream);
    return result == Z_STREAM_END && !out->failed
               ? ERR_OK
               : err_set(text, ERR_TOO_LARGE, "the snapshot is too large");
}

enum err archive_write(const struct catalog_view *view, uint64_t term, int64_t wall_ms,
                       struct buf *out, struct err_text *text) {
    struct buf tar, meta;
    char head[BLOCK], sum[2 * SUM_BYTES + 1], sums[2 * (2 * SUM_BYTES + 32)];
    buf_init(&tar, LIMIT_ARCHIVE_BYTES);
    buf_init(&meta, 4096);
    memset(head, 0, sizeof head);
    buf_append(&tar, head, BLOCK); /* of state.bin, filled in once its size is known */
    enum err err = catalog_snapshot(view, put_state, &tar);
    if (err != ERR_OK || tar.failed) {
        err = err_set(text, ERR_TOO_LARGE, "the snapshot is too large");
    } else {
        size_t size = tar.count - BLOCK;
        put_head(tar.data, "state.bin", size, wall_ms);
        put_meta(&meta, view_applied(view), term, wall_ms, size);
        sum_of(tar.data + BLOCK, size, sum);
        int used = snprintf(sums, sizeof sums, "%s  state.bin\n", sum);
        sum_of(meta.data, meta.count, sum);
        used += snprintf(sums + used, sizeof sums - (size_t)used, "%s  meta.json\n", sum);
        pad(&tar);
        put_file(&tar, "meta.json", meta.data, meta.count, wall_ms);
        put_file(&tar, "SHA256SUMS", sums, (size_t)used, wall_ms);
        memset(head, 0, sizeof head);
        buf_append(&tar, head, BLOCK);
        buf_append(&tar, head, BLOCK);
        err = compress_all(&tar, out, text);
    }
    buf_clear(&tar);
    buf_clear(&meta);
    return err;
}

/* ---- reading ---- */

static enum err decompress(const void *data, size_t size, struct buf *tar, struct err_text *text) {
    z_stream stream = {0};
    if (size == 0 || size > UINT32_MAX || inflateInit2(&stream, GZIP_BITS) != Z_OK) {
        return err_set(text, ERR_REFUSED, "failed to decompress snapshot: EOF");
    }
    char piece[64 * 1024];
    int result = Z_OK;
    stream.next_in = (Bytef *)(uintptr_t)data;
    stream.avail_in = (uInt)size;
    while (result == Z_OK && !tar->failed) {
        stream.next_out = (Bytef *)piece;
        stream.avail_out = sizeof piece;
        result = inflate(&stream, Z_NO_FLUSH);
        buf_append(tar, piece, sizeof piece - stream.avail_out);
    }
    inflateEnd(&stream);
    if (tar->failed) {
        return err_set(text, ERR_REFUSED, "failed to decompress snapshot: it is too large");
    }
    return result == Z_STREAM_END ? ERR_OK
                                  : err_set(text, ERR_REFUSED, "failed to decompress snapshot: %s",
                                            result == Z_DATA_ERROR ? "gzip: invalid header or data"
                                                                   : "unexpected EOF");
}

struct part {
    const char *data;
    size_t size;
};

/* False: the archive is not one, or ends early. */
static bool next_file(const struct buf *tar, size_t *at, char name[101], struct part *ret_part) {
    const char *head = tar->data + *at;
    if (*at + BLOCK > tar->count || head[0] == '\0') {
        return false;
    }
    char digits[13] = "";
    memcpy(name, head, 100);
    name[100] = '\0';
    memcpy(digits, head + 124, 12);
    unsigned long long size = strtoull(digits, NULL, 8);
    if (size > tar->count - *at - BLOCK) {
        return false;
    }
    *ret_part = (struct part){head + BLOCK, (size_t)size};
    *at += BLOCK + ((size_t)size + BLOCK - 1) / BLOCK * BLOCK;
    return true;
}

struct meta {
    const char *format, *id;
    uint64_t index, term;
};

static const struct decode_field meta_fields[] = {
    DECODE_FIELD(struct meta, format, "Format", DECODE_STR),
    DECODE_FIELD(struct meta, id, "ID", DECODE_STR),
    DECODE_FIELD(struct meta, index, "Index", DECODE_U64),
    DECODE_FIELD(struct meta, term, "Term", DECODE_U64),
};
static const struct decode_spec meta_spec = {"SnapshotMeta", sizeof(struct meta), meta_fields,
                                             sizeof meta_fields / sizeof meta_fields[0], true};

static enum err take_meta(struct archive *archive, const struct part *part, struct err_text *text) {
    struct meta meta = {.format = "", .id = ""};
    struct arena arena;
    struct err_text odd = {""};
    arena_init(&arena);
    enum err err =
        decode_json(&meta_spec, DECODE_BODY, part->data, part->size, &arena, &meta, &odd);
    if (err != ERR_OK) {
        err_set(text, ERR_REFUSED, "failed to read snapshot file: meta.json: %.200s", odd.s);
    } else if (strcmp(meta.format, FORMAT) != 0) {
        err = err_set(text, ERR_REFUSED,
                      "failed to read snapshot file: it was not written by this program or is of a "
                      "newer version");
    }
    archive->index = meta.index;
    archive->term = meta.term;
    snprintf(archive->id, sizeof archive->id, "%s", meta.id);
    arena_clear(&arena);
    return err == ERR_OK ? ERR_OK : ERR_REFUSED;
}

static bool has_sum(const struct part *sums, const char *name, const struct part *part) {
    char sum[2 * SUM_BYTES + 1], line[2 * SUM_BYTES + 32];
    sum_of(part->data, part->size, sum);
    int size = snprintf(line, sizeof line, "%s  %s\n", sum, name);
    for (size_t at = 0; at + (size_t)size <= sums->size; at++) {
        if (memcmp(sums->data + at, line, (size_t)size) == 0) {
            return true;
        }
    }
    return false;
}

enum err archive_read(const void *data, size_t size, struct archive *ret_archive,
                      struct err_text *text) {
    struct part state = {0}, meta = {0}, sums = {0}, part;
    char name[101];
    size_t at = 0;
    *ret_archive = (struct archive){.index = 0};
    buf_init(&ret_archive->tar, LIMIT_ARCHIVE_BYTES);
    enum err err = decompress(data, size, &ret_archive->tar, text);
    if (err != ERR_OK) {
        return err;
    }
    while (next_file(&ret_archive->tar, &at, name, &part)) {
        struct part *to = strcmp(name, "state.bin") == 0    ? &state
                          : strcmp(name, "meta.json") == 0  ? &meta
                          : strcmp(name, "SHA256SUMS") == 0 ? &sums
                                                            : NULL;
        if (to != NULL) {
            *to = part;
        }
    }
    if (state.data == NULL || meta.data == NULL || sums.data == NULL) {
        return err_set(text, ERR_REFUSED,
                       "failed to read snapshot file: meta.json, state.bin or SHA256SUMS is "
                       "missing");
    }
    if (!has_sum(&sums, "meta.json", &meta) || !has_sum(&sums, "state.bin", &state)) {
        return err_set(text, ERR_REFUSED,
                       "failed checking integrity of snapshot: hash check failed");
    }
    ret_archive->state = (const uint8_t *)state.data;
    ret_archive->state_size = state.size;
    return take_meta(ret_archive, &meta, text);
}

int64_t archive_read_state(void *context, void *data, size_t size) {
    struct archive_reader *reader = context;
    size_t left = reader->archive->state_size - reader->at;
    size = size < left ? size : left;
    memcpy(data, reader->archive->state + reader->at, size);
    reader->at += size;
    return (int64_t)size;
}

void archive_clear(struct archive *archive) {
    buf_clear(&archive->tar);
}
