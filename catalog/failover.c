#include "catalog/failover.h"

#include <stdlib.h>
#include <string.h>

#include "base/duration.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "base/pack.h"
#include "catalog/definition_parts.h"

#define UNASKED_MS (10 * 60 * 1000) /* one that does not recover is forgotten, and noted again */

/* ---- policies over HTTP ---- */

struct policy_input {
    const char *service;
    bool enabled;
    int64_t nearest, hold_down_ns;
    struct str_list datacenters;
    uint64_t create_index, modify_index;
};

#define FIELD(member, name_, kind_) DECODE_FIELD(struct policy_input, member, name_, kind_)

static const struct decode_field policy_fields[] = {
    FIELD(service, "Service", DECODE_STR),
    FIELD(enabled, "Enabled", DECODE_BOOL),
    FIELD(nearest, "NearestN", DECODE_INT),
    FIELD(datacenters, "Datacenters", DECODE_STR_LIST),
    FIELD(hold_down_ns, "HoldDown", DECODE_DURATION),
    FIELD(create_index, "CreateIndex", DECODE_U64),
    FIELD(modify_index, "ModifyIndex", DECODE_U64),
};

static const struct decode_spec policy_spec = {
    "Failover", sizeof(struct policy_input), policy_fields,
    sizeof policy_fields / sizeof policy_fields[0], false};

enum err failover_parse(const char *service, const char *json, size_t size,
                        const struct failover_defaults *defaults, struct arena *arena,
                        struct catalog_failover *ret_policy, struct err_text *text) {
    struct policy_input in = {.enabled = true, .hold_down_ns = defaults->hold_down_ns};
    if (decode_json(&policy_spec, DECODE_BODY, json, size, arena, &in, text) != ERR_OK) {
        return definition_decode_failed(text);
    }
    if (*str_or_empty(in.service) != '\0' && !str_equal_fold(in.service, service)) {
        return err_set(text, ERR_INVALID, "Service is '%.64s', the path says '%.64s'", in.service,
                       service);
    }
    if (in.nearest < 0) {
        return err_set(text, ERR_INVALID, "Bad NearestN '%lld', must be >= 0",
                       (long long)in.nearest);
    }
    if (in.hold_down_ns < 0 || in.hold_down_ns > LIMIT_FAILOVER_HOLD_DOWN_S * DURATION_S) {
        return err_set(text, ERR_INVALID, "HoldDown must be between 0 and %d s",
                       LIMIT_FAILOVER_HOLD_DOWN_S);
    }
    if (in.datacenters.count > LIMIT_FAILOVER_DATACENTERS ||
        str_list_bytes(&in.datacenters) > LIMIT_QUERY_BYTES) {
        return err_set(text, ERR_INVALID, "more than %d datacenters", LIMIT_FAILOVER_DATACENTERS);
    }
    *ret_policy = (struct catalog_failover){.service = service,
                                            .enabled = in.enabled,
                                            .nearest = in.nearest,
                                            .datacenters = in.datacenters,
                                            .datacenters_present = in.datacenters.v != NULL,
                                            .hold_down_ns = in.hold_down_ns};
    return ERR_OK;
}

void failover_write(struct json *json, const struct catalog_failover *policy) {
    char hold_down[DURATION_TEXT_BYTES];
    duration_format(policy->hold_down_ns, hold_down);
    json_object_begin(json);
    json_member_str(json, "Service", policy->service);
    json_member_bool(json, "Enabled", policy->enabled);
    json_key(json, "NearestN");
    json_i64(json, policy->nearest);
    if (policy->datacenters_present) {
        json_member_list(json, "Datacenters", &policy->datacenters);
    } else {
        json_key(json, "Datacenters");
        json_null(json);
    }
    json_member_str(json, "HoldDown", hold_down);
    json_member_u64(json, "CreateIndex", policy->create_index);
    json_member_u64(json, "ModifyIndex", policy->modify_index);
    json_object_end(json);
}

/* ---- the policy of a service ---- */

struct told {
    const char *where, *hold_down;
};

static bool find_told(const struct catalog_instance *instance, void *context) {
    struct told *told = context;
    const struct str_map *meta = &instance->service->meta;
    told->where = told->where != NULL ? told->where : str_map_get(meta, FAILOVER_META);
    told->hold_down =
        told->hold_down != NULL ? told->hold_down : str_map_get(meta, FAILOVER_META_HOLD_DOWN);
    return told->where == NULL || told->hold_down == NULL;
}

/* "off", "on", "nearest:N", or names with commas between. What is none of it counts as "on". */
static void read_where(const char *text, struct arena *arena, struct failover_policy *policy) {
    uint64_t nearest = 0;
    policy->enabled = strcmp(text, "off") != 0;
    policy->nearest = 0;
    policy->datacenters = (struct str_list){NULL, 0};
    if (str_starts_with(text, "nearest:")) {
        policy->nearest = str_parse_u64(text + strlen("nearest:"), &nearest) && nearest < INT32_MAX
                              ? (int64_t)nearest
                              : 0;
    } else if (policy->enabled && strcmp(text, "on") != 0) {
        const char **v = arena_alloc(arena, (strlen(text) + 1) * sizeof *v);
        for (const char *at = text; *at != '\0';) {
            at += strspn(at, ", ");
            size_t size = strcspn(at, ", ");
            if (size > 0) {
                v[policy->datacenters.count++] = arena_strndup(arena, at, size);
            }
            at += size;
        }
        policy->datacenters.v = v;
    }
}

static struct failover_policy from_row(const struct catalog_failover *row) {
    return (struct failover_policy){row->enabled, row->nearest, row->datacenters,
                                    row->hold_down_ns};
}

struct failover_policy failover_policy_of(const struct catalog_view *view, const char *service,
                                          const struct failover_defaults *defaults,
                                          struct arena *arena) {
    struct told told = {NULL, NULL};
    const struct catalog_failover *own = view_get_failover(view, service);
    if (own != NULL) {
        return from_row(own);
    }
    const struct catalog_failover *all = view_get_failover(view, FAILOVER_ALL);
    struct failover_policy policy = {defaults->enabled, defaults->nearest, defaults->datacenters,
                                     defaults->hold_down_ns};
    policy = all != NULL ? from_row(all) : policy;
    view_walk_instances(view, service, find_told, &told);
    if (told.where != NULL) {
        read_where(told.where, arena, &policy);
    }
    int64_t ns;
    if (told.hold_down != NULL && duration_parse(told.hold_down, &ns, NULL) == ERR_OK && ns >= 0) {
        policy.hold_down_ns = ns < LIMIT_FAILOVER_HOLD_DOWN_S * DURATION_S
                                  ? ns
                                  : LIMIT_FAILOVER_HOLD_DOWN_S * DURATION_S;
    }
    return policy;
}

/* As it is written there; NULL: it is not in the list. */
static const char *find_name(const struct str_list *list, const char *name) {
    for (uint32_t i = 0; i < list->count; i++) {
        if (str_equal_fold(list->v[i], name)) {
            return list->v[i];
        }
    }
    return NULL;
}

struct str_list failover_targets(int64_t nearest, const struct str_list *named,
                                 const struct str_list *known, struct arena *arena) {
    struct str_list targets = {arena_alloc(arena, (known->count + 1) * sizeof *targets.v), 0};
    for (uint32_t i = 0; i < known->count && (int64_t)i < nearest; i++) {
        targets.v[targets.count++] = known->v[i];
    }
    for (uint32_t i = 0; i < named->count; i++) {
        const char *name = find_name(known, named->v[i]);
        if (name != NULL && find_name(&targets, name) == NULL) {
            targets.v[targets.count++] = name;
        }
    }
    return targets;
}

/* ---- who is away ---- */

struct away {
    int64_t noted_at_ms;
    int64_t healthy_since_ms; /* -1: home is not healthy */
    int64_t better_since_ms;  /* another one than `where` comes first; -1: none does */
    char *service;            /* lower case */
    char *where;              /* where lookups stay */
};

struct failover_core {
    struct away *all; /* by service */
    size_t count, capacity;
};

struct failover_core *failover_core_create(void) {
    return mem_calloc(1, sizeof(struct failover_core));
}

static void forget(struct away *away) {
    free(away->service);
    free(away->where);
}

void failover_core_destroy(struct failover_core *core) {
    for (size_t i = 0; core != NULL && i < core->count; i++) {
        forget(&core->all[i]);
    }
    if (core != NULL) {
        free(core->all);
        free(core);
    }
}

size_t failover_core_count(const struct failover_core *core) {
    return core->count;
}

/* The place of the service, or where it belongs. */
static size_t find_place(const struct failover_core *core, const char *service) {
    size_t low = 0, high = core->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(core->all[middle].service, service) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void failover_core_note(struct failover_core *core, const char *service, const char *where,
                        int64_t now_ms) {
    char lower[LIMIT_NAME_BYTES + 1];
    if (!str_lower(lower, sizeof lower, service)) {
        return;
    }
    size_t at = find_place(core, lower);
    if (at < core->count && strcmp(core->all[at].service, lower) == 0) {
        core->all[at].noted_at_ms = now_ms;
        return;
    }
    if (core->count == LIMIT_FAILOVER_AWAY) {
        return;
    }
    if (core->count == core->capacity) {
        core->capacity = core->capacity == 0 ? 16 : 2 * core->capacity;
        core->all = mem_realloc(core->all, core->capacity * sizeof *core->all);
    }
    memmove(&core->all[at + 1], &core->all[at], (core->count - at) * sizeof *core->all);
    core->all[at] = (struct away){now_ms, -1, -1, mem_strdup(lower), mem_strdup(where)};
    core->count++;
}

/* Whether the service is away no longer. */
static bool is_over(struct away *away, bool healthy, int64_t hold_down_ms, int64_t now_ms) {
    if (!healthy) {
        away->healthy_since_ms = MUTANT(break_forgotten) ? away->healthy_since_ms : -1;
        return now_ms - away->noted_at_ms >= UNASKED_MS;
    }
    if (away->healthy_since_ms < 0) {
        away->healthy_since_ms = now_ms;
    }
    return now_ms - away->healthy_since_ms >= hold_down_ms || MUTANT(no_hold_down);
}

/* True: lookups stay elsewhere from now on. */
static bool move(struct away *away, const struct failover_judged *judged, int64_t now_ms) {
    if (judged->best == NULL || judged->stays == NULL) {
        return false;
    }
    const char *to = judged->stays;
    bool better = !str_equal_fold(judged->best, to);
    if (!better) {
        away->better_since_ms = -1;
    } else if (away->better_since_ms < 0) {
        away->better_since_ms = now_ms;
    }
    if (better && now_ms - away->better_since_ms >= judged->hold_down_ms) {
        to = judged->best;
    }
    if (str_equal_fold(to, away->where)) {
        return false;
    }
    free(away->where);
    away->where = mem_strdup(to);
    away->better_since_ms = -1;
    return true;
}

bool failover_core_step(struct failover_core *core, int64_t now_ms, failover_judge_fn *judge,
                        void *context) {
    size_t kept = 0;
    bool changed = false;
    for (size_t i = 0; i < core->count; i++) {
        struct away *away = &core->all[i];
        struct failover_judged judged = {.healthy = false};
        judge(away->service, away->where, context, &judged);
        if (is_over(away, judged.healthy, judged.hold_down_ms, now_ms)) {
            forget(away);
            changed = true;
        } else {
            changed = move(away, &judged, now_ms) || changed;
            core->all[kept++] = *away;
        }
    }
    core->count = kept;
    return changed;
}

static void pack_state(struct packer *packer, struct failover_state *state) {
    pack_list(packer, &state->datacenters);
    pack_list(packer, &state->away);
    pack_list(packer, &state->where);
}

struct failover_state *failover_core_state(const struct failover_core *core,
                                           const struct str_list *datacenters) {
    const char **names = mem_alloc((2 * core->count + 1) * sizeof *names);
    const char **where = names + core->count;
    for (size_t i = 0; i < core->count; i++) {
        names[i] = core->all[i].service;
        where[i] = core->all[i].where;
    }
    uint32_t count = (uint32_t)core->count;
    struct failover_state from = {*datacenters, {names, count}, {where, count}}, state = from;
    struct packer p = {.used = sizeof state};
    pack_state(&p, &state);
    p = (struct packer){.block = mem_alloc(p.used), .used = sizeof state};
    state = from;
    pack_state(&p, &state);
    free(names);
    return memcpy(p.block, &state, sizeof state);
}

/* ---- lookups ---- */

static int compare(const void *name, const void *element) {
    return strcmp(name, *(const char *const *)element);
}

/* Where its lookups stay; NULL: it is not away. */
static const char *where_away(const struct failover_state *state, const char *service) {
    char lower[LIMIT_NAME_BYTES + 1];
    if (state->away.count == 0 || !str_lower(lower, sizeof lower, service)) {
        return NULL;
    }
    const char *const *found =
        bsearch(lower, state->away.v, state->away.count, sizeof *state->away.v, compare);
    return found != NULL ? state->where.v[found - state->away.v] : NULL;
}

struct health {
    enum catalog_health most;
    bool found;
};

static bool look_for_healthy(const struct catalog_instance *instance, void *context) {
    struct health *health = context;
    health->found = instance->health <= health->most;
    return !health->found;
}

bool failover_is_healthy(const struct catalog_view *view, const char *service, bool passing) {
    struct health health = {passing ? HEALTH_PASSING : HEALTH_WARNING, false};
    view_walk_instances(view, service, look_for_healthy, &health);
    return health.found;
}

bool failover_look(const struct failover_source *source, const char *datacenter, bool old,
                   struct failover_place *ret_place) {
    return source->look(source->context, datacenter, ret_place) &&
           old == (ret_place->age_ms > LIMIT_FAILOVER_FRESH_MS);
}

/* stays: where lookups are now, or NULL. It counts as silent a little later than others, so that
 * when all fall silent together lookups do not go round. */
static bool find_elsewhere(const struct failover_source *source, const struct str_list *targets,
                           const char *stays, failover_usable_fn *usable, void *context,
                           struct failover_place *ret_place) {
    for (int old = 0; old <= 1; old++) {
        for (uint32_t i = 0; i < targets->count; i++) {
            bool here = stays != NULL && str_equal_fold(stays, targets->v[i]);
            int64_t fresh_ms = LIMIT_FAILOVER_FRESH_MS + (here ? LIMIT_FAILOVER_STAY_MS : 0);
            struct failover_place place;
            if (source->look(source->context, targets->v[i], &place) &&
                (old == (place.age_ms > fresh_ms) || MUTANT(old_as_good)) &&
                (usable(place.view, context) || MUTANT(sick_elsewhere))) {
                *ret_place = place;
                return true;
            }
        }
    }
    return false;
}

static struct str_list policy_targets(const struct failover_policy *policy,
                                      const struct str_list *known, struct arena *arena) {
    bool all = policy->nearest == 0 && policy->datacenters.count == 0;
    return all ? *known : failover_targets(policy->nearest, &policy->datacenters, known, arena);
}

/* The same with `where` before all others, if it is among them. */
static struct str_list put_first(const struct str_list *targets, const char *where,
                                 struct arena *arena) {
    const char *first = find_name(targets, where);
    if (first == NULL) {
        return *targets;
    }
    const char **v = arena_alloc(arena, targets->count * sizeof *v);
    struct str_list list = {v, 1};
    v[0] = first;
    for (uint32_t i = 0; i < targets->count; i++) {
        if (targets->v[i] != first) {
            v[list.count++] = targets->v[i];
        }
    }
    return list;
}

struct failover_place failover_find(const struct failover_source *source,
                                    const struct catalog_view *home, const char *service,
                                    failover_usable_fn *usable, void *context,
                                    struct arena *arena) {
    struct failover_place place = {.datacenter = NULL, .view = home};
    const struct failover_state *state = source != NULL ? atomic_load(&source->state) : NULL;
    if (state == NULL || state->datacenters.count == 0) {
        return place;
    }
    const char *where = where_away(state, service);
    if (where == NULL && usable(home, context) && !MUTANT(home_passed_over)) {
        return place;
    }
    struct failover_policy policy = failover_policy_of(home, service, &source->defaults, arena);
    struct str_list targets = policy_targets(&policy, &state->datacenters, arena);
    if (where != NULL) {
        targets = put_first(&targets, where, arena);
    }
    if (policy.enabled && find_elsewhere(source, &targets, where, usable, context, &place) &&
        where == NULL) {
        source->note(source->context, service, place.datacenter);
    }
    return place;
}

struct judging {
    const char *service;
    bool passing;
};

static bool is_judged_healthy(const struct catalog_view *view, void *context) {
    const struct judging *judging = context;
    return failover_is_healthy(view, judging->service, judging->passing);
}

void failover_judge(const struct failover_source *source, const struct catalog_view *home,
                    const char *service, const char *where, bool passing, struct arena *arena,
                    struct failover_judged *ret) {
    const struct failover_state *state = atomic_load(&source->state);
    struct failover_policy policy = failover_policy_of(home, service, &source->defaults, arena);
    struct str_list targets = policy_targets(&policy, &state->datacenters, arena);
    struct str_list where_first = put_first(&targets, where, arena);
    struct judging judging = {service, passing};
    struct failover_place place;
    *ret = (struct failover_judged){.healthy = failover_is_healthy(home, service, passing)};
    if (!policy.enabled) {
        return;
    }
    ret->hold_down_ms = policy.hold_down_ns / DURATION_MS;
    if (find_elsewhere(source, &targets, where, is_judged_healthy, &judging, &place)) {
        ret->best = place.datacenter;
    }
    if (find_elsewhere(source, &where_first, where, is_judged_healthy, &judging, &place)) {
        ret->stays = place.datacenter;
    }
}
