/* The source of a mirror's stream. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "base/str.h"
#include "catalog/codec_mirror.h"
#include "catalog/internal.h"
#include "catalog/mirror.h"

/* From scratch all goes through these one after the other; checks before services, so that the
 * mirror builds each instance once. */
enum phase { PHASE_NODES, PHASE_CHECKS, PHASE_SERVICES, PHASE_CHANGES };

struct name {
    char *name;
    uint64_t serial; /* tells it from one of the same name that was removed */
    bool told;       /* its instances; else they are still to come */
};

struct mirror_feed {
    bool all;
    bool begun; /* it has a place */
    bool begins, whole_told;
    enum phase phase;
    struct key at;  /* of the phase, or of the name that is told: where to go on */
    struct name *v; /* sorted without regard to case */
    uint32_t count, capacity;
    uint64_t serials;
    struct changes_place place;
    uint64_t index;    /* up to here all is told, once the rest of the phases is */
    unsigned halvings; /* of the next changes: the last ones made too much */
};

struct mirror_plan {
    enum phase phase;
    bool all, end; /* end: nothing is left of the phase, or of the name */
    bool first;    /* the mirror is whole behind this */
    char *telling; /* the name that is told; NULL: none */
    uint64_t serial;
    struct key at;
    size_t bytes;
    char **names; /* what is selected */
    uint32_t name_count;
    struct buf changes;
    struct changes_place place; /* behind them */
};

/* ---- the feed ---- */

struct mirror_feed *mirror_feed_create(bool all) {
    struct mirror_feed *feed = mem_calloc(1, sizeof *feed);
    feed->all = all;
    feed->phase = all ? PHASE_NODES : PHASE_CHANGES;
    return feed;
}

void mirror_feed_destroy(struct mirror_feed *feed) {
    for (uint32_t i = 0; feed != NULL && i < feed->count; i++) {
        free(feed->v[i].name);
    }
    free(feed != NULL ? feed->v : NULL);
    free(feed);
}

/* Place of the first name that is not before this one. */
static uint32_t find(const struct mirror_feed *feed, const char *name) {
    uint32_t low = 0, high = feed->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (strcasecmp(feed->v[middle].name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_at(const struct mirror_feed *feed, uint32_t place, const char *name) {
    return place < feed->count && strcasecmp(feed->v[place].name, name) == 0;
}

enum err mirror_feed_add(struct mirror_feed *feed, const char *name) {
    uint32_t place = find(feed, name);
    if (is_at(feed, place, name)) {
        return ERR_EXISTS;
    }
    if (feed->all || feed->count == LIMIT_MIRROR_NAMES || strlen(name) > LIMIT_NAME_BYTES) {
        return ERR_TOO_LARGE;
    }
    if (feed->count == feed->capacity) {
        feed->capacity = feed->capacity == 0 ? 8 : 2 * feed->capacity;
        feed->v = mem_realloc(feed->v, feed->capacity * sizeof *feed->v);
    }
    memmove(&feed->v[place + 1], &feed->v[place], (feed->count - place) * sizeof *feed->v);
    feed->v[place] = (struct name){.name = mem_strdup(name), .serial = ++feed->serials};
    feed->count++;
    feed->at.size = 0; /* another may be the first now: it begins anew */
    return ERR_OK;
}

void mirror_feed_remove(struct mirror_feed *feed, const char *name) {
    uint32_t place = find(feed, name);
    if (is_at(feed, place, name)) {
        free(feed->v[place].name);
        feed->count--;
        memmove(&feed->v[place], &feed->v[place + 1], (feed->count - place) * sizeof *feed->v);
        feed->at.size = feed->all ? feed->at.size : 0;
    }
}

static void begin(struct mirror_feed *feed, const struct catalog *catalog) {
    feed->begun = feed->begins = true;
    feed->whole_told = false;
    feed->phase = feed->all ? PHASE_NODES : PHASE_CHANGES;
    feed->at.size = 0;
    feed->place = catalog_changes_end(catalog);
    feed->index = view_applied(catalog_view(catalog));
    for (uint32_t i = 0; i < feed->count; i++) {
        feed->v[i].told = false;
    }
}

bool mirror_feed_resume(struct mirror_feed *feed, const struct catalog *catalog, uint64_t index,
                        const char *const *names, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        mirror_feed_add(feed, names[i]);
    }
    if (!catalog_find_changes(catalog, index, &feed->place)) {
        begin(feed, catalog);
        return false;
    }
    feed->begun = true;
    feed->index = index;
    feed->phase = PHASE_CHANGES;
    for (uint32_t i = 0; i < feed->count; i++) {
        feed->v[i].told = true;
    }
    return true;
}

/* The first name that is not told yet; NULL: all are. */
static struct name *untold(const struct mirror_feed *feed) {
    for (uint32_t i = 0; i < feed->count; i++) {
        if (!feed->v[i].told) {
            return &feed->v[i];
        }
    }
    return NULL;
}

bool mirror_feed_has_news(const struct mirror_feed *feed, const struct catalog *catalog) {
    return !feed->begun || !feed->whole_told || feed->phase != PHASE_CHANGES ||
           untold(feed) != NULL || catalog_has_changes(catalog, &feed->place);
}

void mirror_feed_plan(struct mirror_feed *feed, const struct catalog *catalog, size_t bytes,
                      struct mirror_job *ret_job) {
    struct mirror_plan *plan = mem_calloc(1, sizeof *plan);
    *ret_job = (struct mirror_job){.plan = plan};
    buf_init(&ret_job->out, LIMIT_MIRROR_BATCH_BYTES);
    buf_init(&plan->changes, bytes + LIMIT_TREE_KEY_BYTES);
    if (!feed->begun) {
        begin(feed, catalog);
    }
    const struct name *name = untold(feed);
    if (feed->phase == PHASE_CHANGES && name == NULL) {
        struct changes_place place = feed->place;
        /* A name stands for some rows. */
        size_t some = (bytes / 4 >> feed->halvings) + 1;
        ret_job->index = feed->index;
        if (catalog_take_changes(catalog, &place, some, &plan->changes, &ret_job->index)) {
            plan->place = place;
            ret_job->whole = true;
            ret_job->current = !catalog_has_changes(catalog, &place);
        } else {
            ret_job->index = 0;
            begin(feed, catalog);
            name = untold(feed);
        }
    }
    plan->phase = feed->phase;
    plan->telling = name != NULL ? mem_strdup(name->name) : NULL;
    plan->serial = name != NULL ? name->serial : 0;
    plan->all = feed->all;
    plan->first = !feed->whole_told;
    plan->bytes = bytes;
    plan->at = feed->at;
    plan->names = mem_calloc(feed->count + 1, sizeof *plan->names);
    for (; plan->name_count < feed->count; plan->name_count++) {
        plan->names[plan->name_count] = mem_strdup(feed->v[plan->name_count].name);
    }
    ret_job->begins = feed->begins;
    if (!ret_job->whole && plan->phase == PHASE_CHANGES && name == NULL) {
        plan->place = feed->place; /* a feed without names that begins: nothing is to be told */
        ret_job->whole = ret_job->current = true;
        ret_job->index = view_applied(catalog_view(catalog));
    }
}

void mirror_feed_take(struct mirror_feed *feed, struct mirror_job *job) {
    const struct mirror_plan *plan = job->plan;
    if (feed == NULL) {
        return;
    }
    if (job->out.failed) {
        job->whole = job->current = false; /* nothing of it is told: once more, with less */
        feed->halvings++;
        buf_clear(&job->out);
        return;
    }
    feed->begins = false;
    if (job->whole) {
        feed->halvings = 0;
        feed->place = plan->place;
        feed->index = job->index;
        feed->whole_told = true;
    } else if (plan->telling != NULL) {
        uint32_t place = find(feed, plan->telling);
        bool same = is_at(feed, place, plan->telling) && feed->v[place].serial == plan->serial;
        if (same) {
            feed->v[place].told = plan->end;
        }
        feed->at.size = 0;
        if (same && !plan->end && untold(feed) == &feed->v[place]) {
            feed->at = plan->at;
        }
    } else {
        feed->at = plan->at;
        if (plan->end) {
            feed->at.size = 0;
            feed->phase++;
        }
    }
}

void mirror_job_clear(struct mirror_job *job) {
    struct mirror_plan *plan = job->plan;
    for (uint32_t i = 0; plan != NULL && i < plan->name_count; i++) {
        free(plan->names[i]);
    }
    if (plan != NULL) {
        free(plan->names);
        free(plan->telling);
        buf_clear(&plan->changes);
        free(plan);
    }
    buf_clear(&job->out);
    *job = (struct mirror_job){0};
}

/* ---- rows ---- */

struct run {
    const struct catalog_view *view;
    const struct mirror_plan *plan;
    struct buf *out;
};

static void put(struct run *run, const struct codec_record *row) {
    struct mirror_record record = {.kind = MIRROR_ROW, .row = *row};
    codec_encode_mirror(&record, run->out);
}

static void put_node(struct run *run, const struct catalog_node *node) {
    put(run, &(struct codec_record){.kind = RECORD_NODE, .node = *node});
}

static void put_service(struct run *run, const struct catalog_service *service) {
    put(run, &(struct codec_record){.kind = RECORD_SERVICE, .service = *service});
}

static void put_check(struct run *run, const struct catalog_check *check) {
    put(run, &(struct codec_record){.kind = RECORD_CHECK, .check = *check});
}

static void put_index(struct run *run, enum codec_record_kind kind, const char *name) {
    const struct tree *tree =
        kind == RECORD_NODE_INDEX ? &run->view->node_index : &run->view->service_index;
    put(run, &(struct codec_record){.kind = kind, .named = {name, catalog_get_index(tree, name)}});
}

static void put_indexes(struct run *run) {
    const struct codec_indexes *all = &run->view->indexes;
    put(run, &(struct codec_record){.kind = RECORD_INDEXES,
                                    .indexes = {.nodes = all->nodes,
                                                .services = all->services,
                                                .checks = all->checks,
                                                .service_extinction = all->service_extinction,
                                                .node_extinction = all->node_extinction}});
}

static void put_gone(struct run *run, enum mirror_row_kind kind, const char *node, const char *id) {
    struct mirror_record record = {.kind = MIRROR_GONE, .gone = {kind, node, id}};
    codec_encode_mirror(&record, run->out);
}

/* The service's row before its checks: a mirror of some services keeps no others. */
static void put_instance(struct run *run, const struct catalog_instance *instance) {
    put_node(run, instance->node);
    put_service(run, instance->service);
    for (uint32_t i = 0; i < instance->check_count; i++) {
        put_check(run, instance->checks[i]);
    }
}

/* ---- from scratch ---- */

static bool has_room(const struct run *run) {
    return run->out->count < run->plan->bytes;
}

static void go_behind(struct key *at) {
    if (at->size < sizeof at->bytes) {
        at->bytes[at->size++] = 0;
    }
}

static void key_instance(struct key *key, const struct catalog_service *service) {
    key_init(key, service->name);
    key_add(key, service->node);
    key_add(key, service->id);
}

/* True: that was all of the phase. */
static bool run_phase(struct run *run, enum phase phase, struct key *at) {
    const struct catalog_view *view = run->view;
    const struct tree *tree = phase == PHASE_NODES    ? &view->nodes
                              : phase == PHASE_CHECKS ? &view->checks
                                                      : &view->instances;
    const char *last = NULL; /* service whose index is told */
    const void *row;
    while ((row = tree_seek(tree, at->bytes, at->size)) != NULL && has_room(run)) {
        if (phase == PHASE_NODES) {
            const struct catalog_node *node = row;
            put_node(run, node);
            put_index(run, RECORD_NODE_INDEX, node->name);
            key_init(at, node->name);
        } else if (phase == PHASE_CHECKS) {
            const struct catalog_check *check = row;
            put_check(run, check);
            key_init(at, check->node);
            key_add(at, check->id);
        } else {
            const struct catalog_service *service = ((const struct catalog_instance *)row)->service;
            if (last == NULL || !str_equal_fold(last, service->name)) {
                put_index(run, RECORD_SERVICE_INDEX, service->name);
                last = service->name;
            }
            put_service(run, service);
            key_instance(at, service);
        }
        go_behind(at);
    }
    return row == NULL;
}

static bool run_name(struct run *run, const char *name, struct key *at) {
    if (at->size == 0) {
        key_init(at, name);
    }
    const struct catalog_instance *instance;
    while ((instance = tree_seek(&run->view->instances, at->bytes, at->size)) != NULL &&
           str_equal_fold(instance->service->name, name) && has_room(run)) {
        put_instance(run, instance);
        key_instance(at, instance->service);
        go_behind(at);
    }
    if (instance != NULL && str_equal_fold(instance->service->name, name)) {
        return false;
    }
    struct mirror_record ready = {.kind = MIRROR_READY, .ready = name};
    put_index(run, RECORD_SERVICE_INDEX, name);
    put_indexes(run);
    codec_encode_mirror(&ready, run->out);
    return true;
}

/* ---- changes ---- */

static int compare_names(const void *a, const void *b) {
    return strcasecmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_selected(const struct run *run, const char *name) {
    return run->plan->all || bsearch(&name, run->plan->names, run->plan->name_count, sizeof name,
                                     compare_names) != NULL;
}

struct search {
    const struct run *run;
    bool found;
};

static bool find_selected(const struct catalog_service *service, void *context) {
    struct search *search = context;
    search->found = is_selected(search->run, service->name);
    return !search->found;
}

static bool node_is_selected(const struct run *run, const char *node) {
    struct search search = {run, run->plan->all};
    if (!run->plan->all) {
        view_walk_node_services(run->view, node, find_selected, &search);
    }
    return search.found;
}

static void tell_service(struct run *run, const struct change *change) {
    const struct catalog_service *service = view_get_service(run->view, change->node, change->id);
    if (service != NULL && run->plan->all) {
        put_service(run, service);
    } else if (service != NULL && is_selected(run, service->name)) {
        struct key key;
        key_instance(&key, service);
        put_instance(run, tree_get(&run->view->instances, key.bytes, key.size));
    } else if (is_selected(run, change->name)) {
        put_gone(run, MIRROR_SERVICE, change->node, change->id);
    }
}

/* Of a service by its name, "" of a node itself. */
static bool check_is_selected(const struct run *run, const char *node, const char *service) {
    return *service != '\0' ? is_selected(run, service) : node_is_selected(run, node);
}

static void tell_check(struct run *run, const struct change *change) {
    const struct catalog_check *check = view_get_check(run->view, change->node, change->id);
    const struct catalog_service *service =
        check != NULL && *check->service_id != '\0'
            ? view_get_service(run->view, check->node, check->service_id)
            : NULL;
    if (check != NULL &&
        check_is_selected(run, check->node, service != NULL ? service->name : "")) {
        put_check(run, check);
    } else if (check_is_selected(run, change->node, change->name)) {
        put_gone(run, MIRROR_CHECK, change->node, change->id);
    }
}

static void tell_node(struct run *run, const struct change *change) {
    const struct catalog_node *node = view_get_node(run->view, change->node);
    if (node != NULL && node_is_selected(run, node->name)) {
        put_node(run, node);
    } else if (node == NULL && run->plan->all && !MUTANT(gone_untold)) {
        put_gone(run, MIRROR_NODE, change->node, "");
    }
}

static void tell(struct run *run, const struct change *change) {
    switch (change->kind) {
    case CHANGE_NODE:
        tell_node(run, change);
        break;
    case CHANGE_SERVICE:
        tell_service(run, change);
        break;
    case CHANGE_CHECK:
        tell_check(run, change);
        break;
    case CHANGE_HEALTH:
        if (node_is_selected(run, change->node)) {
            struct mirror_record touch = {.kind = MIRROR_TOUCH,
                                          .touch = {change->node, change->index}};
            codec_encode_mirror(&touch, run->out);
        }
        break;
    case CHANGE_NAME:
        if (is_selected(run, change->name)) {
            put_index(run, RECORD_SERVICE_INDEX, change->name);
        }
        break;
    }
}

static int compare_changes(const void *a, const void *b) {
    const struct change *x = a, *y = b;
    int order = (int)x->kind - (int)y->kind;
    order = order != 0 ? order : strcasecmp(x->node, y->node);
    order = order != 0 ? order : strcasecmp(x->id, y->id);
    order = order != 0 ? order : strcasecmp(x->name, y->name);
    return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

static bool is_same(const struct change *a, const struct change *b) {
    return a->kind == b->kind && strcasecmp(a->node, b->node) == 0 &&
           strcasecmp(a->id, b->id) == 0 && strcasecmp(a->name, b->name) == 0;
}

/* Indexes of nodes, each once. */
static void tell_node_indexes(struct run *run, const struct change *v, size_t count) {
    const char **nodes = mem_alloc((count + 1) * sizeof *nodes);
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (*v[i].node != '\0') {
            nodes[used++] = v[i].node;
        }
    }
    qsort(nodes, used, sizeof *nodes, compare_names);
    for (size_t i = 0; i < used; i++) {
        if (i + 1 == used || strcasecmp(nodes[i], nodes[i + 1]) != 0) {
            put_index(run, RECORD_NODE_INDEX, nodes[i]);
        }
    }
    free(nodes);
}

/* True: there is nothing but indexes. */
static bool run_changes(struct run *run) {
    struct change change, *v = NULL;
    size_t count = 0, capacity = 0, at = 0;
    if (!run->plan->all && run->plan->name_count == 0) {
        put_indexes(run); /* an agent on whose host nothing is looked up */
        return true;
    }
    while (change_read(&run->plan->changes, &at, &change)) {
        if (count == capacity) {
            capacity = capacity == 0 ? 64 : 2 * capacity;
            v = mem_realloc(v, capacity * sizeof *v);
        }
        v[count++] = change;
    }
    if (count > 0) {
        qsort(v, count, sizeof *v, compare_changes);
    }
    for (size_t i = 0; i < count; i++) {
        if (i + 1 == count || !is_same(&v[i], &v[i + 1])) {
            tell(run, &v[i]); /* the newest */
        }
    }
    if (run->plan->all) {
        tell_node_indexes(run, v, count);
    }
    bool nothing = run->out->count == 0;
    put_indexes(run);
    free(v);
    return nothing;
}

void mirror_job_run(struct mirror_job *job, const struct catalog_view *view) {
    struct mirror_plan *plan = job->plan;
    struct run run = {.view = view, .plan = plan, .out = &job->out};
    if (plan->telling != NULL) {
        plan->end = run_name(&run, plan->telling, &plan->at);
    } else if (plan->phase != PHASE_CHANGES) {
        plan->end = run_phase(&run, plan->phase, &plan->at);
    } else {
        job->empty = run_changes(&run) && !plan->all && !plan->first;
    }
}
