/* net/rpc.h on the virtual clock, as rpc.c has it: for the simulators of regions and of a
 * datacenter. Included as world.h is; EVENT_NET and EVENT_BROKEN are its events. */
#ifndef SIM_RPC_H
#define SIM_RPC_H

#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"

struct event;
struct link;
struct rpc;
struct server;
struct world;

/* The root of a server. */
struct rpc *sim_rpc_create(struct server *server);
void sim_rpc_destroy(struct rpc *rpc);
/* In a turn: what has arrived. */
void sim_rpc_run(struct rpc *rpc);
bool sim_rpc_waits(const struct rpc *rpc);
/* Events of a server whose connection it is. */
void sim_rpc_arrives(struct server *server, const struct event *event);
void sim_rpc_broken(struct server *server, const struct event *event);
/* Some of a server's connections to so many servers from the first one on break. */
void sim_rpc_break_some(struct server *server, uint32_t first, uint32_t count);

/* ---- what it asks of its simulator ---- */

struct link *sim_rpc_link(struct world *world, const struct server *from, const struct server *to);
/* NULL: there is no host. */
struct server *sim_rpc_at(struct world *world, const struct addr *addr);
struct addr sim_rpc_addr(const struct server *server);
void sim_rpc_sent(const struct server *from, const struct server *to, uint64_t bytes);

#endif
