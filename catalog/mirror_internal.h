/* What the files of a mirror share. */
#ifndef CATALOG_MIRROR_INTERNAL_H
#define CATALOG_MIRROR_INTERNAL_H

#include <stdatomic.h>

#include "catalog/codec_mirror.h"
#include "catalog/internal.h"
#include "catalog/mirror.h"
#include "catalog/share.h"

/* Readers see these; a name that is no longer wanted goes through the epoch. */
struct mirror_wanted {
    _Atomic bool ready;
    _Atomic int64_t used_at_ms;
    char name[];
};

/* Sorted; replaced whole. */
struct mirror_names {
    uint32_t count;
    struct mirror_wanted *v[];
};

struct mirror {
    struct catalog *catalog;
    struct shares *shares; /* parts of services and checks */
    bool all;
    _Atomic bool whole;
    _Atomic(struct mirror_names *) names; /* never NULL */
    size_t bytes;
    bool ending;
    struct tree_sweep rows, links;   /* while it ends */
    struct correction *corrections;  /* newest first; NULL: its rows are the source's */
    bool corrected;                  /* by what was known last */
    struct mirror_apply *correcting; /* between begin and end */
};

/* What of a node is to be looked at once all rows of a batch are in. */
struct mirror_dirty {
    struct mirror_dirty *next;
    const char *node, *id; /* an instance; id NULL: all of them */
};

struct mirror_apply {
    struct mirror *mirror;
    struct catalog *catalog;
    struct arena arena;
    struct mirror_dirty *dirty, **dirty_last;
    const struct mirror_dirty *newest;
};

/* ---- mirror.c ---- */

/* Any thread, inside an epoch section. */
struct mirror_wanted *mirror_find_wanted(const struct mirror *mirror, const char *service);
/* Writer's thread: takes add, retires remove; either may be NULL. */
void mirror_replace_names(struct mirror *mirror, struct mirror_wanted *add,
                          struct mirror_wanted *remove);

/* ---- mirror_rows.c ---- */

/* A batch: rows are put and dropped, then instances are built anew, then it is published. */
void mirror_begin(struct mirror_apply *apply, struct mirror *mirror);
void mirror_apply_record(const struct mirror_record *record, void *context); /* mirror_apply */
/* All rows of a node. */
void mirror_drop_rows(struct mirror_apply *apply, const char *node);
void mirror_settle(struct mirror_apply *apply);
void mirror_end(struct mirror_apply *apply);

/* ---- mirror_correct.c ---- */

/* What was corrected is as the source told it again. */
void mirror_take_back(struct mirror_apply *apply);
void mirror_free_corrections(struct mirror *mirror);

#endif
