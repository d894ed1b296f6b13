/* Random commands about few nodes, services and checks, so that they meet. */
#ifndef TESTS_UNIT_CATALOG_RANDOM_H
#define TESTS_UNIT_CATALOG_RANDOM_H

#include <stdio.h>

#include "tests/unit/catalog_support.h"

struct command_source {
    struct rand rand;
    char name[32], address[32], service_id[32], service[32], check_id[3][32], id[40];
    const char *tags[1];
    struct catalog_service row;
    struct catalog_check checks[3];
};

static inline const char *pick(struct command_source *s, char out[32], const char *stem,
                               uint64_t count) {
    uint64_t n = rand_below(&s->rand, count);
    snprintf(out, 32, "%s%u", stem, (unsigned)n);
    if (rand_below(&s->rand, 10) == 0) {
        out[0] = (char)(out[0] ^ 0x20); /* another case is the same name */
    }
    return out;
}

static inline struct catalog_command random_command(struct command_source *s) {
    static const char *const statuses[] = {"passing", "warning", "critical"};
    uint64_t choice = rand_below(&s->rand, 20);
    pick(s, s->name, "node", 12);
    pick(s, s->service_id, "id", 5);
    if (choice < 4) {
        return (struct catalog_command){
            .kind = COMMAND_DEREGISTER,
            .dereg = {s->name, choice > 1 ? s->service_id : "",
                      choice == 1 ? pick(s, s->check_id[0], "check", 6) : ""}};
    }
    struct catalog_command command = {.kind = COMMAND_REGISTER};
    command.reg.node = node_row(s->name, pick(s, s->address, "a", 3));
    command.reg.skip_node_update = rand_below(&s->rand, 2);
    if (rand_below(&s->rand, 3) == 0) {
        snprintf(s->id, sizeof s->id, "%08u-0000-0000-0000-000000000000",
                 (unsigned)rand_below(&s->rand, 15));
        command.reg.node.id = s->id;
    }
    if (rand_below(&s->rand, 3) > 0) {
        s->row = service_row("", s->service_id, pick(s, s->service, "service", 4));
        s->row.port = (uint32_t)rand_below(&s->rand, 3);
        s->tags[0] = statuses[rand_below(&s->rand, 3)];
        s->row.tags = (struct str_list){s->tags, 1};
        command.reg.service = &s->row;
    }
    command.reg.check_count = (uint32_t)rand_below(&s->rand, 4);
    for (uint32_t i = 0; i < command.reg.check_count; i++) {
        const char *id =
            rand_below(&s->rand, 5) == 0 ? "serfHealth" : pick(s, s->check_id[i], "check", 6);
        s->checks[i] = check_row(s->name, id, rand_below(&s->rand, 2) ? s->service_id : "",
                                 statuses[rand_below(&s->rand, 3)]);
    }
    command.reg.checks = s->checks;
    return command;
}

#endif
