/* Which of several servers an agent talks to: one function of what is known of them. Weighted
 * rendezvous hashing (Thaler and Ravishankar, 1998): agents spread evenly over servers that are
 * equally far, a server that comes takes over its share and no more, and the share of one that goes
 * is spread over all the others. */
#ifndef AGENT_CHOICE_H
#define AGENT_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/uuid.h"

struct choice_server {
    struct uuid node;
    double distance_ms; /* of a round trip; below 0: not known */
    bool alive;
    int64_t avoid_ms; /* for so long still: it has lately not answered; 0: not at all */
};

/* Its place; -1: none is alive. One to be avoided is taken only when there is no other, first the
 * one for which that ends first: it may have come back. */
int choice_server(const struct choice_server *servers, uint32_t count, const struct uuid *chooser);

#endif
