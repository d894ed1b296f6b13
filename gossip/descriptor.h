/* What members tell of themselves, interned: equal bytes are one block with a count of its holders,
 * so a process with many pools of many members keeps each once. */
#ifndef GOSSIP_DESCRIPTOR_H
#define GOSSIP_DESCRIPTOR_H

#include "gossip/gossip.h"

/* Takes a reference. bytes are valid (descriptor_is_valid). */
const struct gossip_descriptor *descriptor_intern(struct gossip_descriptors *descriptors,
                                                  const uint8_t *bytes, size_t size);
/* NULL: info is out of its bounds. */
const struct gossip_descriptor *descriptor_from_info(struct gossip_descriptors *descriptors,
                                                     const struct gossip_info *info);
const struct gossip_descriptor *descriptor_hold(const struct gossip_descriptor *descriptor);
void descriptor_release(struct gossip_descriptors *descriptors,
                        const struct gossip_descriptor *descriptor);
uint64_t descriptor_hash_id(const struct uuid *id);
/* Another descriptor of the same folded name, after `after` (NULL: the first). NULL: no more. */
const struct gossip_descriptor *
descriptor_next_of_name(const struct gossip_descriptors *descriptors,
                        const struct gossip_descriptor *descriptor,
                        const struct gossip_descriptor *after);

#endif
