/* What this agent itself has registered: its services and checks, apart from the catalog, to which
 * anti-entropy carries them (contract 12). Ids are exact here, unlike in the catalog.
 *
 * One writer, the core's thread; readers on any thread walk published views inside an epoch
 * section. Pure: files and proposals are the agent's business. */
#ifndef CATALOG_LOCAL_H
#define CATALOG_LOCAL_H

#include "base/epoch.h"
#include "base/err.h"
#include "catalog/definition.h"
#include "catalog/types.h"

struct local;
struct local_view;

/* node is copied; epoch is borrowed. */
struct local *local_create(struct epoch *epoch, const char *node);
void local_destroy(struct local *local);
void local_publish(struct local *local);

enum local_kind { LOCAL_SERVICE, LOCAL_CHECK };

/* ---- writer ---- */

/* Adds or replaces a service and the checks of its definition. Known checks keep status and output;
 * with replace_checks every other check of the service goes. */
void local_set_service(struct local *local, const struct service_definition *service,
                       bool replace_checks);
/* With its checks. ERR_NOT_FOUND. */
enum err local_remove_service(struct local *local, const char *id);
/* bare: registered by itself, not inside a service. ERR_NOT_FOUND: its service_id is unknown. */
enum err local_set_check(struct local *local, const struct check_definition *check, bool bare);
enum err local_remove_check(struct local *local, const char *id);
/* ERR_NOT_FOUND. A new status is out of sync at once; a new output alone is deferred: see
 * local_mark_outputs_unsynced. */
enum err local_update_check(struct local *local, const char *id, const char *status,
                            const char *output);

/* The clock of DeregisterCriticalServiceAfter (contract 11.5): starts at a check's first critical
 * result, stops at any other and when the check is set anew. */
void local_note_result(struct local *local, const char *id, bool critical, int64_t now_ms);
/* Visits the checks whose clock has run for as long as their definition says, at least least_ns.
 * visit must not change anything. */
void local_walk_overdue(const struct local *local, int64_t now_ms, int64_t least_ns,
                        void (*visit)(const struct check_definition *definition, void *context),
                        void *context);

/* The definition of a check, valid until it is set or removed; NULL. */
const struct check_definition *local_get_definition(const struct local *local, const char *id);
/* Whether the check was registered by itself. */
bool local_check_is_bare(const struct local *local, const char *id);

/* Whether an entry comes from a configuration file; setting it anew takes the mark away. False for
 * unknown ones. */
void local_mark_of_file(struct local *local, enum local_kind kind, const char *id);
bool local_is_of_file(const struct local *local, enum local_kind kind, const char *id);

/* The runner's generation, by which late results of a replaced one are told apart; 0 = none. */
void local_set_runner(struct local *local, const char *id, uint64_t generation);
uint64_t local_get_runner(const struct local *local, const char *id);

/* Checks whose runner must change: set or removed since the last call. visit gets the definition,
 * or NULL when it went. */
void local_take_changed_checks(struct local *local,
                               void (*visit)(const char *id,
                                             const struct check_definition *definition,
                                             void *context),
                               void *context);

/* The same without taking them. */
void local_walk_changed_checks(const struct local *local,
                               void (*visit)(const char *id,
                                             const struct check_definition *definition,
                                             void *context),
                               void *context);

/* ---- syncing: each entry is in sync with the catalog or not; removed ones stay until told ---- */

/* Marks all entries, as when the catalog must be told anew. */
void local_mark_all_unsynced(struct local *local);
/* One entry, its output included. */
void local_mark_unsynced(struct local *local, enum local_kind kind, const char *id);
/* Marks the entries whose ids differ from this one in letter case only: in the catalog, where case
 * does not count, they share its row. */
void local_mark_twins_unsynced(struct local *local, enum local_kind kind, const char *id);
/* Marks the checks whose output alone has changed. */
void local_mark_outputs_unsynced(struct local *local);
/* gone: it was removed here. generation names the state that is being told. false: the walk ends.
 */
typedef bool local_visit_fn(enum local_kind kind, const char *id, bool gone, uint64_t generation,
                            void *context);
/* Visits the entries of a kind that are out of sync and that no attempt is under way for, those
 * that have waited for longest first. visit may begin the sync of the entry it is given, and of any
 * of the other kind. An attempt that fails within the walk is not visited again. */
void local_walk_unsynced(struct local *local, enum local_kind kind, local_visit_fn *visit,
                         void *context);
/* Only those that have changed since they were walked last, in any walk. visit may begin the sync
 * of any entry. */
void local_walk_fresh(struct local *local, enum local_kind kind, local_visit_fn *visit,
                      void *context);
/* The checks of one service. */
void local_walk_unsynced_of(struct local *local, const char *service_id, local_visit_fn *visit,
                            void *context);
/* One entry, if it is out of sync and no attempt is under way. */
void local_visit_waiting(struct local *local, enum local_kind kind, const char *id,
                         local_visit_fn *visit, void *context);
bool local_is_waiting(const struct local *local, enum local_kind kind, const char *id);
/* What the catalog has of a service of ours, and may say better: its tags, with EnableTagOverride,
 * and the tagged addresses that servers set, whose names begin with "consul-". True: that is news;
 * the service's checks carry the new tags too. */
bool local_take_remote(struct local *local, const char *id, const struct catalog_service *remote);
/* Registered here, or removed here and the catalog not yet told. */
bool local_knows(const struct local *local, enum local_kind kind, const char *id);
/* Whether a newer output alone waits for local_mark_outputs_unsynced. */
bool local_output_is_deferred(const struct local *local, const char *check_id);
/* The catalog has the entry as it is, but for an output that is deferred. */
void local_note_in_sync(struct local *local, enum local_kind kind, const char *id);
/* An attempt begins; it ends with local_end_sync. */
void local_begin_sync(struct local *local, enum local_kind kind, const char *id);
/* Of a check whose sync has begun without its service: if one of the service is under way, the
 * check may come before it and get the old tags (contract 7.1), so it is out of sync again after
 * that. */
void local_note_alone(struct local *local, const char *check_id);
/* told: the catalog has it. If the entry has changed since `generation` it stays out of sync. */
void local_end_sync(struct local *local, enum local_kind kind, const char *id, uint64_t generation,
                    bool told);

/* ---- readers ---- */

const struct local_view *local_view(const struct local *local);
/* The writer's own, not yet published state. */
const struct local_view *local_next_view(const struct local *local);
const struct catalog_service *local_get_service(const struct local_view *view, const char *id);
const struct catalog_check *local_get_check(const struct local_view *view, const char *id);
/* By id, until visit returns false. */
void local_walk_services(const struct local_view *view,
                         bool (*visit)(const struct catalog_service *service, void *context),
                         void *context);
void local_walk_checks(const struct local_view *view,
                       bool (*visit)(const struct catalog_check *check, void *context),
                       void *context);
/* The checks that are bound to a service; of "", those that are bound to none. */
void local_walk_service_checks(const struct local_view *view, const char *service_id,
                               bool (*visit)(const struct catalog_check *check, void *context),
                               void *context);
/* Tells one published version from another. */
uint64_t local_view_version(const struct local_view *view);

#endif
