/* Checks of type `session` (contract, kv 2.2): external ones that are passing while a session of
 * the name in their definition is in force on their node, and critical once one has ended.
 *
 * They are written once the rest of the command that made or ended sessions is done, one after the
 * other, because whatever ends one may be walking over checks. A critical check may end sessions in
 * turn: they queue up behind. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "catalog/internal.h"
#include "catalog/row.h"

bool catalog_follows_session(const struct catalog_check *check) {
    return strcmp(check->type, "session") == 0;
}

void catalog_note_session(struct catalog *catalog, const struct catalog_session *session,
                          bool in_force) {
    if (catalog->next.followers == 0) {
        return;
    }
    if (catalog->noted_count == catalog->noted_capacity) {
        catalog->noted_capacity = catalog->noted_capacity == 0 ? 16 : 2 * catalog->noted_capacity;
        catalog->noted =
            mem_realloc(catalog->noted, catalog->noted_capacity * sizeof *catalog->noted);
    }
    catalog->noted[catalog->noted_count++] = (struct catalog_noted){session, in_force};
}

struct search {
    struct catalog *catalog;
    const char *member; /* as it stands in the definition; NULL: there must be none */
    const char *status, *output;
    const struct catalog_check *found;
};

/* A definition is JSON as we write it, so within a value each quote has a backslash before it. */
static const char *member_text(const char *name, struct buf *text) {
    struct json json;
    if (*name == '\0') {
        return NULL;
    }
    json_init(&json, text, false);
    json_object_begin(&json);
    json_member_str(&json, "SessionName", name);
    buf_append_byte(text, '\0');
    return text->failed ? "" : text->data + 1; /* without the brace */
}

/* The next one that is not up to date. */
static bool find(const struct catalog_check *check, void *context) {
    struct search *search = context;
    search->catalog->touched++;
    bool matches =
        catalog_follows_session(check) &&
        (search->member != NULL ? strstr(check->definition, search->member) != NULL
                                : strstr(check->definition, "\"SessionName\":\"") == NULL);
    if (matches && (strcmp(check->status, search->status) != 0 ||
                    strcmp(check->output, search->output) != 0)) {
        search->found = check;
    }
    return search->found == NULL;
}

static bool follow(struct catalog *catalog, struct catalog_noted noted) {
    struct search search = {.catalog = catalog, .status = noted.in_force ? "passing" : "critical"};
    struct buf text;
    char output[128];
    buf_init(&text, 16 * LIMIT_NAME_BYTES);
    snprintf(output, sizeof output, "Session '%s' %s", noted.session->id,
             noted.in_force ? "in force" : "is invalid");
    search.output = output;
    search.member = member_text(noted.session->name, &text);
    view_walk_node_checks(&catalog->next, noted.session->node, find, &search);
    if (search.found != NULL) {
        struct catalog_check check = *search.found;
        check.status = search.status;
        check.output = output;
        catalog_write_check(catalog, &check);
    }
    buf_clear(&text);
    return search.found != NULL;
}

bool catalog_follow_session(struct catalog *catalog) {
    while (catalog->noted_at < catalog->noted_count) {
        if (follow(catalog, catalog->noted[catalog->noted_at])) {
            return true;
        }
        catalog->noted_at++;
    }
    catalog->noted_at = catalog->noted_count = 0;
    return false;
}
