/* Any text as a filter, judged against a row with some of everything. What compiles must also
 * compile behind `not` in parentheses, and say the opposite; what does not must say why. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "catalog/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str_pair pairs[] = {{"b c", "1"}, {"k", "v"}};
static const char *tags[] = {"v1", "x"};
static struct catalog_tagged_address addresses[] = {{"lan", "10.0.0.1", 80}};
static const struct catalog_node node = {.id = "",
                                         .name = "n1",
                                         .address = "10.0.0.1",
                                         .tagged_addresses = {pairs, 2, true},
                                         .meta = {pairs, 2, true},
                                         .region = "",
                                         .zone = ""};
static const struct catalog_service service = {.node = "n1",
                                               .id = "web-1",
                                               .name = "web",
                                               .tags = {tags, 2},
                                               .address = "",
                                               .port = 8080,
                                               .socket_path = "",
                                               .tagged_addresses = addresses,
                                               .tagged_address_count = 1,
                                               .meta = {pairs, 2, true},
                                               .weight_passing = 1,
                                               .weight_warning = 1,
                                               .kind = "",
                                               .region = "",
                                               .zone = "",
                                               .proxy = "",
                                               .connect = ""};
static const struct catalog_check check = {.node = "n1",
                                           .id = "c",
                                           .name = "c",
                                           .status = "passing",
                                           .notes = "",
                                           .output = "aaaaaaaaaaaaaaaaaaaaaaab \xff 200 OK\n",
                                           .service_id = "web-1",
                                           .service_name = "web",
                                           .service_tags = {tags, 2},
                                           .type = "http",
                                           .interval = "",
                                           .timeout = "",
                                           .definition = ""};

static const void *row_of(enum filter_rows rows, const struct catalog_instance *instance) {
    switch (rows) {
    case FILTER_NODES:
        return &node;
    case FILTER_SERVICES:
        return &service;
    case FILTER_CHECKS:
        return &check;
    default:
        return instance;
    }
}

static void judge(enum filter_rows rows, const char *text, const void *row) {
    struct arena arena;
    struct filter *filter, *opposite;
    struct err_text reason = {""};
    arena_init(&arena);
    if (filter_compile(rows, text, "dc1", &arena, &filter, &reason) != ERR_OK) {
        ASSERT(strncmp(reason.s, "Failed to create boolean expression evaluator: ", 47) == 0);
        ASSERT(strlen(reason.s) > 47);
    } else {
        bool stays = filter_keeps(filter, row);
        const char *denied = arena_format(&arena, "not (%s)", text);
        enum err err = filter_compile(rows, denied, "dc1", &arena, &opposite, &reason);
        ASSERT(err == ERR_OK || strlen(denied) > LIMIT_FILTER_BYTES ||
               strstr(reason.s, "nested deeper") != NULL);
        if (err == ERR_OK) {
            bool goes = filter_keeps(opposite, row);
            ASSERT(filter_judge(filter, &reason) == filter_judge(opposite, &reason));
            ASSERT(filter_judge(filter, &reason) != ERR_OK || stays != goes);
        }
    }
    arena_clear(&arena);
}

/* The first byte chooses the kind of rows. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) {
        return 0;
    }
    struct catalog_instance *instance = calloc(1, sizeof *instance + sizeof instance->checks[0]);
    char *text = calloc(1, size);
    ASSERT(instance != NULL && text != NULL);
    instance->node = &node;
    instance->service = &service;
    instance->check_count = 1;
    instance->checks[0] = &check;
    memcpy(text, data + 1, size - 1);
    enum filter_rows rows = (enum filter_rows)(FILTER_NODES + data[0] % 5);
    judge(rows, text, row_of(rows, instance));
    free(text);
    free(instance);
    return 0;
}
