#include "base/pack.h"

#include <string.h>

void *pack_bytes(struct packer *packer, const void *data, size_t size, size_t align) {
    packer->used = (packer->used + align - 1) & ~(align - 1);
    char *to = packer->block != NULL ? packer->block + packer->used : NULL;
    packer->used += size;
    return to != NULL && size > 0 ? memcpy(to, data, size) : to;
}

void pack_str(struct packer *packer, const char **s) {
    *s = **s == '\0' ? "" : pack_bytes(packer, *s, strlen(*s) + 1, 1);
}

/* While sizes are learned the copy is NULL, so the members are walked in the source. */
void pack_list(struct packer *packer, struct str_list *list) {
    const char **from = list->v;
    list->v = pack_bytes(packer, from, list->count * sizeof *from, sizeof(void *));
    for (uint32_t i = 0; i < list->count; i++) {
        const char *s = from[i];
        pack_str(packer, &s);
        if (list->v != NULL) {
            list->v[i] = s;
        }
    }
}

void pack_map(struct packer *packer, struct str_map *map) {
    struct str_pair *from = map->v;
    map->v = pack_bytes(packer, from, map->count * sizeof *from, sizeof(void *));
    for (uint32_t i = 0; i < map->count; i++) {
        struct str_pair pair = from[i];
        pack_str(packer, &pair.key);
        pack_str(packer, &pair.value);
        if (map->v != NULL) {
            map->v[i] = pair;
        }
    }
}
