/* The process of a server: its clock, its log, its chance. Built as world.c is. */
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "net/crypto.h"
#include SIM_WORLD

struct server *here;

uint64_t server_now_ms(const struct server *server) {
    return 1000 + (server->world->now - server->clock_at) * server->rate / (1000 * RATE);
}

/* Until its clock shows that. */
uint64_t server_delay_us(const struct server *server, int64_t deadline_ms) {
    if ((uint64_t)deadline_ms <= server_now_ms(server)) {
        return 0;
    }
    uint64_t at =
        server->clock_at + ((uint64_t)deadline_ms - 1000) * 1000 * RATE / server->rate + 1000;
    return at > server->world->now ? at - server->world->now : 0;
}

void server_enter(struct server *server) {
    here = server;
}

void server_leave(struct server *server) {
    (void)server;
}

void server_turn_ended(struct server *server) {
    (void)server;
}

void log_write(struct log *log, enum log_level level, const char *module, const char *format, ...) {
    char line[256];
    (void)log;
    (void)module;
    if (here->world->trace && level >= LOG_DEBUG) {
        va_list args;
        va_start(args, format);
        vsnprintf(line, sizeof line, format, args);
        va_end(args);
        world_trace(here->world, "%s: %s", here->name, line);
    }
}

uint64_t crypto_random_u64(void) {
    return rand_next(&here->world->rand);
}
