/* The servers of one datacenter as an agent that asks them knows them (agent/links.c): who is
 * alive, how far each is, who has lately not answered; and which of them to connect to. No I/O. */
#ifndef AGENT_KNOWN_SERVERS_H
#define AGENT_KNOWN_SERVERS_H

#include "agent/links.h"
#include "base/rand.h"

struct known_server {
    struct uuid node;
    struct addr addr;
    char name[RPC_NAME_BYTES];
    double distance_ms; /* of a round trip; below 0: not known */
    bool alive, left;
    bool died; /* with the last known_servers_set */
    int64_t avoid_until_ms;
};

/* Init with {0}. What is borrowed from it holds until the next known_servers_set. */
struct known_servers {
    struct known_server *v;
    uint32_t count;
};

void known_servers_clear(struct known_servers *servers);
/* All that there are now; copied. Who was known keeps its distance, unless that has changed by a
 * lot, and is avoided as before, unless it is back. */
void known_servers_set(struct known_servers *servers, const struct links_server *v, uint32_t count);
/* NULL: unknown. */
const struct known_server *known_servers_find(const struct known_servers *servers,
                                              const struct uuid *node);
/* Others are taken before it. One that is unknown is nothing to avoid. */
void known_servers_avoid(struct known_servers *servers, const struct uuid *node, int64_t until_ms);
/* Of those that are alive, as agent/choice.h has it. NULL: none is. */
const struct known_server *known_servers_choose(const struct known_servers *servers,
                                                const struct uuid *self, int64_t now_ms);
/* Any of those that failed and are not to be avoided: after a long cut links are whole before the
 * pool knows that the others live. NULL: there is none. */
const struct known_server *known_servers_choose_failed(const struct known_servers *servers,
                                                       struct rand *rand, int64_t now_ms);

#endif
