/* At most one leader a term (3.6.3: Election Safety), and at most one vote a server and term. */
#include "tests/sim/group/group.h"

void check_leader_elected(struct server *server) {
    struct world *world = server->world;
    uint64_t term = server->output.term;
    if (term >= TERMS_MAX) {
        world_fail(world, "term %lu: elections without end", term);
        return;
    }
    if (world->term_led[term] && !raft_id_equal(&world->leaders[term], &server->id)) {
        world_fail(world, "term %lu has two leaders, %c is the second", term, server->letter);
    }
    world->term_led[term] = true;
    world->leaders[term] = server->id;
    world->term_led_last = term > world->term_led_last ? term : world->term_led_last;
}

void check_vote(struct server *server, const struct raft_message *m) {
    struct raft_id to = m->to;
    if (m->kind == RAFT_MESSAGE_VOTE_REQUEST && !m->vote_request.pre_vote) {
        to = server->id;
    } else if (m->kind != RAFT_MESSAGE_VOTE_ANSWER || m->vote_answer.pre_vote ||
               !m->vote_answer.granted) {
        return;
    }
    uint64_t age_ms = server_now_ms(server) - server->started_at_ms;
    if (m->kind == RAFT_MESSAGE_VOTE_ANSWER && !server->blank && age_ms < LIMIT_RAFT_ELECTION_MS &&
        raft_get_configuration(server->raft)->count > 1) {
        world_fail(server->world, "%c votes %lu ms after its start: a lease may still run",
                   server->letter, age_ms);
    }
    if (server->votes_any && m->term == server->votes_term &&
        !raft_id_equal(&to, &server->votes_for)) {
        world_fail(server->world, "%c votes twice in term %lu", server->letter, m->term);
    }
    server->votes_any = true;
    if (m->term >= server->votes_term) {
        server->votes_term = m->term;
        server->votes_for = to;
    }
}

/* A wiped server is another one: its votes are not this one's. */
void check_identity(struct server *server, const struct raft_id *self) {
    if (!raft_id_equal(&server->votes_by, self)) {
        server->votes_by = *self;
        server->votes_any = false;
        server->votes_term = 0;
    }
}

/* At its start. */
void check_vote_kept(struct server *server, uint64_t term) {
    if (server->votes_any && term < server->votes_term) {
        world_fail(server->world, "%c has voted in term %lu, and comes back with term %lu",
                   server->letter, server->votes_term, term);
    }
}
