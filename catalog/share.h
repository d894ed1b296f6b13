/* Parts that many rows of a mirror have alike, kept once: what a service says of itself beside its
 * place, what its checks repeat of it, names of nodes. Shared parts are counted; one that no row
 * holds any more is retired, behind the rows. For the writer's thread. */
#ifndef CATALOG_SHARE_H
#define CATALOG_SHARE_H

#include "base/epoch.h"
#include "catalog/types.h"

struct shares;

struct shares *shares_create(struct epoch *epoch);
/* Retires what is left, some of it at each call. True: there is more; else shares is gone. */
bool shares_destroy_some(struct shares *shares, size_t count);

/* Puts shared parts into the place of the row's own. Once for each row that will hold them: a copy
 * of it by row_copy_service_own or row_copy_check_own. */
void shares_hold_service(struct shares *shares, struct catalog_service *row);
void shares_hold_check(struct shares *shares, struct catalog_check *row);
/* The row holds them no longer; before it is retired. */
void shares_release_service(struct shares *shares, const struct catalog_service *row);
void shares_release_check(struct shares *shares, const struct catalog_check *row);

/* About what the shared parts take. */
size_t shares_bytes(const struct shares *shares);

#endif
