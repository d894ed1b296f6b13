/* Transactions (contract, kv 3): all operations in one command, or none of them.
 *
 * The operations run on the working state. What they replace is kept in a journal instead of being
 * retired, and what they make is noted, so that the state before can be taken back whole: its trees
 * are persistent, so it is still there. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "catalog/internal.h"
#include "catalog/row.h"

/* ---- results ---- */

void catalog_result_clear(struct catalog_result *result) {
    for (uint32_t i = 0; i < result->answer_count; i++) {
        free(result->answers[i].row);
    }
    for (uint32_t i = 0; i < result->failure_count; i++) {
        free(result->failures[i].sentence);
    }
    free(result->answers);
    free(result->failures);
    *result = (struct catalog_result){0};
}

static void answer(struct catalog_result *result, enum catalog_row_kind kind, void *row,
                   bool with_value) {
    if (result->answer_count == result->answer_capacity) {
        result->answer_capacity = result->answer_capacity == 0 ? 16 : 2 * result->answer_capacity;
        result->answers =
            mem_realloc(result->answers, result->answer_capacity * sizeof *result->answers);
    }
    result->answers[result->answer_count++] = (struct catalog_answer){kind, with_value, row};
}

void catalog_result_fail(struct catalog_result *result, uint32_t operation, const char *format,
                         ...) {
    struct err_text text;
    va_list args;
    va_start(args, format);
    vsnprintf(text.s, sizeof text.s, format, args);
    va_end(args);
    if (result->failure_count == result->failure_capacity) {
        result->failure_capacity = result->failure_capacity == 0 ? 4 : 2 * result->failure_capacity;
        result->failures =
            mem_realloc(result->failures, result->failure_capacity * sizeof *result->failures);
    }
    result->failures[result->failure_count++] =
        (struct catalog_failure){operation, mem_strdup(text.s)};
}

/* ---- reads ---- */

static void answer_kv(struct catalog_result *result, const struct catalog_kv *kv, bool with_value) {
    if (with_value) {
        answer(result, ROW_KV, row_copy_kv(kv), true);
        return;
    }
    struct catalog_kv *bare = mem_alloc(row_kv_bytes(kv->key_size, kv->session_size, 0));
    row_fill_kv(bare, catalog_kv_key(kv), catalog_kv_session(kv), NULL, 0);
    bare->create_index = kv->create_index;
    bare->modify_index = kv->modify_index;
    bare->lock_index = kv->lock_index;
    bare->flags = kv->flags;
    answer(result, ROW_KV, bare, false);
}

/* What get-or-empty says of a key that is not there: the question. */
static void answer_nothing(struct catalog_result *result, const struct catalog_kv_operation *op) {
    struct catalog_kv *echo = mem_alloc(row_kv_bytes(strlen(op->key), strlen(op->session), 0));
    row_fill_kv(echo, op->key, op->session, NULL, 0);
    echo->flags = op->flags;
    echo->modify_index = op->index;
    answer(result, ROW_KV, echo, false);
}

static bool answer_tree(const struct catalog_kv *kv, void *context) {
    answer_kv(context, kv, true);
    return true;
}

/* False: it is a write. */
static bool read_kv(const struct catalog_view *view, const struct catalog_kv_operation *op,
                    uint32_t at, struct catalog_result *result) {
    const struct catalog_kv *kv = view_get_kv(view, op->key);
    switch (op->verb) {
    case KV_GET:
        if (kv == NULL) {
            catalog_result_fail(result, at, "key \"%.300s\" doesn't exist", op->key);
        } else {
            answer_kv(result, kv, true);
        }
        return true;
    case KV_GET_OR_EMPTY:
        if (kv == NULL) {
            answer_nothing(result, op);
        } else {
            answer_kv(result, kv, true);
        }
        return true;
    case KV_GET_TREE:
        view_walk_kvs(view, op->key, answer_tree, result);
        return true;
    case KV_CHECK_INDEX:
        if (kv == NULL) {
            catalog_result_fail(result, at, "failed to check index, key \"%.300s\" doesn't exist",
                                op->key);
        } else if (kv->modify_index != op->index) {
            catalog_result_fail(
                result, at,
                "failed index check for key \"%.300s\", current modify index %llu != "
                "%llu",
                op->key, (unsigned long long)kv->modify_index, (unsigned long long)op->index);
        } else {
            answer_kv(result, kv, false);
        }
        return true;
    case KV_CHECK_SESSION:
        if (kv == NULL) {
            catalog_result_fail(result, at, "failed to check session, key \"%.300s\" doesn't exist",
                                op->key);
        } else if (strcmp(catalog_kv_session(kv), op->session) != 0) {
            catalog_result_fail(
                result, at,
                "failed session check for key \"%.300s\", current session \"%s\" != \"%.64s\"",
                op->key, catalog_kv_session(kv), op->session);
        } else {
            answer_kv(result, kv, false);
        }
        return true;
    case KV_CHECK_NOT_EXISTS:
        if (kv != NULL) {
            catalog_result_fail(result, at, "key \"%.300s\" exists", op->key);
        }
        return true;
    default:
        return false;
    }
}

static const struct catalog_node *find_node(const struct catalog_view *view,
                                            const struct catalog_node *node) {
    return *node->id != '\0' ? view_get_node_by_id(view, node->id)
                             : view_get_node(view, node->name);
}

static void answer_node(const struct catalog_view *view, const struct catalog_node *node,
                        uint32_t at, struct catalog_result *result) {
    const struct catalog_node *row = find_node(view, node);
    if (row == NULL) {
        catalog_result_fail(result, at, "node \"%.128s\" doesn't exist", node->name);
    } else {
        answer(result, ROW_NODE, row_copy_node(row), true);
    }
}

static void answer_service(const struct catalog_view *view, const struct catalog_service *service,
                           uint32_t at, struct catalog_result *result) {
    const struct catalog_service *row = view_get_service(view, service->node, service->id);
    if (row == NULL) {
        catalog_result_fail(result, at, "service \"%.128s\" on node \"%.128s\" doesn't exist",
                            service->id, service->node);
    } else {
        answer(result, ROW_SERVICE, row_copy_service(row), true);
    }
}

static void answer_check(const struct catalog_view *view, const struct catalog_check *check,
                         uint32_t at, struct catalog_result *result) {
    const struct catalog_check *row = view_get_check(view, check->node, check->id);
    if (row == NULL) {
        catalog_result_fail(result, at, "check \"%.128s\" on node \"%.128s\" doesn't exist",
                            check->id, check->node);
    } else {
        answer(result, ROW_CHECK, row_copy_check(row), true);
    }
}

static void answer_row(const struct catalog_view *view, const struct catalog_operation *op,
                       uint32_t at, struct catalog_result *result) {
    if (op->kind == ROW_NODE) {
        answer_node(view, &op->node, at, result);
    } else if (op->kind == ROW_SERVICE) {
        answer_service(view, &op->service, at, result);
    } else {
        answer_check(view, &op->check, at, result);
    }
}

bool transaction_is_read(const struct catalog_transaction *txn) {
    for (uint32_t i = 0; i < txn->count; i++) {
        const struct catalog_operation *op = &txn->operations[i];
        if (op->kind == ROW_KV ? op->kv.verb <= KV_DELETE_TREE : op->verb != ROW_GET) {
            return false;
        }
    }
    return true;
}

void view_run_transaction(const struct catalog_view *view, const struct catalog_transaction *txn,
                          struct catalog_result *result) {
    for (uint32_t i = 0; i < txn->count; i++) {
        const struct catalog_operation *op = &txn->operations[i];
        if (op->kind == ROW_KV) {
            read_kv(view, &op->kv, i, result);
        } else {
            answer_row(view, op, i, result);
        }
    }
}

/* ---- writes ---- */

/* Why a condition did not hold, and what could not be done. */
static void fail_kv(struct catalog_result *result, const struct catalog_kv_operation *op,
                    uint32_t at) {
    const char *verb = op->verb == KV_CAS      ? "set"
                       : op->verb == KV_LOCK   ? "lock"
                       : op->verb == KV_UNLOCK ? "unlock"
                                               : "delete";
    const char *reason = op->verb == KV_LOCK     ? "lock is already held"
                         : op->verb == KV_UNLOCK ? "lock isn't held, or is held by another session"
                                                 : "index is stale";
    catalog_result_fail(result, at, "failed to %s key \"%.300s\", %s", verb, op->key, reason);
}

static void write_kv(struct catalog *catalog, const struct catalog_kv_operation *op, uint32_t at,
                     struct catalog_result *result) {
    struct err_text text = {""};
    bool held = true;
    if (catalog_change_kv(catalog, op, &held, &text) != ERR_OK) {
        catalog_result_fail(result, at, "%s", text.s);
    } else if (!held) {
        fail_kv(result, op, at);
    } else if (op->verb <= KV_UNLOCK) {
        answer_kv(result, view_get_kv(&catalog->next, op->key), false);
    }
}

/* Whether a row as it is now may be replaced, created or deleted; the sentence ends its failure. */
static bool index_fits(const struct catalog_operation *op, bool there, uint64_t present,
                       uint64_t wanted) {
    if (op->verb == ROW_CAS && wanted == 0) {
        return !there;
    }
    return (op->verb != ROW_CAS && op->verb != ROW_DELETE_CAS) || (there && present == wanted);
}

static const char *doing(const struct catalog_operation *op) {
    return op->verb == ROW_DELETE_CAS ? "delete" : "set";
}

static bool is_deletion(const struct catalog_operation *op) {
    return op->verb == ROW_DELETE || op->verb == ROW_DELETE_CAS;
}

static void write_node(struct catalog *catalog, const struct catalog_operation *op, uint32_t at,
                       struct catalog_result *result) {
    const struct catalog_node *row = view_get_node(&catalog->next, op->node.name);
    struct err_text text = {""};
    if (!index_fits(op, row != NULL, row != NULL ? row->modify_index : 0, op->node.modify_index)) {
        catalog_result_fail(result, at, "failed to %s node \"%.128s\", index is stale", doing(op),
                            op->node.name);
    } else if (is_deletion(op)) {
        struct catalog_deregister dereg = {op->node.name, "", ""};
        catalog_apply_deregister(catalog, &dereg);
    } else {
        struct catalog_register reg = {.node = op->node};
        if (catalog_apply_register(catalog, &reg, &text) != ERR_OK) {
            catalog_result_fail(result, at, "%s", text.s);
        } else {
            answer_node(&catalog->next, &op->node, at, result);
        }
    }
}

static void write_service(struct catalog *catalog, const struct catalog_operation *op, uint32_t at,
                          struct catalog_result *result) {
    const struct catalog_service *service = &op->service;
    const struct catalog_service *row =
        view_get_service(&catalog->next, service->node, service->id);
    const struct catalog_node *node = view_get_node(&catalog->next, service->node);
    struct err_text text = {""};
    if (!index_fits(op, row != NULL, row != NULL ? row->modify_index : 0, service->modify_index)) {
        catalog_result_fail(result, at,
                            "failed to %s service \"%.128s\" on node \"%.128s\", index is stale",
                            doing(op), service->id, service->node);
    } else if (is_deletion(op)) {
        struct catalog_deregister dereg = {service->node, service->id, ""};
        catalog_apply_deregister(catalog, &dereg);
    } else if (node == NULL) {
        catalog_result_fail(result, at, "Missing node registration");
    } else {
        struct catalog_register reg = {.node = *node, .skip_node_update = true, .service = service};
        if (catalog_apply_register(catalog, &reg, &text) != ERR_OK) {
            catalog_result_fail(result, at, "%s", text.s);
        } else {
            answer_service(&catalog->next, service, at, result);
        }
    }
}

static void write_check(struct catalog *catalog, const struct catalog_operation *op, uint32_t at,
                        struct catalog_result *result) {
    const struct catalog_check *check = &op->check;
    const struct catalog_check *row = view_get_check(&catalog->next, check->node, check->id);
    const struct catalog_node *node = view_get_node(&catalog->next, check->node);
    struct err_text text = {""};
    if (!index_fits(op, row != NULL, row != NULL ? row->modify_index : 0, check->modify_index)) {
        catalog_result_fail(result, at,
                            "failed to %s check \"%.128s\" on node \"%.128s\", index is stale",
                            doing(op), check->id, check->node);
    } else if (is_deletion(op)) {
        struct catalog_deregister dereg = {check->node, "", check->id};
        if (row != NULL) {
            catalog_apply_deregister(catalog, &dereg);
        }
    } else if (node == NULL) {
        catalog_result_fail(result, at, "Missing node registration");
    } else if (*check->service_id != '\0' &&
               view_get_service(&catalog->next, check->node, check->service_id) == NULL) {
        catalog_result_fail(result, at, "Missing service registration");
    } else {
        struct catalog_register reg = {
            .node = *node, .skip_node_update = true, .checks = check, .check_count = 1};
        if (catalog_apply_register(catalog, &reg, &text) != ERR_OK) {
            catalog_result_fail(result, at, "%s", text.s);
        } else {
            answer_check(&catalog->next, check, at, result);
        }
    }
}

static void run_operation(struct catalog *catalog, const struct catalog_operation *op, uint32_t at,
                          struct catalog_result *result) {
    if (op->kind == ROW_KV) {
        if (!read_kv(&catalog->next, &op->kv, at, result)) {
            write_kv(catalog, &op->kv, at, result);
        }
    } else if (op->verb == ROW_GET) {
        answer_row(&catalog->next, op, at, result);
    } else if (op->kind == ROW_NODE) {
        write_node(catalog, op, at, result);
    } else if (op->kind == ROW_SERVICE) {
        write_service(catalog, op, at, result);
    } else {
        write_check(catalog, op, at, result);
    }
    catalog_go_on(catalog, UINT64_MAX); /* whole before the next one */
}

/* ---- all or nothing ---- */

struct undo {
    struct catalog_view before;
    size_t cuts, events;
    struct tree_journal journal;
};

static void begin(struct catalog *catalog, struct undo *undo) {
    *undo = (struct undo){
        .before = catalog->next, .cuts = catalog->cut_count, .events = catalog->event_count};
    catalog->batch.stamp++; /* so that no node from before is changed in place */
    catalog->batch.journal = catalog->journal = &undo->journal;
}

static void commit(struct catalog *catalog, struct undo *undo) {
    for (size_t i = 0; i < undo->journal.count; i++) {
        epoch_retire(catalog->epoch, undo->journal.retired[i]);
    }
}

static void take_back(struct catalog *catalog, struct undo *undo) {
    struct tree *trees[CATALOG_TREES];
    catalog_list_trees(&catalog->next, trees);
    for (size_t i = 0; i < CATALOG_TREES; i++) {
        tree_free_made(trees[i], catalog->batch.stamp);
    }
    while (catalog->cut_count > undo->cuts) {
        tree_free_made(&catalog->cut[--catalog->cut_count], catalog->batch.stamp);
    }
    for (size_t i = 0; i < catalog->made_count; i++) {
        free(catalog->made[i]);
    }
    catalog_cut_events(catalog, undo->events);
    catalog->next = undo->before;
    catalog->batch.stamp++;
}

static void judge_lock_delays(struct catalog *catalog, const struct catalog_transaction *txn,
                              struct catalog_result *result) {
    for (uint32_t i = 0; i < txn->count; i++) {
        const struct catalog_kv_operation *op = &txn->operations[i].kv;
        if (txn->operations[i].kind == ROW_KV && op->verb == KV_LOCK &&
            catalog_get_lock_delay(&catalog->next, op->key) != NULL) {
            catalog_result_fail(result, i, "failed to lock key \"%.300s\" due to lock delay",
                                op->key);
        }
    }
}

void catalog_apply_transaction(struct catalog *catalog, const struct catalog_transaction *txn,
                               struct catalog_result *result) {
    struct catalog_result unwanted = {0};
    struct undo undo;
    struct catalog_result *to = result != NULL ? result : &unwanted;
    judge_lock_delays(catalog, txn, to);
    if (to->failure_count == 0) {
        begin(catalog, &undo);
        for (uint32_t i = 0; i < txn->count; i++) {
            run_operation(catalog, &txn->operations[i], i, to);
        }
        if (to->failure_count == 0 || MUTANT(transaction_half)) {
            commit(catalog, &undo);
        } else {
            take_back(catalog, &undo);
        }
        free(undo.journal.retired);
        free(catalog->made);
        catalog->made = NULL;
        catalog->made_count = catalog->made_capacity = 0;
        catalog->batch.journal = catalog->journal = NULL;
    }
    catalog_result_clear(&unwanted);
}
