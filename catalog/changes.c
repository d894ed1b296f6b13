#include "catalog/changes.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "catalog/internal.h"

#define BLOCK_BYTES LIMIT_CHANGES_BLOCK_BYTES
#define HEAD_BYTES 20 /* size of the whole, 2 bytes; kind; 0; index; newest */

struct block {
    uint64_t before_index, before_newest; /* of the last change in the blocks before */
    uint64_t last_index, last_newest;     /* none goes back */
    uint32_t used;
    char bytes[BLOCK_BYTES];
};

_Static_assert(HEAD_BYTES + 3 * (LIMIT_NAME_BYTES + 1) <= BLOCK_BYTES, "a change fits a block");

/* Blocks are numbered from 1 on; first <= last < first + count_max. */
struct changes {
    struct block **blocks; /* number modulo count_max */
    uint64_t first, last;
    size_t count_max;
    struct changes_place published; /* end of what is published, */
    uint64_t published_index;       /* up to this index */
    uint64_t newest;                /* see catalog_changes_reach */
};

static struct block *block_at(const struct changes *changes, uint64_t number) {
    return changes->blocks[number % changes->count_max];
}

static void add_block(struct changes *changes, uint64_t before_index, uint64_t before_newest) {
    if (changes->last - changes->first + 1 == changes->count_max) {
        free(block_at(changes, changes->first++));
    }
    changes->last++;
    struct block *block = mem_alloc(sizeof *block);
    block->before_index = block->last_index = before_index;
    block->before_newest = block->last_newest = before_newest;
    block->used = 0;
    changes->blocks[changes->last % changes->count_max] = block;
}

void catalog_changes_reach(struct catalog *catalog, uint64_t newest) {
    struct changes *changes = catalog->changes;
    if (changes != NULL && newest > changes->newest) {
        changes->newest = newest;
    }
}

uint64_t catalog_changes_newest(const struct catalog *catalog) {
    const struct changes *changes = catalog->changes;
    uint64_t now = catalog_now(catalog);
    return changes != NULL && changes->newest > now ? changes->newest : now;
}

void catalog_note_changes(struct catalog *catalog, size_t bytes_max) {
    ASSERT(catalog->changes == NULL);
    struct changes *changes = catalog->changes = mem_calloc(1, sizeof *changes);
    changes->count_max = bytes_max / BLOCK_BYTES > 2 ? bytes_max / BLOCK_BYTES : 2;
    changes->blocks = mem_calloc(changes->count_max, sizeof(struct block *));
    changes->first = 1;
    add_block(changes, catalog_now(catalog), catalog_changes_newest(catalog));
    catalog_changes_publish(catalog);
}

void catalog_changes_destroy(struct changes *changes) {
    for (uint64_t i = changes != NULL ? changes->first : 1; changes != NULL && i <= changes->last;
         i++) {
        free(block_at(changes, i));
    }
    free(changes != NULL ? changes->blocks : NULL);
    free(changes);
}

/* Everything is another: who stands before must begin anew. */
void catalog_changes_reset(struct catalog *catalog) {
    struct changes *changes = catalog->changes;
    if (changes != NULL) {
        while (changes->first <= changes->last) {
            free(block_at(changes, changes->first++));
        }
        add_block(changes, catalog_now(catalog), catalog_changes_newest(catalog));
    }
}

void catalog_changes_publish(struct catalog *catalog) {
    struct changes *changes = catalog->changes;
    if (changes != NULL) {
        const struct block *block = block_at(changes, changes->last);
        changes->published = (struct changes_place){changes->last, block->used};
        changes->published_index = catalog_now(catalog);
    }
}

static char *put_text(char *at, const char *text) {
    size_t size = strlen(text) + 1;
    memcpy(at, text, size);
    return at + size;
}

void catalog_note(struct catalog *catalog, enum change_kind kind, const char *node, const char *id,
                  const char *name) {
    struct changes *changes = catalog->changes;
    if (changes == NULL) {
        return;
    }
    uint32_t size = (uint32_t)(HEAD_BYTES + strlen(node) + strlen(id) + strlen(name) + 3);
    struct block *block = block_at(changes, changes->last);
    if (size > BLOCK_BYTES) {
        return; /* names are bounded before */
    }
    if (block->used + size > BLOCK_BYTES) {
        add_block(changes, block->last_index, block->last_newest);
        block = block_at(changes, changes->last);
    }
    char *at = block->bytes + block->used;
    uint64_t index = block->last_index = catalog_now(catalog);
    uint64_t newest = block->last_newest = catalog_changes_newest(catalog);
    at[0] = (char)(size & 0xff);
    at[1] = (char)(size >> 8);
    at[2] = (char)kind;
    at[3] = 0;
    memcpy(at + 4, &index, sizeof index); /* never leaves this process */
    memcpy(at + 12, &newest, sizeof newest);
    put_text(put_text(put_text(at + HEAD_BYTES, node), id), name);
    block->used += size;
}

void catalog_note_check(struct catalog *catalog, const struct catalog_check *check) {
    const struct catalog_service *service =
        catalog->changes != NULL && *check->service_id != '\0'
            ? view_get_service(&catalog->next, check->node, check->service_id)
            : NULL;
    catalog_note(catalog, CHANGE_CHECK, check->node, check->id,
                 service != NULL ? service->name : "");
}

static uint32_t size_at(const char *at) {
    return (uint32_t)(uint8_t)at[0] | (uint32_t)(uint8_t)at[1] << 8;
}

static uint64_t index_at(const char *at) {
    uint64_t index;
    memcpy(&index, at + 4, sizeof index);
    return index;
}

static uint64_t newest_at(const char *at) {
    uint64_t newest;
    memcpy(&newest, at + 12, sizeof newest);
    return newest;
}

static bool is_before(const struct changes_place *a, const struct changes_place *b) {
    return a->block < b->block || (a->block == b->block && a->offset < b->offset);
}

struct changes_place catalog_changes_end(const struct catalog *catalog) {
    return catalog->changes != NULL ? catalog->changes->published : (struct changes_place){0, 0};
}

bool catalog_has_changes(const struct catalog *catalog, const struct changes_place *place) {
    return catalog->changes != NULL && is_before(place, &catalog->changes->published);
}

/* The start of the next block is another name of a block's end. */
static bool step(const struct changes *changes, struct changes_place *place) {
    const struct block *block = block_at(changes, place->block);
    if (place->offset < block->used) {
        return true;
    }
    if (place->block == changes->last) {
        return false;
    }
    *place = (struct changes_place){place->block + 1, 0};
    return block_at(changes, place->block)->used > 0;
}

bool catalog_find_changes(const struct catalog *catalog, uint64_t index,
                          struct changes_place *ret_place) {
    const struct changes *changes = catalog->changes;
    if (changes == NULL || index > changes->published_index ||
        (index < block_at(changes, changes->first)->before_newest && !MUTANT(forgotten_resumes))) {
        return false;
    }
    struct changes_place place = {changes->last, 0};
    while (place.block > changes->first && block_at(changes, place.block)->before_newest > index) {
        place.block--;
    }
    while (step(changes, &place) && is_before(&place, &changes->published)) {
        const char *at = block_at(changes, place.block)->bytes + place.offset;
        if (newest_at(at) > index) {
            break;
        }
        place.offset += size_at(at);
    }
    *ret_place = place;
    return true;
}

bool catalog_take_changes(const struct catalog *catalog, struct changes_place *place, size_t bytes,
                          struct buf *out, uint64_t *index) {
    const struct changes *changes = catalog->changes;
    if (changes == NULL || place->block < changes->first || place->block > changes->last) {
        return false;
    }
    uint64_t last = *index, before = *index;
    size_t end = out->count + bytes;
    while (step(changes, place) && is_before(place, &changes->published)) {
        const char *at = block_at(changes, place->block)->bytes + place->offset;
        if (out->count >= end) {
            /* More of the same command, or of the same part of a mirror's stream, may come: that
             * stands for several indexes. */
            *index = index_at(at) > last ? last : MUTANT(half_part_counts) ? last - 1 : before;
            return true;
        }
        before = index_at(at) > last ? last : before;
        last = index_at(at) > last ? index_at(at) : last;
        buf_append(out, at, size_at(at));
        place->offset += size_at(at);
    }
    *index = changes->published_index;
    return true;
}

bool change_read(const struct buf *taken, size_t *at, struct change *ret_change) {
    if (*at >= taken->count) {
        return false;
    }
    const char *head = taken->data + *at;
    const char *node = head + HEAD_BYTES;
    const char *id = node + strlen(node) + 1;
    *ret_change = (struct change){.kind = (enum change_kind)head[2],
                                  .index = index_at(head),
                                  .node = node,
                                  .id = id,
                                  .name = id + strlen(id) + 1};
    *at += size_at(head);
    return true;
}
