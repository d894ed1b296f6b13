#include "gossip/descriptor.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/duration.h"
#include "base/hash.h"
#include "base/mem.h"
#include "gossip/message.h"

#define SLOTS_MIN 16

struct gossip_descriptors {
    /* Open addressing by the hash of the bytes; at most half full. */
    struct gossip_descriptor **slots;
    /* Chains by the hash of the folded name; as many as slots. */
    struct gossip_descriptor **names;
    size_t capacity; /* a power of two */
    size_t count;
};

struct gossip_descriptors *gossip_descriptors_create(void) {
    struct gossip_descriptors *descriptors = mem_calloc(1, sizeof *descriptors);
    descriptors->capacity = SLOTS_MIN;
    descriptors->slots = mem_calloc(SLOTS_MIN, sizeof *descriptors->slots);
    descriptors->names = mem_calloc(SLOTS_MIN, sizeof *descriptors->names);
    return descriptors;
}

void gossip_descriptors_destroy(struct gossip_descriptors *descriptors) {
    if (descriptors == NULL) {
        return;
    }
    ASSERT(descriptors->count == 0);
    free(descriptors->slots);
    free(descriptors->names);
    free(descriptors);
}

uint64_t descriptor_hash_id(const struct uuid *id) {
    return hash_bytes(0x676f7373, id->bytes, sizeof id->bytes);
}

static uint64_t hash_name(const char *name) {
    char folded[LIMIT_GOSSIP_NAME_BYTES + 1];
    bool fits = str_lower(folded, sizeof folded, name);
    ASSERT(fits);
    return hash_bytes(0x6e616d65, folded, strlen(folded));
}

static uint64_t hash_encoded(const uint8_t *bytes, size_t size) {
    return hash_bytes(0x64657363, bytes, size);
}

/* The slot that holds these bytes, or the free one where they belong. */
static size_t find_slot(const struct gossip_descriptors *descriptors, const uint8_t *bytes,
                        size_t size) {
    size_t mask = descriptors->capacity - 1;
    size_t slot = (size_t)hash_encoded(bytes, size) & mask;
    for (;; slot = (slot + 1) & mask) {
        const struct gossip_descriptor *at = descriptors->slots[slot];
        if (at == NULL || (at->encoded_bytes == size && memcmp(at->encoded, bytes, size) == 0)) {
            return slot;
        }
    }
}

static void put(struct gossip_descriptors *descriptors, struct gossip_descriptor *descriptor) {
    size_t slot = find_slot(descriptors, descriptor->encoded, descriptor->encoded_bytes);
    ASSERT(descriptors->slots[slot] == NULL);
    descriptors->slots[slot] = descriptor;
    size_t chain = (size_t)descriptor->name_hash & (descriptors->capacity - 1);
    descriptor->name_next = descriptors->names[chain];
    descriptors->names[chain] = descriptor;
}

static void grow(struct gossip_descriptors *descriptors) {
    struct gossip_descriptor **old = descriptors->slots;
    size_t capacity = descriptors->capacity;
    free(descriptors->names);
    descriptors->capacity = capacity * 2;
    descriptors->slots = mem_calloc(descriptors->capacity, sizeof *descriptors->slots);
    descriptors->names = mem_calloc(descriptors->capacity, sizeof *descriptors->names);
    for (size_t i = 0; i < capacity; i++) {
        if (old[i] != NULL) {
            put(descriptors, old[i]);
        }
    }
    free(old);
}

static const char *copy_text(struct reader *reader, char **at) {
    uint32_t size = reader_varint(reader);
    const uint8_t *text = reader_bytes(reader, size);
    ASSERT(text != NULL);
    char *copy = *at;
    memcpy(copy, text, size);
    copy[size] = '\0';
    *at += size + 1;
    return copy;
}

/* What cannot be read is as if it were not there. */
static uint64_t read_reap_dead_ms(const struct str_map *tags) {
    const char *told = str_map_get(tags, GOSSIP_TAG_REAP_DEAD);
    int64_t ns;
    bool read = told != NULL && duration_parse(told, &ns, NULL) == ERR_OK && ns > 0;
    return read ? ((uint64_t)ns + DURATION_MS - 1) / DURATION_MS : 0;
}

/* One block: the struct, the pairs, the bytes as they came, and the texts; a text and its NUL are
 * never longer than its encoding with the size in front. */
static struct gossip_descriptor *decode(const uint8_t *bytes, size_t size) {
    struct gossip_info info = {0};
    struct reader reader = {.at = bytes, .end = bytes + size};
    info.id = reader_id(&reader);
    info.server = (reader_u8(&reader) & DESCRIPTOR_SERVER) != 0;
    info.protocol_min = reader_u8(&reader);
    info.protocol_max = reader_u8(&reader);
    info.address = reader_address(&reader);
    struct reader texts = reader;
    uint32_t name_bytes = reader_varint(&reader);
    (void)reader_bytes(&reader, name_bytes);
    info.tags.count = reader_varint(&reader);
    ASSERT(!reader.failed && info.tags.count <= LIMIT_GOSSIP_TAGS);
    size_t pairs_bytes = info.tags.count * sizeof(struct str_pair);

    struct gossip_descriptor *descriptor;
    char *block = mem_calloc(1, sizeof *descriptor + pairs_bytes + 2 * size);
    descriptor = (struct gossip_descriptor *)(void *)block;
    info.tags.v = (struct str_pair *)(void *)(block + sizeof *descriptor);
    info.tags.present = true;
    uint8_t *encoded = (uint8_t *)block + sizeof *descriptor + pairs_bytes;
    memcpy(encoded, bytes, size);
    char *at = (char *)encoded + size;
    info.name = copy_text(&texts, &at);
    (void)reader_varint(&texts);
    for (uint32_t i = 0; i < info.tags.count; i++) {
        info.tags.v[i].key = copy_text(&texts, &at);
        info.tags.v[i].value = copy_text(&texts, &at);
    }
    ASSERT(at <= block + sizeof *descriptor + pairs_bytes + 2 * size);
    descriptor->info = info;
    descriptor->reap_dead_ms = read_reap_dead_ms(&info.tags);
    descriptor->encoded = encoded;
    descriptor->encoded_bytes = (uint32_t)size;
    descriptor->id_hash = descriptor_hash_id(&info.id);
    descriptor->name_hash = hash_name(info.name);
    return descriptor;
}

const struct gossip_descriptor *descriptor_intern(struct gossip_descriptors *descriptors,
                                                  const uint8_t *bytes, size_t size) {
    size_t slot = find_slot(descriptors, bytes, size);
    struct gossip_descriptor *descriptor = descriptors->slots[slot];
    if (descriptor == NULL) {
        descriptor = decode(bytes, size);
        if ((descriptors->count + 1) * 2 > descriptors->capacity) {
            grow(descriptors);
        }
        put(descriptors, descriptor);
        descriptors->count++;
    }
    descriptor->references++;
    return descriptor;
}

const struct gossip_descriptor *descriptor_from_info(struct gossip_descriptors *descriptors,
                                                     const struct gossip_info *info) {
    size_t size = descriptor_encoded_bytes(info);
    if (size == 0) {
        return NULL;
    }
    struct buf buf;
    buf_init(&buf, LIMIT_GOSSIP_DESCRIPTOR_BYTES);
    descriptor_encode(info, &buf);
    ASSERT(!buf.failed && buf.count == size);
    const struct gossip_descriptor *descriptor = NULL;
    if (descriptor_is_valid((const uint8_t *)buf.data, buf.count)) {
        descriptor = descriptor_intern(descriptors, (const uint8_t *)buf.data, buf.count);
    }
    buf_clear(&buf);
    return descriptor;
}

const struct gossip_descriptor *descriptor_hold(const struct gossip_descriptor *descriptor) {
    ((struct gossip_descriptor *)descriptor)->references++;
    return descriptor;
}

/* Backward-shift deletion, so that no search ends early at a hole (Knuth, vol. 3, 6.4 R). */
static void take_out(struct gossip_descriptors *descriptors, size_t hole) {
    size_t mask = descriptors->capacity - 1;
    for (size_t at = (hole + 1) & mask; descriptors->slots[at] != NULL; at = (at + 1) & mask) {
        const struct gossip_descriptor *moved = descriptors->slots[at];
        size_t home = (size_t)hash_encoded(moved->encoded, moved->encoded_bytes) & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            descriptors->slots[hole] = descriptors->slots[at];
            hole = at;
        }
    }
    descriptors->slots[hole] = NULL;
}

void descriptor_release(struct gossip_descriptors *descriptors,
                        const struct gossip_descriptor *descriptor) {
    struct gossip_descriptor *own = (struct gossip_descriptor *)descriptor;
    ASSERT(own->references > 0);
    if (--own->references > 0) {
        return;
    }
    size_t slot = find_slot(descriptors, own->encoded, own->encoded_bytes);
    ASSERT(descriptors->slots[slot] == own);
    take_out(descriptors, slot);
    struct gossip_descriptor **link =
        &descriptors->names[(size_t)own->name_hash & (descriptors->capacity - 1)];
    while (*link != own) {
        link = &(*link)->name_next;
    }
    *link = own->name_next;
    descriptors->count--;
    free(own);
}

const struct gossip_descriptor *
descriptor_next_of_name(const struct gossip_descriptors *descriptors,
                        const struct gossip_descriptor *descriptor,
                        const struct gossip_descriptor *after) {
    const struct gossip_descriptor *at =
        after != NULL
            ? after->name_next
            : descriptors->names[(size_t)descriptor->name_hash & (descriptors->capacity - 1)];
    for (; at != NULL; at = at->name_next) {
        if (at != descriptor && at->name_hash == descriptor->name_hash &&
            str_equal_fold(at->info.name, descriptor->info.name)) {
            return at;
        }
    }
    return NULL;
}
