/* What a command answered, on its way from the leader to the server that was asked. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/limits.h"
#include "base/mem.h"
#include "catalog/codec.h"
#include "catalog/row.h"
#include "proto/catalog.pb-c.h"

static enum codec_record_kind record_kind(enum catalog_row_kind kind) {
    switch (kind) {
    case ROW_KV:
        return RECORD_KV;
    case ROW_NODE:
        return RECORD_NODE;
    case ROW_SERVICE:
        return RECORD_SERVICE;
    case ROW_CHECK:
        break;
    }
    return RECORD_CHECK;
}

static void encode_row(const struct catalog_answer *answer, struct buf *out) {
    struct codec_record record = {.kind = record_kind(answer->kind)};
    switch (answer->kind) {
    case ROW_KV:
        record.kv = answer->row;
        break;
    case ROW_NODE:
        record.node = *(const struct catalog_node *)answer->row;
        break;
    case ROW_SERVICE:
        record.service = *(const struct catalog_service *)answer->row;
        break;
    case ROW_CHECK:
        record.check = *(const struct catalog_check *)answer->row;
        break;
    }
    codec_encode_record(&record, out);
}

void codec_encode_result(const struct catalog_result *result, struct buf *out) {
    struct arena arena;
    Pb__Result pb = PB__RESULT__INIT;
    arena_init(&arena);
    struct buf *rows = arena_alloc(&arena, (result->answer_count + 1) * sizeof *rows);
    pb.unchanged = result->unchanged;
    pb.fence_index = result->fence_index;
    pb.n_answers = result->answer_count;
    pb.answers = arena_alloc(&arena, (result->answer_count + 1) * sizeof *pb.answers);
    for (uint32_t i = 0; i < result->answer_count; i++) {
        pb.answers[i] = arena_alloc(&arena, sizeof **pb.answers);
        pb__answer__init(pb.answers[i]);
        buf_init(&rows[i], LIMIT_ENTRY_BYTES);
        encode_row(&result->answers[i], &rows[i]);
        pb.answers[i]->kind = result->answers[i].kind;
        pb.answers[i]->with_value = result->answers[i].with_value;
        pb.answers[i]->row =
            (ProtobufCBinaryData){rows[i].count, (uint8_t *)(uintptr_t)rows[i].data};
    }
    pb.n_failures = result->failure_count;
    pb.failures = arena_alloc(&arena, (result->failure_count + 1) * sizeof *pb.failures);
    for (uint32_t i = 0; i < result->failure_count; i++) {
        pb.failures[i] = arena_alloc(&arena, sizeof **pb.failures);
        pb__failure__init(pb.failures[i]);
        pb.failures[i]->operation = result->failures[i].operation;
        pb.failures[i]->sentence = result->failures[i].sentence;
    }
    size_t size = pb__result__get_packed_size(&pb);
    char *at = buf_reserve(out, size);
    if (at != NULL) {
        pb__result__pack(&pb, (uint8_t *)at);
        out->count += size;
    }
    for (uint32_t i = 0; i < result->answer_count; i++) {
        buf_clear(&rows[i]);
    }
    arena_clear(&arena);
}

static enum err decode_answer(const Pb__Answer *pb, struct arena *arena,
                              struct catalog_answer *answer) {
    struct codec_record record;
    if (pb->kind > ROW_CHECK) {
        return ERR_VERSION;
    }
    enum err err = codec_decode_record(pb->row.data, pb->row.len, arena, &record);
    *answer = (struct catalog_answer){.kind = (enum catalog_row_kind)pb->kind,
                                      .with_value = pb->with_value};
    if (err != ERR_OK || record.kind != record_kind(answer->kind)) {
        return ERR_CORRUPT;
    }
    answer->row = answer->kind == ROW_KV        ? (void *)row_copy_kv(record.kv)
                  : answer->kind == ROW_NODE    ? (void *)row_copy_node(&record.node)
                  : answer->kind == ROW_SERVICE ? (void *)row_copy_service(&record.service)
                                                : (void *)row_copy_check(&record.check);
    return ERR_OK;
}

enum err codec_decode_result(const uint8_t *data, size_t size, struct catalog_result *ret_result) {
    Pb__Result *pb = pb__result__unpack(NULL, size, data);
    struct catalog_result result = {0};
    struct arena arena;
    enum err err = pb != NULL ? ERR_OK : ERR_CORRUPT;
    arena_init(&arena);
    if (pb != NULL) {
        result.unchanged = pb->unchanged;
        result.fence_index = pb->fence_index;
        result.answers = mem_calloc(pb->n_answers + 1, sizeof *result.answers);
        result.answer_capacity = (uint32_t)pb->n_answers + 1;
    }
    for (size_t i = 0; err == ERR_OK && i < pb->n_answers; i++) {
        err = decode_answer(pb->answers[i], &arena, &result.answers[result.answer_count]);
        result.answer_count += err == ERR_OK;
    }
    for (size_t i = 0; err == ERR_OK && i < pb->n_failures; i++) {
        catalog_result_fail(&result, pb->failures[i]->operation, "%s", pb->failures[i]->sentence);
    }
    arena_clear(&arena);
    if (pb != NULL) {
        pb__result__free_unpacked(pb, NULL);
    }
    if (err != ERR_OK) {
        catalog_result_clear(&result);
        return err;
    }
    *ret_result = result;
    return ERR_OK;
}
