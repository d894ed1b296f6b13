/* Two ends of RPC over loopback, and strangers who speak to one of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/rpc.h"
#include "tests/unit/net_support.h"

#define ECHO 3
#define NOTE 1
#define MUTE 4
#define KEY_A "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="
#define KEY_B "MDEyMzQ1Njc4OWFiY2RlZg=="

/* One end with what it has seen. */
struct end {
    struct support *support;
    struct rpc_config config;
    struct keyring *ring;
    struct addr addr;
    struct rpc *rpc;
    struct rpc_connection *connection; /* the last one */
    struct rpc_client *client;
    unsigned opened, closed, writable, notes, mute;
    uint64_t note_bytes;
    enum err closed_err;
    struct err_text closed_text;
    struct rpc_ticket ticket;
    struct rpc_counts counts;
};

struct question {
    struct rpc_request request;
    struct end *end;
    unsigned method;
    const void *body;
    size_t size;
    int timeout_ms;
    bool asked, done;
    enum err err, result;
    struct err_text text;
    uint8_t *answer;
    size_t answer_size;
};

static void on_opened(void *context, struct rpc_connection *connection) {
    struct end *end = context;
    end->connection = connection;
    end->opened++;
}

static void on_writable(void *context, struct rpc_connection *connection) {
    (void)connection;
    ((struct end *)context)->writable++;
}

static void on_closed(void *context, struct rpc_connection *connection, enum err err,
                      const struct err_text *text) {
    struct end *end = context;
    (void)connection;
    end->connection = NULL;
    end->closed++;
    end->closed_err = err;
    end->closed_text = *text;
}

static const struct rpc_events events = {on_opened, on_writable, on_closed};

static void echo(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                 const uint8_t *body, size_t size) {
    struct end *end = context;
    struct err_text no = {"it says no"};
    assert_true(rpc_is_open(from));
    bool refuse = size == 2 && memcmp(body, "no", 2) == 0;
    rpc_answer(end->rpc, ticket, refuse ? ERR_REFUSED : ERR_OK, &no, body, size);
}

static void keep(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                 const uint8_t *body, size_t size) {
    struct end *end = context;
    (void)from;
    (void)body;
    (void)size;
    end->ticket = ticket;
    end->mute++;
}

static void note(void *context, struct rpc_connection *from, const uint8_t *body, size_t size) {
    struct end *end = context;
    (void)from;
    (void)body;
    end->notes++;
    end->note_bytes += size;
}

static const struct rpc_service echo_service = {.request = echo};
static const struct rpc_service note_service = {.message = note};
static const struct rpc_service mute_service = {.request = keep};

static void install(struct end *end, const char *key) {
    struct keyring_key parsed;
    assert_int_equal(keyring_parse_key(key, &parsed, NULL), ERR_OK);
    assert_int_equal(keyring_install(end->ring, &parsed, NULL), ERR_OK);
}

static void end_init(struct end *end, struct support *support, uint8_t id) {
    *end = (struct end){.support = support, .ring = keyring_create()};
    end->config = (struct rpc_config){.loop = support->loop,
                                      .module = "test",
                                      .kind = RPC_KIND_SERVER,
                                      .self = {.node = {{id}}, .disk = {{id, 1}}, .server = true},
                                      .keyring = end->ring,
                                      .verify_incoming = true,
                                      .verify_outgoing = true,
                                      .accepted = &events,
                                      .accepted_context = end};
    snprintf(end->config.self.name, RPC_NAME_BYTES, "server-%u", id);
    snprintf(end->config.self.datacenter, RPC_NAME_BYTES, "dc1");
}

static bool create(void *context) {
    struct end *end = context;
    struct err_text text;
    end->rpc = rpc_create(&end->config);
    rpc_serve(end->rpc, ECHO, &echo_service, end);
    rpc_serve(end->rpc, NOTE, &note_service, end);
    rpc_serve(end->rpc, MUTE, &mute_service, end);
    return end->addr.any.sa_family == 0 || rpc_listen(end->rpc, &end->addr, &text) == ERR_OK;
}

static void end_start(struct end *end, const char *ip) {
    if (ip != NULL) {
        end->addr = support_addr(ip, SOCK_STREAM);
    }
    assert_true(support_call(end->support, create, end));
}

static bool destroy(void *context) {
    struct end *end = context;
    rpc_client_destroy(end->client);
    end->client = NULL;
    rpc_destroy(end->rpc);
    end->rpc = NULL;
    return true;
}

static void end_stop(struct end *end) {
    support_call(end->support, destroy, end);
    keyring_destroy(end->ring);
}

struct pair {
    struct end *a, *b;
};

static bool connect_a_to_b(void *context) {
    struct pair *pair = context;
    return rpc_connect(pair->a->rpc, &pair->b->addr, NULL, &events, pair->a) != NULL;
}

static bool both_open(void *context) {
    struct pair *pair = context;
    return pair->a->connection != NULL && pair->b->connection != NULL;
}

static bool is_open(void *context) {
    return ((struct end *)context)->connection != NULL;
}

static bool a_closed(void *context) {
    return ((struct pair *)context)->a->closed > 0;
}

static bool count(void *context) {
    struct end *end = context;
    rpc_get_counts(end->rpc, &end->counts);
    return true;
}

static void answered(struct rpc_request *request, enum err err, const struct err_text *text,
                     const uint8_t *body, size_t size) {
    struct question *question = CONTAINER_OF(request, struct question, request);
    question->done = true;
    question->result = err;
    question->text = *text;
    question->answer = mem_memdup(body, size);
    question->answer_size = size;
}

static bool ask(void *context) {
    struct question *question = context;
    question->request.done = answered;
    question->err = rpc_request(question->end->connection, &question->request, question->method,
                                question->body, question->size, question->timeout_ms);
    return question->err == ERR_OK;
}

static bool is_done(void *context) {
    return ((struct question *)context)->done;
}

static void ask_and_wait(struct question *question) {
    assert_true(support_call(question->end->support, ask, question));
    support_wait(question->end->support, is_done, question);
}

/* ---- what works ---- */

static void talk(const char *ip, const char *key) {
    struct support support;
    struct end a, b;
    struct pair pair = {&a, &b};
    support_start(&support);
    end_init(&a, &support, 1);
    end_init(&b, &support, 2);
    if (key != NULL) {
        install(&a, key);
        install(&b, key);
    }
    end_start(&b, ip);
    end_start(&a, NULL);
    support_call(&support, connect_a_to_b, &pair);
    support_wait(&support, both_open, &pair);
    assert_string_equal(rpc_peer(a.connection)->name, "server-2");
    assert_string_equal(rpc_peer(b.connection)->name, "server-1");
    uint8_t *large = mem_calloc(1, 3 * 1024 * 1024);
    large[3 * 1024 * 1024 - 1] = 7;
    struct question both[] = {
        {.end = &a, .method = ECHO, .body = "hello", .size = 5, .timeout_ms = 20000},
        {.end = &b, .method = ECHO, .body = "hello", .size = 5, .timeout_ms = 20000},
        {.end = &a, .method = ECHO, .body = large, .size = 3 * 1024 * 1024, .timeout_ms = 20000},
        {.end = &a, .method = ECHO, .body = "", .size = 0, .timeout_ms = 20000}};
    for (int i = 0; i < 4; i++) {
        ask_and_wait(&both[i]);
        assert_int_equal(both[i].result, ERR_OK);
        assert_int_equal(both[i].answer_size, both[i].size);
        assert_memory_equal(both[i].answer, both[i].body, both[i].size);
        free(both[i].answer);
    }
    struct question no = {.end = &a, .method = ECHO, .body = "no", .size = 2, .timeout_ms = 20000};
    ask_and_wait(&no);
    assert_int_equal(no.result, ERR_REFUSED);
    assert_string_equal(no.text.s, "it says no");
    free(no.answer);
    struct question unknown = {.end = &a, .method = 9, .body = "", .timeout_ms = 20000};
    ask_and_wait(&unknown);
    assert_int_equal(unknown.result, ERR_UNSUPPORTED);
    free(unknown.answer);
    struct question mute = {.end = &a, .method = MUTE, .body = "", .timeout_ms = 20};
    ask_and_wait(&mute);
    assert_int_equal(mute.result, ERR_TIMEOUT);
    free(mute.answer);
    free(large);
    end_stop(&a);
    end_stop(&b);
    support_stop(&support);
}

static void test_talk(void **state) {
    (void)state;
    talk("127.0.0.1", NULL);
    talk("127.0.0.1", KEY_A);
    talk("127.0.0.1", KEY_B);
    talk("::1", KEY_A);
}

/* An answer to a connection that is gone, and requests of one that closes. */
static bool answer_late(void *context) {
    struct end *end = context;
    rpc_answer(end->rpc, end->ticket, ERR_OK, NULL, "late", 4);
    return true;
}

static bool has_asked(void *context) {
    return ((struct end *)context)->mute > 0;
}

static bool close_own(void *context) {
    rpc_close(((struct end *)context)->connection);
    return true;
}

static bool has_closed(void *context) {
    return ((struct end *)context)->closed > 0;
}

static void test_closed_under_way(void **state) {
    (void)state;
    struct support support;
    struct end a, b;
    struct pair pair = {&a, &b};
    support_start(&support);
    end_init(&a, &support, 1);
    end_init(&b, &support, 2);
    end_start(&b, "127.0.0.1");
    end_start(&a, NULL);
    support_call(&support, connect_a_to_b, &pair);
    support_wait(&support, both_open, &pair);
    struct question mute = {.end = &a, .method = MUTE, .body = "", .timeout_ms = 20000};
    assert_true(support_call(&support, ask, &mute));
    support_wait(&support, has_asked, &b);
    support_call(&support, close_own, &a);
    assert_true(mute.done);
    assert_int_equal(mute.result, ERR_CLOSED);
    support_wait(&support, has_closed, &b);
    assert_int_equal(a.closed, 0);
    support_call(&support, answer_late, &b);
    free(mute.answer);
    end_stop(&a);
    end_stop(&b);
    support_stop(&support);
}

/* ---- back-pressure ---- */

struct flood {
    struct end *end;
    uint8_t *body;
    size_t size;
    unsigned sent;
};

static bool send_until_full(void *context) {
    struct flood *flood = context;
    enum err err;
    while ((err = rpc_send(flood->end->connection, NOTE, flood->body, flood->size)) == ERR_OK) {
        flood->sent++;
        assert_true(flood->sent < 100000);
    }
    return err == ERR_OVERLOADED;
}

static bool is_writable(void *context) {
    return ((struct end *)context)->writable > 0;
}

static bool all_noted(void *context) {
    struct flood *flood = ((void **)context)[0];
    struct end *b = ((void **)context)[1];
    return b->notes == flood->sent;
}

static void test_back_pressure(void **state) {
    (void)state;
    struct support support, other;
    struct end a, b;
    struct pair pair = {&a, &b};
    support_start(&support);
    support_start(&other); /* on its own thread: the queue drains while a's loop rests */
    end_init(&a, &support, 1);
    end_init(&b, &other, 2);
    install(&a, KEY_A);
    install(&b, KEY_A);
    a.config.queue_bytes_max = 256 * 1024;
    end_start(&b, "127.0.0.1");
    end_start(&a, NULL);
    support_call(&support, connect_a_to_b, &pair);
    support_wait(&support, is_open, &a);
    support_wait(&other, is_open, &b);
    struct flood flood = {.end = &a, .body = mem_calloc(1, 60000), .size = 60000};
    assert_true(support_call(&support, send_until_full, &flood));
    support_wait(&support, is_writable, &a);
    void *both[] = {&flood, &b};
    support_wait(&other, all_noted, both);
    assert_int_equal(b.note_bytes, (uint64_t)flood.sent * flood.size);
    free(flood.body);
    end_stop(&a);
    end_stop(&b);
    support_stop(&support);
    support_stop(&other);
}

/* ---- who is refused ---- */

struct refusal {
    const char *key_a, *key_b;
    bool in_a, out_a, in_b, out_b;
    const char *datacenter_a;
    uint8_t cluster_a, cluster_b;
    uint8_t expected; /* 0 = any */
    enum rpc_kind kind_a;
    enum err err; /* ERR_OK: it opens */
    enum rpc_refusal why;
    bool by_a; /* who refuses */
    const char *sentence;
};

static const struct refusal refusals[] = {
    {.key_a = KEY_A, .key_b = KEY_A, .in_a = 1, .out_a = 1, .in_b = 1, .out_b = 1},
    {.key_a = KEY_A,
     .key_b = KEY_B,
     .in_a = 1,
     .out_a = 1,
     .in_b = 1,
     .out_b = 1,
     .err = ERR_DENIED,
     .why = RPC_REFUSED_KEY,
     .sentence = "the gossip key of 'server-1' is not in the keyring of 'server-2'"},
    {.key_b = KEY_B,
     .in_a = 1,
     .out_a = 1,
     .in_b = 1,
     .out_b = 1,
     .err = ERR_DENIED,
     .why = RPC_REFUSED_KEY,
     .sentence = "'server-1' has no gossip key, and 'server-2' demands one (encrypt)"},
    {.key_a = KEY_B,
     .in_a = 1,
     .out_a = 1,
     .in_b = 1,
     .out_b = 1,
     .err = ERR_DENIED,
     .why = RPC_REFUSED_KEY,
     .sentence = "'server-1' has a gossip key, and 'server-2' has none (encrypt)"},
    {.key_a = KEY_A,
     .key_b = KEY_A,
     .in_b = 1,
     .out_b = 1,
     .err = ERR_DENIED,
     .why = RPC_REFUSED_KEY,
     .sentence = "'server-1' has no gossip key, and 'server-2' demands one (encrypt)"},
    {.key_a = KEY_A},                             /* rolling: not yet outgoing */
    {.key_b = KEY_A, .out_b = 1},                 /* rolling: incoming is still off */
    {.key_a = KEY_A, .key_b = KEY_A, .out_a = 1}, /* rolling: outgoing here alone */
    {.cluster_a = 1, .cluster_b = 1},
    {.cluster_a = 1},
    {.cluster_a = 1, .cluster_b = 2, .datacenter_a = "dc2"},
    {.cluster_a = 1,
     .cluster_b = 2,
     .err = ERR_FOREIGN,
     .why = RPC_REFUSED_CLUSTER,
     .sentence = "'server-1' belongs to cluster 01000000-0000-0000-0000-000000000000, 'server-2' "
                 "to cluster 02000000-0000-0000-0000-000000000000"},
    {.expected = 2},
    {.expected = 3,
     .err = ERR_FOREIGN,
     .why = RPC_REFUSED_IDENTITY,
     .sentence = "'server-2' is not node 03000000-0000-0000-0000-000000000000"},
    {.kind_a = RPC_KIND_GOSSIP_LAN, .err = ERR_CLOSED, .why = RPC_REFUSED_GARBAGE},
};

struct attempt {
    struct pair pair;
    struct uuid expected;
    bool has_expected;
};

static bool connect_expecting(void *context) {
    struct attempt *attempt = context;
    struct end *a = attempt->pair.a;
    return rpc_connect(a->rpc, &attempt->pair.b->addr,
                       attempt->has_expected ? &attempt->expected : NULL, &events, a) != NULL;
}

static void try_refusal(const struct refusal *refusal) {
    struct support support;
    struct end a, b;
    struct attempt attempt = {.pair = {&a, &b}, .has_expected = refusal->expected != 0};
    attempt.expected.bytes[0] = refusal->expected;
    support_start(&support);
    end_init(&a, &support, 1);
    end_init(&b, &support, 2);
    if (refusal->key_a != NULL) {
        install(&a, refusal->key_a);
    }
    if (refusal->key_b != NULL) {
        install(&b, refusal->key_b);
    }
    a.config.verify_incoming = refusal->in_a;
    a.config.verify_outgoing = refusal->out_a;
    b.config.verify_incoming = refusal->in_b;
    b.config.verify_outgoing = refusal->out_b;
    a.config.kind = refusal->kind_a != 0 ? refusal->kind_a : RPC_KIND_SERVER;
    a.config.self.cluster.bytes[0] = refusal->cluster_a;
    b.config.self.cluster.bytes[0] = refusal->cluster_b;
    if (refusal->datacenter_a != NULL) {
        snprintf(a.config.self.datacenter, RPC_NAME_BYTES, "%s", refusal->datacenter_a);
    }
    end_start(&b, "127.0.0.1");
    end_start(&a, NULL);
    support_call(&support, connect_expecting, &attempt);
    if (refusal->err == ERR_OK) {
        support_wait(&support, both_open, &attempt.pair);
    } else {
        support_wait(&support, a_closed, &attempt.pair);
        support_wait(&support, has_closed, &b);
        assert_int_equal(a.closed_err, refusal->err);
        support_call(&support, count, refusal->by_a ? &a : &b);
        assert_int_equal((refusal->by_a ? &a : &b)->counts.refused[refusal->why], 1);
        if (refusal->sentence != NULL) {
            assert_non_null(strstr(a.closed_text.s, refusal->sentence));
            assert_non_null(strstr(b.closed_text.s, refusal->sentence));
        }
    }
    end_stop(&a);
    end_stop(&b);
    support_stop(&support);
}

static void test_refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        try_refusal(&refusals[i]);
    }
}

/* ---- strangers ---- */

static int dial(const struct addr *addr) {
    int fd = socket(addr->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, &addr->any, addr_size(addr)), 0);
    struct timeval limit = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

struct stranger {
    const char *bytes;
    size_t size;
    enum rpc_refusal why;
};

static bool b_refused(void *context) {
    struct end *end = ((void **)context)[0];
    const struct stranger *stranger = ((void **)context)[1];
    count(end);
    return end->counts.refused[stranger->why] > 0;
}

static void test_strangers(void **state) {
    (void)state;
    static const struct stranger strangers[] = {
        {"GET / HTTP/1.1\r\n\r\n", 18, RPC_REFUSED_GARBAGE},
        {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11, RPC_REFUSED_GARBAGE},
        {"cairnl\0\0", 8, RPC_REFUSED_GARBAGE},
        {"cairnr\0\0\xff\xff\xff\xff", 12, RPC_REFUSED_TOO_LARGE},
        {"cairnr\0\0\0\0\x10\x01", 12, RPC_REFUSED_TOO_LARGE},
        {"cairnr\0\0\0\0\0\x02\xff\xff", 14, RPC_REFUSED_GARBAGE},
        {"cairnr\0\0\0\0\0\0", 12, RPC_REFUSED_GARBAGE}, /* an empty greeting: no nonce */
    };
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        struct support support;
        struct end b;
        uint8_t byte;
        support_start(&support);
        end_init(&b, &support, 2);
        end_start(&b, "127.0.0.1");
        int fd = dial(&b.addr);
        /* A byte at a time, and sent so: pieces come in any size. */
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        for (size_t k = 0; k < strangers[i].size; k++) {
            ssize_t n = send(fd, strangers[i].bytes + k, 1, MSG_NOSIGNAL);
            assert_true(n == 1 || errno == EPIPE || errno == ECONNRESET);
            sched_yield();
        }
        void *both[] = {&b, (void *)(uintptr_t)&strangers[i]};
        support_wait(&support, b_refused, both);
        ssize_t n;
        do {
            n = recv(fd, &byte, 1, 0);
        } while (n > 0);
        assert_true(n == 0 || errno == ECONNRESET);
        close(fd);
        end_stop(&b);
        support_stop(&support);
    }
}

/* A peer that has greeted and then sends more than a frame may have. */
static void test_frame_bound(void **state) {
    (void)state;
    struct support support;
    struct end a, b;
    struct pair pair = {&a, &b};
    support_start(&support);
    end_init(&a, &support, 1);
    end_init(&b, &support, 2);
    b.config.frame_bytes_max = 1000;
    end_start(&b, "127.0.0.1");
    end_start(&a, NULL);
    support_call(&support, connect_a_to_b, &pair);
    support_wait(&support, both_open, &pair);
    uint8_t body[2000] = {0};
    struct question large = {
        .end = &a, .method = ECHO, .body = body, .size = sizeof body, .timeout_ms = 20000};
    ask_and_wait(&large);
    assert_int_equal(large.result, ERR_CLOSED);
    support_call(&support, count, &b);
    assert_int_equal(b.counts.refused[RPC_REFUSED_TOO_LARGE], 1);
    free(large.answer);
    end_stop(&a);
    end_stop(&b);
    support_stop(&support);
}

static bool b_full(void *context) {
    struct end *b = context;
    count(b);
    return b->counts.refused[RPC_REFUSED_FULL] == 1;
}

static void test_connection_bound(void **state) {
    (void)state;
    struct support support;
    struct end b;
    support_start(&support);
    end_init(&b, &support, 2);
    b.config.accepted_max = 2;
    end_start(&b, "127.0.0.1");
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = dial(&b.addr);
    }
    support_wait(&support, b_full, &b);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    end_stop(&b);
    support_stop(&support);
}

/* ---- a client that comes back ---- */

static bool forget_closed(void *context) {
    ((struct end *)context)->closed = 0;
    return true;
}

static bool create_client(void *context) {
    struct pair *pair = context;
    pair->a->client = rpc_client_create(pair->a->rpc, &pair->b->addr, &pair->b->config.self.node,
                                        &events, pair->a);
    return true;
}

static bool client_open(void *context) {
    struct end *a = ((struct pair *)context)->a;
    return rpc_client_connection(a->client) != NULL;
}

static void test_client(void **state) {
    (void)state;
    struct support support;
    struct end a, b;
    struct pair pair = {&a, &b};
    support_start(&support);
    end_init(&a, &support, 1);
    end_init(&b, &support, 2);
    b.addr = support_addr("127.0.0.1", SOCK_STREAM);
    end_start(&a, NULL);
    support_call(&support, create_client, &pair);
    support_wait(&support, a_closed, &pair); /* nobody listens yet */
    end_start(&b, NULL);
    support_wait(&support, client_open, &pair);
    unsigned opened = a.opened;
    support_call(&support, forget_closed, &a);
    support_call(&support, destroy, &b);
    support_wait(&support, a_closed, &pair);
    assert_true(support_call(&support, create, &b));
    support_wait(&support, client_open, &pair);
    assert_true(a.opened > opened);
    end_stop(&a);
    end_stop(&b);
    support_stop(&support);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_talk),
        cmocka_unit_test(test_closed_under_way),
        cmocka_unit_test(test_back_pressure),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_frame_bound),
        cmocka_unit_test(test_connection_bound),
        cmocka_unit_test(test_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
