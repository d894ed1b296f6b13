/* Included before everything else in the code under test: bounds are small, so that a first state
 * takes many parts and changes are soon forgotten. */
#ifndef SIM_REGIONS_REPLACED_H
#define SIM_REGIONS_REPLACED_H

#include "base/limits.h"
#include "base/mutant.h"

#undef LIMIT_CHANGES_BLOCK_BYTES
#define LIMIT_CHANGES_BLOCK_BYTES 2048
#undef LIMIT_MIRROR_CHANGES_BYTES
#define LIMIT_MIRROR_CHANGES_BYTES (8 * 1024)
#undef LIMIT_MIRROR_PART_BYTES
#define LIMIT_MIRROR_PART_BYTES 1024

#endif
