/* A group of several servers: writes and reads at any of them, the loss of the leader, peers that
 * lag behind the tail and behind the log, servers that come and go. */
#include "tests/unit/agent_group_support.h"

#include "agent/group_internal.h"

static void start_all(struct world *world, unsigned count) {
    world_init(world, count);
    for (unsigned i = 0; i < count; i++) {
        server_start(&world->servers[i]);
    }
    world_tell(world);
    world_bootstrap(world, count);
    assert_true(world_wait(world, all_know_leader, NULL));
}

static struct server *follower_of(struct world *world) {
    struct server *leader = world_leader(world);
    return &world->servers[(leader->number + 1) % world->count];
}

struct everywhere {
    const char *node;
};

static bool is_everywhere(struct world *world, void *context) {
    for (unsigned i = 0; i < world->count; i++) {
        if (world->servers[i].group != NULL && !has_node(&world->servers[i], context)) {
            return false;
        }
    }
    return true;
}

static void test_write_at_leader(void **state) {
    struct world world;
    (void)state;
    start_all(&world, 3);
    struct server *leader = world_leader(&world);
    write_surely(leader, "a", 0);
    assert_true(has_node(leader, "a")); /* who is answered can read it */
    assert_true(world_wait(&world, is_everywhere, (void *)(uintptr_t) "a"));
    world_clear(&world);
}

static void test_write_at_follower(void **state) {
    struct world world;
    (void)state;
    start_all(&world, 3);
    struct server *follower = follower_of(&world);
    write_surely(follower, "a", 0);
    assert_true(has_node(world_leader(&world), "a"));
    assert_int_equal(read_barrier(follower, false), ERR_OK);
    assert_true(has_node(follower, "a"));
    write_surely(follower, "b", 0);
    assert_int_equal(read_barrier(follower, true), ERR_OK);
    assert_true(has_node(follower, "b"));
    world_clear(&world);
}

/* A refusal of the catalog comes back from the leader with its sentence. */
static void test_refused_at_follower(void **state) {
    struct world world;
    (void)state;
    start_all(&world, 3);
    char name[LIMIT_NAME_BYTES + 2];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    assert_int_equal(write_node(follower_of(&world), name, 0), ERR_REFUSED);
    world_clear(&world);
}

static void test_leader_lost(void **state) {
    struct world world;
    (void)state;
    start_all(&world, 3);
    struct server *lost = world_leader(&world);
    write_surely(lost, "before", 0);
    server_stop(lost);
    struct server *other = &world.servers[(lost->number + 1) % 3];
    /* Asked at once, its fate may be unknown: it was sent to who is no more. Then it waits for the
     * next leader. */
    enum err err = write_node(other, "after", 0);
    assert_true(err == ERR_OK || err == ERR_TIMEOUT || err == ERR_NO_LEADER);
    write_surely(other, "after", 0);
    assert_int_equal(read_barrier(other, false), ERR_OK);
    assert_true(has_node(other, "before") && has_node(other, "after"));
    server_start(lost);
    world_tell(&world);
    assert_true(world_wait(&world, is_everywhere, (void *)(uintptr_t) "after"));
    world_clear(&world);
}

static void test_minority_refuses(void **state) {
    struct world world;
    (void)state;
    start_all(&world, 3);
    struct server *leader = world_leader(&world);
    server_stop(&world.servers[(leader->number + 1) % 3]);
    server_stop(&world.servers[(leader->number + 2) % 3]);
    enum err err = write_node(leader, "a", 0);
    assert_true(err == ERR_TIMEOUT || err == ERR_NO_LEADER);
    assert_int_equal(read_barrier(leader, true), ERR_NO_LEADER);
    assert_false(has_node(leader, "a"));
    world_clear(&world);
}

/* More than the tail holds: the peer is fed from the disk. */
static void test_fed_from_disk(void **state) {
    struct world world;
    (void)state;
    start_all(&world, 3);
    struct server *leader = world_leader(&world), *away = follower_of(&world);
    server_stop(away);
    for (int i = 0; i < 24; i++) {
        char node[16];
        snprintf(node, sizeof node, "n%d", i);
        write_surely(leader, node, 1000 * 1000);
    }
    server_start(away);
    world_tell(&world);
    assert_true(world_wait(&world, is_everywhere, (void *)(uintptr_t) "n23"));
    assert_true(has_node(away, "n0"));
    world_clear(&world);
}

/* Each server that is up takes its own. */
static bool have_snapshots(struct world *world, void *context) {
    (void)context;
    for (unsigned i = 0; i < world->count; i++) {
        struct group_status status = {.snapshot_index = 1};
        if (world->servers[i].group != NULL) {
            group_get_status(world->servers[i].group, &status);
        }
        if (status.snapshot_index == 0) {
            return false;
        }
    }
    return true;
}

/* More than the log holds: the peer gets a snapshot, in several pieces. */
static void test_snapshot_sent(void **state) {
    struct world world;
    (void)state;
    start_all(&world, 3);
    struct server *leader = world_leader(&world), *away = follower_of(&world);
    server_stop(away);
    for (int i = 0; i < 100; i++) {
        char node[16];
        snprintf(node, sizeof node, "n%d", i % 10);
        write_surely(leader, node, (size_t)1000 * 1000 + (size_t)i);
    }
    assert_true(world_wait(&world, have_snapshots, NULL));
    write_surely(leader, "last", 0);
    server_start(away);
    world_tell(&world);
    assert_true(world_wait(&world, is_everywhere, (void *)(uintptr_t) "last"));
    assert_true(has_node(away, "n0") && has_node(away, "n9"));
    /* It is on its disk, too. */
    server_stop(away);
    server_start(away);
    world_tell(&world);
    assert_true(world_wait(&world, is_everywhere, (void *)(uintptr_t) "n9"));
    world_clear(&world);
}

/* Compactions of the log may overlap, as after a snapshot that came beside one of the own. */
static void test_two_compactions(void **state) {
    struct world world;
    (void)state;
    start_all(&world, 3);
    struct server *leader = world_leader(&world);
    write_surely(leader, "a", 0);
    for (int i = 0; i < 3; i++) {
        group_compact(leader->group, 1);
    }
    leader->group->snapshot_wanted = true;
    group_maybe_snapshot(leader->group); /* waits for them */
    assert_false(leader->group->snapshot_writing);
    write_surely(leader, "b", 0);
    write_surely(leader, "c", 0);
    assert_int_equal(leader->group->compactions, 0);
    world_clear(&world);
}

static bool are_voters(struct world *world, void *context) {
    struct group_peer_status peers[LIMIT_RAFT_SERVERS];
    struct server *leader = world_leader(world);
    if (leader == NULL) {
        return false;
    }
    uint32_t count = group_get_peers(leader->group, peers), voters = 0;
    for (uint32_t i = 0; i < count; i++) {
        voters += peers[i].voter;
    }
    return count == *(unsigned *)context && voters == count;
}

static void start_alone(struct world *world, unsigned count) {
    world_init(world, count);
    server_start(&world->servers[0]);
    world_bootstrap(world, 1);
    world_tell(world);
    assert_true(world_wait(world, has_leader, NULL));
}

/* A sole voter reads by itself, but not what is committed and not yet in its view: a learner may
 * show that already (6.4). world_turn_end looks. */
static void test_alone_is_behind(void **state) {
    struct world world;
    (void)state;
    start_alone(&world, 1);
    world.behind = 0;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(write_node(&world.servers[0], i % 2 == 0 ? "a" : "b", 0), ERR_OK);
        assert_true(group_may_read(world.servers[0].group, true));
    }
    assert_true(world.behind > 0);
    world_clear(&world);
}

/* One server, then two blank ones in its pool: they become voters without anybody's help. */
static void test_servers_join(void **state) {
    struct world world;
    unsigned three = 3;
    (void)state;
    start_alone(&world, 3);
    write_surely(&world.servers[0], "a", 0);
    server_start(&world.servers[1]);
    server_start(&world.servers[2]);
    world_tell(&world);
    assert_true(world_wait(&world, are_voters, &three));
    assert_true(world_wait(&world, is_everywhere, (void *)(uintptr_t) "a"));
    server_stop(world_leader(&world));
    world_tell(&world);
    assert_true(world_wait(&world, has_leader, NULL));
    world_clear(&world);
}

/* A machine that lost its disk is a new server in the place of the old one. */
static void test_disk_lost(void **state) {
    struct world world;
    unsigned three = 3;
    (void)state;
    start_all(&world, 3);
    struct server *wiped = follower_of(&world);
    write_surely(world_leader(&world), "a", 0);
    struct raft_id before = wiped->id;
    server_stop(wiped);
    server_remove_files(wiped);
    server_start(wiped);
    assert_false(raft_id_equal(&before, &wiped->id));
    world_tell(&world);
    assert_true(world_wait(&world, is_everywhere, (void *)(uintptr_t) "a"));
    assert_true(world_wait(&world, are_voters, &three));
    world_clear(&world);
}

/* Flips a bit in the first place of the log's first segment where the text stands. */
static void rot(const struct server *server, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/raft/log-%016x", server->dir, 1);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    size_t size = strlen(text), at = 0;
    for (int c; at < size && (c = fgetc(file)) != EOF;) {
        at = c == text[at] ? at + 1 : c == text[0];
    }
    assert_int_equal(at, size);
    assert_int_equal(fseek(file, -1, SEEK_CUR), 0);
    assert_true(fputc(text[size - 1] ^ 1, file) != EOF);
    assert_int_equal(fclose(file), 0);
}

/* What has rotted away comes back from the others; until then the server does not vote. */
static void test_rot_repaired(void **state) {
    struct world world;
    (void)state;
    start_all(&world, 3);
    struct server *away = follower_of(&world);
    write_surely(world_leader(&world), "rotten-node", 0);
    write_surely(world_leader(&world), "later", 0);
    assert_true(world_wait(&world, is_everywhere, (void *)(uintptr_t) "later"));
    server_stop(away);
    rot(away, "rotten-node");
    server_start(away);
    assert_false(has_node(away, "rotten-node"));
    world_tell(&world);
    assert_true(world_wait(&world, is_everywhere, (void *)(uintptr_t) "rotten-node"));
    assert_true(world_wait(&world, is_everywhere, (void *)(uintptr_t) "later"));
    /* Nothing is left of it at the next start. */
    server_stop(away);
    server_start(away);
    world_tell(&world);
    assert_true(world_wait(&world, is_everywhere, (void *)(uintptr_t) "later"));
    world_clear(&world);
}

/* ---- rows that differ ---- */

struct bytes {
    struct buf buf;
    size_t at;
};

static enum err put_bytes(void *context, const void *data, size_t size) {
    buf_append(&((struct bytes *)context)->buf, data, size);
    return ERR_OK;
}

static int64_t get_bytes(void *context, void *data, size_t size) {
    struct bytes *bytes = context;
    size_t left = bytes->buf.count - bytes->at;
    size = size < left ? size : left;
    memcpy(data, bytes->buf.data + bytes->at, size);
    bytes->at += size;
    return (int64_t)size;
}

static void copy_catalog(const struct catalog *from, struct bytes *to) {
    *to = (struct bytes){.at = 0};
    buf_init(&to->buf, 64 * 1024 * 1024);
    assert_int_equal(catalog_snapshot(catalog_view(from), put_bytes, to), ERR_OK);
}

static uint64_t applied_of(const struct server *server) {
    return view_applied(catalog_view(server->catalog));
}

struct same {
    struct server *one, *other;
};

static bool are_equal(struct world *world, void *context) {
    const struct same *same = context;
    (void)world;
    return applied_of(same->one) == applied_of(same->other) &&
           catalog_hash(same->one->catalog) == catalog_hash(same->other->catalog);
}

/* The newest entry made other rows at this server than at the others: as if a bit had flipped. The
 * before: what the catalog was one entry earlier. */
static void plant(struct server *server, struct bytes *before, const char *node) {
    struct epoch *epoch = epoch_create();
    struct catalog *scratch = catalog_create(epoch, NULL);
    struct catalog_command command = {.kind = COMMAND_REGISTER};
    struct catalog_image *image;
    struct err_text text;
    struct bytes wrong;
    struct buf out;
    assert_int_equal(catalog_restore(scratch, get_bytes, before, &text), ERR_OK);
    command.reg.node = (struct catalog_node){
        .name = node, .address = "10.9.9.9", .id = "", .region = "", .zone = ""};
    buf_init(&out, 65536);
    codec_encode_command(&command, &out);
    assert_int_equal(
        catalog_apply(scratch, applied_of(server), (uint8_t *)out.data, out.count, NULL, &text),
        ERR_OK);
    catalog_publish(scratch);
    copy_catalog(scratch, &wrong);
    assert_int_equal(catalog_read_image(get_bytes, &wrong, &image, &text), ERR_OK);
    catalog_take_image(server->catalog, image);
    buf_clear(&out);
    buf_clear(&wrong.buf);
    buf_clear(&before->buf);
    catalog_destroy(scratch);
    epoch_destroy(epoch);
}

struct wrong {
    struct server *server;
    const char *node; /* must go */
};

static bool is_healed(struct world *world, void *context) {
    const struct wrong *wrong = context;
    for (unsigned i = 0; i < world->count; i++) {
        struct same same = {wrong->server, &world->servers[i]};
        if (!are_equal(world, &same)) {
            return false;
        }
    }
    return !has_node(wrong->server, wrong->node);
}

static void diverge(struct world *world, struct server *server, const char *node) {
    struct bytes before;
    struct same same = {server, world_leader(world)};
    assert_true(world_wait(world, are_equal, &same));
    copy_catalog(server->catalog, &before);
    uint64_t applied = applied_of(server);
    write_surely(world_leader(world), "right", 0);
    assert_true(world_wait(world, is_everywhere, (void *)(uintptr_t) "right"));
    assert_int_equal(applied_of(server), applied + 1);
    plant(server, &before, node);
    assert_true(has_node(server, node));
    assert_false(has_node(server, "right"));
}

/* A server whose rows are not those of the others is told, and takes the leader's. */
static void test_diverged_follower(void **state) {
    struct world world;
    (void)state;
    start_all(&world, 3);
    write_surely(world_leader(&world), "a", 0);
    for (int i = 0; i < 3; i++) { /* more than one piece */
        char node[16];
        snprintf(node, sizeof node, "n%d", i);
        write_surely(world_leader(&world), node, 1000 * 1000);
    }
    struct wrong wrong = {follower_of(&world), "wrong"};
    diverge(&world, wrong.server, wrong.node);
    assert_true(world_wait(&world, is_healed, &wrong));
    assert_true(has_node(wrong.server, "n2"));
    assert_int_equal(read_barrier(wrong.server, true), ERR_OK);
    assert_true(has_node(wrong.server, "right") && has_node(wrong.server, "a"));
    write_surely(wrong.server, "later", 0);
    assert_true(world_wait(&world, is_everywhere, (void *)(uintptr_t) "later"));
    /* Its own disk has no trace of it. */
    server_stop(wrong.server);
    server_start(wrong.server);
    world_tell(&world);
    assert_true(world_wait(&world, is_everywhere, (void *)(uintptr_t) "later"));
    assert_true(world_wait(&world, is_healed, &wrong));
    world_clear(&world);
}

/* The leader is the one that is wrong: it goes, and the next one heals it. */
static void test_diverged_leader(void **state) {
    struct world world;
    (void)state;
    start_all(&world, 3);
    write_surely(world_leader(&world), "a", 0);
    struct wrong wrong = {world_leader(&world), "wrong"};
    diverge(&world, wrong.server, wrong.node);
    assert_true(world_wait(&world, is_healed, &wrong));
    assert_ptr_not_equal(world_leader(&world), wrong.server);
    write_surely(wrong.server, "later", 0);
    assert_true(world_wait(&world, is_everywhere, (void *)(uintptr_t) "later"));
    world_clear(&world);
}

/* Of two servers nobody is the majority: the leader's rows count, after a while. */
static void test_diverged_of_two(void **state) {
    struct world world;
    (void)state;
    start_all(&world, 2);
    struct wrong wrong = {follower_of(&world), "wrong"};
    diverge(&world, wrong.server, wrong.node);
    assert_true(world_wait(&world, is_healed, &wrong));
    assert_true(has_node(wrong.server, "right"));
    world_clear(&world);
}

struct leaver {
    struct server *leaving, *silent;
};

/* The one that is to leave does not lead, and the leader has not heard the other one for long. */
static bool is_silent(struct world *world, void *context) {
    struct leaver *leaver = context;
    struct group_peer_status peers[LIMIT_RAFT_SERVERS];
    struct server *leader = world_leader(world);
    struct err_text text;
    if (leader == leaver->leaving) {
        group_transfer(leader->group, NULL, &text);
    }
    uint32_t count = leader != NULL ? group_get_peers(leader->group, peers) : 0;
    for (uint32_t i = 0; i < count; i++) {
        if (raft_id_equal(&peers[i].id, &leaver->silent->id)) {
            return leader != leaver->leaving && loop_now_ms(world->loop) - peers[i].contact_at_ms >=
                                                    group_silence_ms(leader->group);
        }
    }
    return false;
}

static bool nobody_leads(struct world *world, void *context) {
    (void)context;
    return world_leader(world) == NULL;
}

/* The pool says that one is gone, and of a silent one that it is alive. */
static void tell_wrongly(struct world *world, const struct leaver *leaver) {
    for (unsigned i = 0; i < world->count; i++) {
        struct group_server others[SERVERS_MAX];
        uint32_t count = 0;
        for (unsigned k = 0; k < world->count; k++) {
            const struct server *other = &world->servers[k];
            struct group_server *to = &others[count];
            if (k != i) {
                *to = (struct group_server){.id = other->id, .addr = other->addr};
                to->state = other == leaver->leaving ? GROUP_SERVER_LEFT : GROUP_SERVER_ALIVE;
                count++;
            }
        }
        if (world->servers[i].group != NULL) {
            group_set_servers(world->servers[i].group, others, count);
        }
    }
}

struct retried {
    struct server *at;
    bool begun;
    struct write write;
};

/* Tried until it is: a busy machine may lose its leader again. */
static bool is_written(struct world *world, void *context) {
    struct retried *retried = context;
    struct write *write = &retried->write;
    if (retried->begun && write->done && write->err == ERR_OK) {
        return true;
    }
    if ((!retried->begun || write->done) && world_leader(world) != NULL) {
        retried->begun = true;
        write_start(retried->at, write, "a", 0);
    }
    return false;
}

/* Who leaves is not removed while the rest has no majority that answers: it is welcome back, and
 * makes one. */
static void test_rest_is_silent(void **state) {
    struct world world;
    (void)state;
    start_all(&world, 3);
    unsigned first = world_leader(&world)->number;
    struct leaver leaver = {&world.servers[(first + 1) % 3], &world.servers[(first + 2) % 3]};
    server_stop(leaver.silent);
    assert_true(world_wait(&world, is_silent, &leaver));
    tell_wrongly(&world, &leaver);
    assert_true(world_wait(&world, nobody_leads, NULL));
    world_tell(&world);
    struct retried retried = {.at = &world.servers[first]};
    assert_true(world_wait(&world, is_written, &retried));
    world_clear(&world);
}

static void on_left(void *context) {
    *(bool *)context = true;
}

static bool is_set(struct world *world, void *context) {
    (void)world;
    return *(bool *)context;
}

static void test_leader_leaves(void **state) {
    struct world world;
    unsigned two = 2;
    bool left = false;
    (void)state;
    start_all(&world, 3);
    struct server *leaver = world_leader(&world);
    group_leave(leaver->group, on_left, &left);
    leaver->left = true;
    world_tell(&world);
    assert_true(world_wait(&world, is_set, &left));
    assert_true(world_wait(&world, are_voters, &two));
    assert_ptr_not_equal(world_leader(&world), leaver);
    server_stop(leaver);
    world_clear(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_at_leader),     cmocka_unit_test(test_write_at_follower),
        cmocka_unit_test(test_refused_at_follower), cmocka_unit_test(test_leader_lost),
        cmocka_unit_test(test_minority_refuses),    cmocka_unit_test(test_fed_from_disk),
        cmocka_unit_test(test_snapshot_sent),       cmocka_unit_test(test_servers_join),
        cmocka_unit_test(test_rest_is_silent),      cmocka_unit_test(test_alone_is_behind),
        cmocka_unit_test(test_disk_lost),           cmocka_unit_test(test_leader_leaves),
        cmocka_unit_test(test_rot_repaired),        cmocka_unit_test(test_diverged_follower),
        cmocka_unit_test(test_two_compactions),     cmocka_unit_test(test_diverged_leader),
        cmocka_unit_test(test_diverged_of_two),
    };
    cmocka_set_test_filter(getenv("CAIRN_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
