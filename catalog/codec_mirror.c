#include "catalog/codec_mirror.h"

#include <string.h>

#include "base/limits.h"
#include "catalog/codec_parts.h"

void codec_encode_mirror(const struct mirror_record *record, struct buf *out) {
    Pb__MirrorRecord pb;
    pb__mirror_record__init(&pb);
    Pb__MirrorGone gone = PB__MIRROR_GONE__INIT;
    Pb__MirrorTouch touch = PB__MIRROR_TOUCH__INIT;
    struct buf row;
    buf_init(&row, LIMIT_ENTRY_BYTES);
    switch (record->kind) {
    case MIRROR_ROW:
        codec_encode_record(&record->row, &row);
        pb.kind_case = PB__MIRROR_RECORD__KIND_ROW;
        pb.row = (ProtobufCBinaryData){row.count, (uint8_t *)row.data};
        break;
    case MIRROR_GONE:
        gone.kind = record->gone.kind;
        gone.node = writable(record->gone.node);
        gone.id = writable(record->gone.id);
        pb.kind_case = PB__MIRROR_RECORD__KIND_GONE;
        pb.gone = &gone;
        break;
    case MIRROR_TOUCH:
        touch.node = writable(record->touch.node);
        touch.index = record->touch.index;
        pb.kind_case = PB__MIRROR_RECORD__KIND_TOUCH;
        pb.touch = &touch;
        break;
    case MIRROR_READY:
        pb.kind_case = PB__MIRROR_RECORD__KIND_READY;
        pb.ready = writable(record->ready);
        break;
    }
    Pb__MirrorRecord *records[] = {&pb};
    Pb__MirrorBatch batch;
    pb__mirror_batch__init(&batch);
    batch.n_records = 1;
    batch.records = records;
    char *to = buf_reserve(out, pb__mirror_batch__get_packed_size(&batch));
    if (to != NULL && !row.failed) {
        out->count += pb__mirror_batch__pack(&batch, (uint8_t *)to);
    }
    out->failed |= row.failed;
    buf_clear(&row);
}

static void *allocate(void *context, size_t size) {
    return arena_alloc(context, size);
}

static void release(void *context, void *block) {
    (void)context;
    (void)block;
}

static bool is_name(const char *name) {
    return strlen(name) <= LIMIT_NAME_BYTES;
}

/* Rows are held to what their source holds them to. */
static enum err judge_row(const struct codec_record *row) {
    bool fits = true;
    switch (row->kind) {
    case RECORD_INDEXES:
        break;
    case RECORD_NODE:
        fits = *row->node.name != '\0' && is_name(row->node.name) && is_name(row->node.id);
        break;
    case RECORD_SERVICE:
        fits = is_name(row->service.node) && is_name(row->service.id) && is_name(row->service.name);
        break;
    case RECORD_CHECK:
        fits = is_name(row->check.node) && is_name(row->check.id) && is_name(row->check.service_id);
        break;
    case RECORD_SERVICE_INDEX:
    case RECORD_NODE_INDEX:
        fits = is_name(row->named.name);
        break;
    default:
        return ERR_VERSION;
    }
    return fits ? ERR_OK : ERR_CORRUPT;
}

static enum err decode(const Pb__MirrorRecord *pb, struct arena *arena,
                       struct mirror_record *ret_record) {
    switch (pb->kind_case) {
    case PB__MIRROR_RECORD__KIND_ROW: {
        *ret_record = (struct mirror_record){.kind = MIRROR_ROW};
        enum err err = codec_decode_record(pb->row.data, pb->row.len, arena, &ret_record->row);
        return err == ERR_OK ? judge_row(&ret_record->row) : err;
    }
    case PB__MIRROR_RECORD__KIND_GONE:
        *ret_record = (struct mirror_record){
            .kind = MIRROR_GONE,
            .gone = {(enum mirror_row_kind)pb->gone->kind, pb->gone->node, pb->gone->id}};
        return pb->gone->kind <= MIRROR_CHECK ? ERR_OK : ERR_VERSION;
    case PB__MIRROR_RECORD__KIND_TOUCH:
        *ret_record = (struct mirror_record){.kind = MIRROR_TOUCH,
                                             .touch = {pb->touch->node, pb->touch->index}};
        return ERR_OK;
    case PB__MIRROR_RECORD__KIND_READY:
        *ret_record = (struct mirror_record){.kind = MIRROR_READY, .ready = pb->ready};
        return is_name(pb->ready) ? ERR_OK : ERR_CORRUPT;
    default:
        return ERR_VERSION;
    }
}

enum err codec_decode_mirror(const uint8_t *data, size_t size, struct arena *arena,
                             void (*visit)(const struct mirror_record *record, void *context),
                             void *context) {
    ProtobufCAllocator allocator = {allocate, release, arena};
    Pb__MirrorBatch *pb = pb__mirror_batch__unpack(&allocator, size, data);
    enum err err = pb != NULL ? ERR_OK : ERR_CORRUPT;
    for (size_t i = 0; err == ERR_OK && i < pb->n_records; i++) {
        struct mirror_record record;
        err = decode(pb->records[i], arena, &record);
        if (err == ERR_OK) {
            visit(&record, context);
        }
    }
    return err;
}
