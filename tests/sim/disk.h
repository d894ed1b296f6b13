/* A disk in memory that fails like real ones; implements store/file.h.
 *
 * What is written goes to a cache, by sectors of 512 bytes, and reaches the disk at a sync, or by
 * chance at a power loss. What happens to names reaches the disk at the sync of the directory.
 * After a failed sync the dirty sectors are clean, on the disk or not, and the cache may forget
 * them: as Linux does. */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rand.h"

struct disk_faults {
    uint64_t crash_after_calls; /* changing calls until the crash; 0: none */
    uint32_t sync_fails_per_1000;
    uint32_t write_fails_per_1000;
    uint64_t quota_bytes; /* 0: unlimited */
};

struct disk;

enum disk_call { DISK_READ, DISK_WRITE, DISK_SYNC, DISK_NAMES };
/* Called before each call that may take its time; NULL: none. For all disks. */
void disk_set_pause(void (*pause)(enum disk_call call));

/* The new disk is the one in use: every call is about that one. */
struct disk *disk_create(struct rand *rand);
void disk_use(struct disk *disk);
void disk_destroy(void);
/* All files are gone. */
void disk_wipe(void);

void disk_set_faults(const struct disk_faults *faults);
/* The crash has come: every call fails until disk_restart. */
bool disk_has_crashed(void);
/* Some sync failed, or some write, since the last restart. */
bool disk_sync_has_failed(void);
bool disk_write_has_failed(void);
/* As if the crash had come now. */
void disk_crash(void);
/* The process is gone; with power_lost the cache, too. */
void disk_restart(bool power_lost);

/* Where bytes lie, in the cache of files whose path begins so; false: nowhere. */
struct disk_place {
    void *inode;
    uint64_t offset;
};
bool disk_find(const char *path_prefix, const void *bytes, size_t size, struct disk_place *ret);
/* An offset of the one file with this path; false: no such file, or not so long. */
bool disk_find_offset(const char *path, uint64_t offset, struct disk_place *ret);
/* Reads or changes bytes behind everybody's back, in cache and on the disk. */
void disk_peek(const struct disk_place *place, void *bytes, size_t size);
void disk_poke(const struct disk_place *place, const void *bytes, size_t size);
/* One bit, counted from the place. */
void disk_flip(const struct disk_place *place, uint32_t bit);
/* Of all files whose path begins so, and their names. */
uint64_t disk_hash(const char *path_prefix);
/* Path of the n-th file whose path begins so; NULL: none. */
const char *disk_file_path(const char *path_prefix, uint32_t n);

#endif
