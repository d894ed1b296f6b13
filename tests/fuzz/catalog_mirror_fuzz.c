/* Any bytes as parts of a mirror's stream, to a mirror of all services and to one of two. What is
 * left afterwards can be read, and be filled by the next part. The first byte chooses. */
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "catalog/mirror.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct epoch *epoch;

static bool look_at_instance(const struct catalog_instance *instance, void *context) {
    ASSERT(instance->node != NULL && *instance->node->name != '\0');
    for (uint32_t i = 0; i < instance->check_count; i++) {
        *(size_t *)context += instance->checks[i]->modify_index;
    }
    ++*(size_t *)context;
    return true;
}

static void look_at(const struct mirror *mirror) {
    size_t seen = 0;
    epoch_enter(epoch);
    view_walk_all_instances(catalog_view(mirror_catalog(mirror)), look_at_instance, &seen);
    epoch_exit(epoch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) {
        return 0;
    }
    epoch = epoch == NULL ? epoch_create() : epoch;
    struct mirror *mirror = mirror_create(epoch, data[0] & 1);
    mirror_want(mirror, "web", 0);
    mirror_want(mirror, "db", 0);
    size_t first = data[1] < size - 2 ? data[1] : size - 2;
    mirror_apply(mirror, data + 2, first, 1);
    look_at(mirror);
    mirror_apply(mirror, data + 2 + first, size - 2 - first, 2);
    look_at(mirror);
    mirror_drop(mirror, "web");
    look_at(mirror);
    mirror_destroy(mirror);
    return 0;
}
