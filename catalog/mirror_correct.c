/* Corrections: while a mirror's source is lost, what somebody here knows better takes the place of
 * its rows. The rows of each node that is corrected are kept as the source told them. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "catalog/mirror_internal.h"
#include "catalog/row.h"

struct correction {
    struct correction *next;
    struct buf was; /* records */
    char node[];
};

/* ---- as the source told it ---- */

static void keep_record(struct buf *out, const struct codec_record *row) {
    struct mirror_record record = {.kind = MIRROR_ROW, .row = *row};
    codec_encode_mirror(&record, out);
}

static bool keep_service(const struct catalog_service *service, void *context) {
    struct codec_record row = {.kind = RECORD_SERVICE, .service = *service};
    keep_record(context, &row);
    return true;
}

static bool keep_check(const struct catalog_check *check, void *context) {
    struct codec_record row = {.kind = RECORD_CHECK, .check = *check};
    keep_record(context, &row);
    return true;
}

/* False: it has too many to be corrected. One that is corrected again after another is kept twice;
 * they are taken back in turn, newest first. */
static bool keep_rows(struct mirror *mirror, const char *node) {
    const struct catalog_view *view = &mirror->catalog->next;
    const struct catalog_node *known = view_get_node(view, node);
    struct buf was;
    if (mirror->corrections != NULL && str_equal_fold(mirror->corrections->node, node)) {
        return true;
    }
    buf_init(&was, LIMIT_MIRROR_BATCH_BYTES);
    if (known != NULL) {
        struct codec_record row = {.kind = RECORD_NODE, .node = *known};
        keep_record(&was, &row);
    }
    view_walk_node_services(view, node, keep_service, &was);
    view_walk_node_checks(view, node, keep_check, &was);
    if (was.failed) {
        buf_clear(&was);
        return false;
    }
    size_t size = strlen(node) + 1;
    struct correction *correction = mem_alloc(sizeof *correction + size);
    memcpy(correction->node, node, size);
    correction->was = was;
    correction->next = mirror->corrections;
    mirror->corrections = correction;
    return true;
}

static struct correction *take_first(struct mirror *mirror) {
    struct correction *first = mirror->corrections;
    if (first != NULL) {
        mirror->corrections = first->next;
    }
    return first;
}

static void free_correction(struct correction *correction) {
    buf_clear(&correction->was);
    free(correction);
}

void mirror_take_back(struct mirror_apply *apply) {
    struct correction *correction;
    apply->mirror->corrected = apply->catalog->next.corrected = false;
    while ((correction = take_first(apply->mirror)) != NULL) {
        mirror_drop_rows(apply, correction->node);
        enum err err =
            codec_decode_mirror((const uint8_t *)correction->was.data, correction->was.count,
                                &apply->arena, mirror_apply_record, apply);
        ASSERT(err == ERR_OK);
        free_correction(correction);
    }
}

void mirror_free_corrections(struct mirror *mirror) {
    struct correction *correction;
    while ((correction = take_first(mirror)) != NULL) {
        free_correction(correction);
    }
}

/* ---- what is known better ---- */

bool mirror_is_corrected(const struct mirror *mirror) {
    return mirror->corrected;
}

void mirror_correct_undo(struct mirror *mirror) {
    struct mirror_apply apply;
    mirror_begin(&apply, mirror);
    mirror_take_back(&apply);
    mirror_end(&apply);
}

void mirror_correct_begin(struct mirror *mirror) {
    ASSERT(mirror->correcting == NULL && !mirror->all);
    mirror->correcting = mem_alloc(sizeof *mirror->correcting);
    mirror_begin(mirror->correcting, mirror);
    mirror_take_back(mirror->correcting);
    mirror_settle(mirror->correcting);
}

const struct catalog_view *mirror_correct_view(const struct mirror *mirror) {
    return &mirror->catalog->next;
}

static void change(struct mirror *mirror, const char *node, const struct mirror_record *record) {
    if (keep_rows(mirror, node)) {
        mirror_apply_record(record, mirror->correcting);
    }
}

static void put(struct mirror *mirror, const char *node, const struct codec_record *row) {
    struct mirror_record record = {.kind = MIRROR_ROW, .row = *row};
    change(mirror, node, &record);
}

/* A row that is there but for its indexes stays. */
static bool put_service(const struct catalog_service *service, void *context) {
    struct mirror *mirror = context;
    const struct catalog_service *known =
        view_get_service(&mirror->catalog->next, service->node, service->id);
    struct codec_record row = {.kind = RECORD_SERVICE, .service = *service};
    if (known == NULL || !row_equal_service(known, service)) {
        put(mirror, service->node, &row);
    }
    return true;
}

static bool put_check(const struct catalog_check *check, void *context) {
    struct mirror *mirror = context;
    const struct catalog_check *known =
        view_get_check(&mirror->catalog->next, check->node, check->id);
    struct codec_record row = {.kind = RECORD_CHECK, .check = *check};
    if (known == NULL || !row_equal_check(known, check)) {
        put(mirror, check->node, &row);
    }
    return true;
}

/* What the mirror has of the node and is not there. */
struct gone {
    const struct catalog_view *from;
    struct mirror_record *v;
    size_t count, capacity;
};

static void add_gone(struct gone *gone, enum mirror_row_kind kind, const char *node,
                     const char *id) {
    if (gone->count == gone->capacity) {
        gone->capacity = gone->capacity == 0 ? 8 : 2 * gone->capacity;
        gone->v = mem_realloc(gone->v, gone->capacity * sizeof *gone->v);
    }
    gone->v[gone->count++] = (struct mirror_record){.kind = MIRROR_GONE, .gone = {kind, node, id}};
}

static bool look_at_service(const struct catalog_service *service, void *context) {
    struct gone *gone = context;
    const struct catalog_service *now = view_get_service(gone->from, service->node, service->id);
    if (now == NULL || !str_equal_fold(now->name, service->name)) {
        add_gone(gone, MIRROR_SERVICE, service->node, service->id);
    }
    return true;
}

static bool look_at_check(const struct catalog_check *check, void *context) {
    struct gone *gone = context;
    const struct catalog_check *now = view_get_check(gone->from, check->node, check->id);
    if ((now == NULL || !str_equal_fold(now->service_id, check->service_id)) &&
        !str_equal_fold(check->id, CATALOG_AGENT_CHECK)) {
        add_gone(gone, MIRROR_CHECK, check->node, check->id);
    }
    return true;
}

static void take_gone(struct mirror *mirror, const char *node, const struct catalog_view *from) {
    const struct catalog_view *view = &mirror->catalog->next;
    struct gone gone = {.from = from};
    view_walk_node_checks(view, node, look_at_check, &gone);
    view_walk_node_services(view, node, look_at_service, &gone);
    for (size_t i = 0; i < gone.count; i++) {
        change(mirror, node, &gone.v[i]);
    }
    free(gone.v);
}

void mirror_correct_node(struct mirror *mirror, const char *node, const struct catalog_view *from) {
    const struct catalog_view *view = &mirror->catalog->next;
    const struct catalog_node *known = view_get_node(view, node);
    const struct catalog_node *now = from != NULL ? view_get_node(from, node) : NULL;
    if (now == NULL) {
        if (known != NULL && keep_rows(mirror, node)) {
            mirror_drop_rows(mirror->correcting, node);
        }
    } else {
        take_gone(mirror, node, from);
        if (known == NULL || !row_equal_node(known, now)) {
            struct codec_record row = {.kind = RECORD_NODE, .node = *now};
            put(mirror, node, &row);
        }
        view_walk_node_services(from, node, put_service, mirror);
        view_walk_node_checks(from, node, put_check, mirror);
    }
    mirror_settle(mirror->correcting);
}

void mirror_correct_gone(struct mirror *mirror, const char *node, const char *service_id) {
    struct mirror_record record = {.kind = MIRROR_GONE, .gone = {MIRROR_SERVICE, node, service_id}};
    change(mirror, node, &record);
}

void mirror_correct_check(struct mirror *mirror, const struct catalog_check *check) {
    const struct catalog_check *known =
        view_get_check(&mirror->catalog->next, check->node, check->id);
    struct codec_record row = {.kind = RECORD_CHECK, .check = *check};
    if (known != NULL) {
        row.check.create_index = known->create_index;
        row.check.modify_index = known->modify_index;
    }
    put(mirror, check->node, &row);
    mirror_settle(mirror->correcting);
}

void mirror_correct_end(struct mirror *mirror) {
    mirror->corrected = true;
    mirror->catalog->next.corrected = mirror->corrections != NULL;
    mirror_end(mirror->correcting);
    free(mirror->correcting);
    mirror->correcting = NULL;
}
