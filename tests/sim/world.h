/* What the simulators share whose servers have loops: the virtual clock (world.c), net/loop.h on it
 * (loop.c), and what a process needs of its world (process.c; the groups, whose servers have disks,
 * have their own). These files are built once for each simulator, against its header, which
 * SIM_WORLD names. That defines, before it includes this one:
 *
 *   enum event_kind   EVENT_TURN and EVENT_BODY among them
 *   struct event      at, number, kind, server, life, and data that is freed with it
 *   struct world      rand, failed, message, trace, hash, now, the heap of events, calm
 *   struct server     world, at, name, life, up, stands_still, loop, rpc; rate and clock_at
 *
 * Time is in microseconds, of the world; a server's own clock is in ms, and may run otherwise. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

struct world;
struct server;
struct event;
struct loop;

/* ---- world.c ---- */

/* The first failure counts. */
void world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool world_one_in(struct world *world, uint64_t n);
/* Both ends may come. */
uint64_t world_between(struct world *world, uint64_t low, uint64_t high);
void world_trace(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Something that two runs of one seed must agree on. */
void world_note(struct world *world, uint64_t what);
/* server NULL: of the world. Of a server's, those of an earlier life are for nobody. Owned by the
 * world; who posts it may add to it. */
struct event *world_post(struct world *world, uint64_t delay_us, enum event_kind kind,
                         const struct server *server);
/* The next one; there is one. The caller frees it and its data. */
struct event *world_take_first(struct world *world);

/* ---- loop.c ---- */

struct loop *sim_loop_create(struct server *server);
/* What has been posted to it runs before. */
void sim_loop_destroy(struct loop *loop);
/* There is something to do. */
void sim_loop_wake(struct loop *loop, uint64_t delay_us);
/* EVENT_TURN, EVENT_BODY: the turn goes on, after its process stood still. */
void sim_loop_turn(struct server *server, const struct event *event);
void sim_loop_body(struct server *server);

/* ---- process.c ---- */

uint64_t server_now_ms(const struct server *server);
/* Until its clock shows that. */
uint64_t server_delay_us(const struct server *server, int64_t deadline_ms);
extern struct server *here; /* whose code runs now */
void server_enter(struct server *server);
/* After its code ran: of a group, its disk may have taken the whole machine with it. */
void server_leave(struct server *server);
void server_turn_ended(struct server *server);

#endif
