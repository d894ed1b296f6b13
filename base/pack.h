/* Deep copies in one block. A packer runs twice over a struct: first without a block, to learn the
 * size, then to fill it. The struct itself is the caller's to copy, at the front of the block. */
#ifndef BASE_PACK_H
#define BASE_PACK_H

#include <stddef.h>

#include "base/str.h"

struct packer {
    char *block; /* NULL while the size is learned; all results are then NULL or unusable */
    size_t used;
};

void *pack_bytes(struct packer *packer, const void *data, size_t size, size_t align);
/* Each replaces what the pointer shows by its copy. */
void pack_str(struct packer *packer, const char **s);
void pack_list(struct packer *packer, struct str_list *list);
void pack_map(struct packer *packer, struct str_map *map);

#endif
