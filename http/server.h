/* What the files of the server share: exchanges, answers and their way through the threads. For
 * this folder only. */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/rand.h"
#include "http/request.h"

struct http_prepared; /* the library's response object */

/* A finished answer, encoded once and shared by all who get it. Immutable but for the count. */
struct http_answer {
    _Atomic unsigned references;
    int status;
    uint64_t index;                 /* result index of a read, else 0 */
    uint64_t hash;                  /* of the body; 0 until http_answer_hash */
    bool may_wait;                  /* a blocking query waits for another one than this */
    const struct http_route *route; /* of a kept answer */
    const char *body;
    size_t body_size;
    struct http_prepared *prepared;             /* owns the body */
    _Atomic(struct http_prepared *) compressed; /* made for the first client that admits it */
};

/* Meta headers of a read (contract 4.3). */
struct http_meta {
    bool present;
    bool known_leader;
    int64_t contact_ms; /* since the leader was last heard */
    uint64_t index;
    const char *consistency; /* NULL: of an error, which has none */
};

/* A blocking query that waits. Only the core's thread touches it while it is parked. */
struct http_wait {
    struct waiter waiter;    /* first */
    struct loop_timer timer; /* the deadline */
    enum watch_kind kind;
    uint64_t index;      /* the client's: answered when the result's is greater */
    uint64_t seen_index; /* of the answer it was parked on */
    uint64_t seen_hash;
    int64_t wait_ms;
    bool exact;                  /* without jitter */
    const char *name, *question; /* in the exchange's arena until it has joined its group */
};

/* What a connection is doing: each phase but waiting has its time, see deadlines.c. */
enum http_phase {
    HTTP_PHASE_IDLE,    /* no request's line yet */
    HTTP_PHASE_REQUEST, /* from the line to the end of the body */
    HTTP_PHASE_WAITING, /* parked, judged or streaming: no limit here */
    HTTP_PHASE_ANSWER   /* the answer is being sent */
};

/* A connection in the list of those with a deadline. Its HTTP thread writes phase and time. */
struct http_deadline {
    struct http_deadline *next, *previous;
    int fd;
    _Atomic enum http_phase phase;
    _Atomic int64_t since_ms;
};

/* A connection of the library. It remembers its exchange, because the library does not tell the end
 * of a request that it refuses before the handler has seen it. */
struct http_connection {
    struct http_deadline deadline;
    bool refused; /* over the limit of its client */
    struct http_exchange *exchange;
};

enum http_state {
    EXCHANGE_READING,
    EXCHANGE_PARKED,
    EXCHANGE_ANSWERED,  /* answer is set */
    EXCHANGE_TIMED_OUT, /* the wait is over: evaluate once more */
    EXCHANGE_CALL_DONE, /* the call has its result */
    EXCHANGE_STREAMING, /* an answer that does not end goes on */
    EXCHANGE_ABORTED    /* the client hung up, or the server stops */
};

/* One request from its first byte to its last; owned by the HTTP thread, and by the core between
 * parking and resuming. */
struct http_exchange {
    struct http_server *server;
    struct http_connection *owner;
    void *connection; /* the library's */
    enum http_state state;
    bool started;
    bool refused;    /* over the connection limit */
    bool too_large;  /* its body */
    bool resumed;    /* after it was parked: counted in `unsent` */
    bool current;    /* a leader was asked: the view is as new as a read must be */
    bool unled;      /* none could be asked */
    bool overloaded; /* bodies hold all the memory that they may */
    uint64_t uploaded_bytes;
    int fd;
    uint64_t begun_at_ns;
    char *uri; /* as it came, not decoded */
    struct buf body;
    struct arena arena;
    struct http_answer *answer;
    const struct http_route *route;
    struct backend_call *call;    /* in the arena */
    struct http_request *request; /* of the call */
    struct http_wait wait;
    struct http_stream *stream;   /* NULL: the answer ends */
    struct http_carried *carried; /* NULL: it came over a connection of its own */
    struct http_work work;
    bool waits;     /* for a change; the core's */
    bool gone;      /* nobody waits for it; the core's */
    bool forwarded; /* a server answers it; the core's */
    struct loop_task task;
    struct http_exchange *resume_next;
    struct http_exchange *parked_next, *parked_previous;
};

#define HTTP_ANSWER_HEADERS_MAX 64 /* of one that is passed on */

struct http_stream;
struct http_workers;
struct http_timings;
struct http_clients;
struct http_deadlines;
struct http_daemon;

struct http_server {
    struct http_config config;
    const struct backend *backend;
    struct watches *watches;
    struct loop *core;
    struct log *log;
    struct http_daemon *daemons; /* a listen address each */
    unsigned daemon_count;
    unsigned paths_bound;         /* of config.paths, from the first */
    struct http_clients *clients; /* connections by address */
    struct http_deadlines *deadlines;
    _Atomic size_t bodies_bytes;  /* of request bodies that are held */
    _Atomic size_t answers_bytes; /* of answers that are kept or on their way */
    struct http_workers *workers;
    pthread_key_t cache_key; /* each HTTP thread's answers */
    _Atomic bool stopping;
    _Atomic size_t parked;
    _Atomic size_t unsent;      /* were parked, and their answers are not all sent */
    _Atomic uint64_t intervals; /* of metrics that have ended */
    struct http_timings *timings;
    struct http_rate reads, writes;
    _Atomic uint64_t rate_logged_ns; /* when a request over them was logged last */
    /* The core's thread only. */
    struct http_exchange *resume;      /* ready, resumed at the end of the turn */
    struct http_exchange *parked_list; /* all that wait for a change */
    size_t blocking;                   /* of the parked, blocking queries */
    struct http_exchange *stream_list; /* suspended ones that stream */
    size_t jobs;                       /* groups that the workers have */
    size_t carried;                    /* requests of other agents */
    int hang_up_epoll;
    struct loop_poll *hang_up_poll;
    struct rand rand;
};

/* ---- server.c ---- */

struct http_answer *http_answer_create(struct http_server *server, struct http_response *res,
                                       const struct http_meta *meta);
struct http_answer *http_answer_share(struct http_answer *answer);
void http_answer_drop(struct http_answer *answer); /* NULL is allowed */
uint64_t http_answer_hash(struct http_answer *answer);
/* Core's thread: the exchange goes on at the end of the turn. */
void http_exchange_resume(struct http_exchange *exchange, enum http_state state);
const char *http_exchange_header(struct http_exchange *exchange, const char *name);

/* What the exchange does next, after its state: the verdict of http_dispatch, or HTTP_ANSWERED
 * with exchange->answer set. Not of one that is parked, streams or was aborted. */
enum http_verdict http_exchange_step(struct http_exchange *exchange, const char *method);
/* One more that is parked. False: the server stops, or there are too many. */
bool http_exchange_take_place(struct http_server *server, bool *ret_stopping);
/* Sets the answer that says so. */
void http_exchange_overload(struct http_exchange *exchange);
void http_exchange_free(struct http_exchange *exchange);
/* Done of a backend call; its context is the exchange. */
void http_exchange_call_done(struct backend_call *call);
/* The answer's headers but those of this agent's own configuration; in the arena. */
struct str_map http_answer_headers(const struct http_server *server,
                                   const struct http_answer *answer, struct arena *arena);
/* An answer as another agent gave it. Takes body, from malloc. */
struct http_answer *http_answer_carried(struct http_server *server,
                                        const struct backend_reply *reply, char *body, size_t size);

/* ---- judge.c ---- */

/* 301 to the path, with the query of uri. */
void http_judge_redirect(const struct http_request *req, const char *uri, const char *path,
                         struct http_response *res);
void http_judge_not_found(const struct http_request *req, struct http_response *res);

struct http_tenancy {
    const char *header, *feature;
};

/* What only an enterprise server has and this request asks for; NULL: nothing. */
const struct http_tenancy *http_judge_tenancy(struct http_exchange *exchange);

/* ---- carry.c: requests that are answered by other agents, and theirs ---- */

/* The datacenter whose servers answer the request, "" for this one's; NULL: this agent does. */
const char *http_carry_where(const struct http_exchange *exchange, const struct http_request *req);
/* The target as it is passed on: with what another datacenter must know. In the arena. */
const char *http_carry_target(struct http_exchange *exchange, const struct http_request *req);
/* Prepares exchange->call. False: an error answer is set. */
bool http_carry_prepare(struct http_exchange *exchange, const struct http_request *req,
                        const char *datacenter, struct http_response *res);
/* The exchange is parked: hands its FORWARD to the core, which watches fd for a hang-up unless it
 * is below 0. */
void http_carry_post(struct http_exchange *exchange);
/* Core's thread: of one that is forwarded. */
void http_carry_hung_up(struct http_exchange *exchange);
/* The core's thread: a carried one goes on. */
void http_carry_resume(struct http_exchange *exchange);

/* Whether one more answer of so many bytes (0 = not known yet) may be held. */
bool http_answer_fits(struct http_server *server, size_t size);

/* The peer's address without its port, "" when it has none or is an agent. In the exchange's arena.
 */
const char *http_exchange_client_ip(struct http_exchange *exchange);
/* Whether the peer may use other methods than GET. */
bool http_exchange_may_write(struct http_exchange *exchange);

/* ---- dispatch.c ---- */

enum http_verdict { HTTP_ANSWERED, HTTP_PARK_WAIT, HTTP_PARK_CALL, HTTP_STREAM };

/* Judges a complete request: sets exchange->answer, or prepares wait, call or stream. */
enum http_verdict http_dispatch(struct http_exchange *exchange, const char *method);
/* The answer of a call that is done. */
struct http_answer *http_call_answer(struct http_exchange *exchange);
/* A read's answer from the present view; question as from http_uri_question. Any thread. */
struct http_answer *http_evaluate(struct http_server *server, const char *question);

/* For an answer that is made without an exchange; both are the caller's to clear. */
void http_request_init(struct http_server *server, struct arena *arena, struct http_request *req);
void http_response_init(struct http_response *res);
/* Parses the URI; false: an error answer is set. */
bool http_request_parse(const char *uri, struct http_request *req, struct http_response *res);
/* Parses the filter, has the answer written, and sees that no row was too much for the filter. */
void http_read_filtered(const struct http_route *route, struct http_request *req,
                        struct http_read *read, struct http_response *res);

/* ---- mirror.c ---- */

/* An answer from rows that are kept elsewhere than where they are written, of such an age: of
 * another datacenter, or of this one ("") by a service that is subscribed; of any age (age_max_ms
 * INT64_MAX), of a service of this agent's own, too. NULL: there is none. Any thread. */
struct http_answer *http_mirror_answer(struct http_server *server, const char *uri,
                                       const char *datacenter, int64_t age_min_ms,
                                       int64_t age_max_ms);
/* Whether there are such rows of the datacenter for this request. Any thread. */
bool http_mirror_may_answer(const struct http_route *route, const struct http_request *req,
                            const char *datacenter);
/* A service that this agent, which is no server, is asked for: subscribes it, and answers from the
 * rows that are kept if the request bears their age. where: the datacenter that is asked, "" for
 * this one. */
bool http_mirror_answer_fresh(struct http_exchange *exchange, const struct http_request *req,
                              const char *where);
/* A datacenter of which nothing has been heard for long is not asked again for each lookup. */
bool http_mirror_answer_lost(struct http_exchange *exchange, const struct http_request *req,
                             const char *where);

/* ---- cache.c: answers of the calling thread; a lock-free store of its own for each thread ---- */

struct http_cache;

/* The thread's cache, made at first use and freed with the thread. */
struct http_cache *http_cache_get(struct http_server *server);
void http_cache_destroy(void *cache);
/* A borrowed answer that is still right for the view; NULL. */
struct http_answer *http_cache_find(struct http_cache *cache, const char *question,
                                    const struct catalog_view *view, uint64_t leadership);
/* Shares the answer. */
void http_cache_put(struct http_cache *cache, const char *question, enum watch_kind kind,
                    const char *name, const struct catalog_view *view, uint64_t leadership,
                    struct http_answer *answer);

/* ---- timing.c ---- */

/* The caller frees it with free(). */
struct http_timings *http_timings_create(const struct http_config *config, const char *node_name);
/* Any thread: a request to the route has its answer. */
void http_timings_note(struct http_timings *timings, const struct http_route *route, int status,
                       uint64_t begun_at_ns);

/* Any thread: one over its limit; only while there are limits. */
void http_timings_refused(struct http_timings *timings, const struct http_route *route);
/* Core's thread: so many blocking queries wait. */
void http_timings_blocking(struct http_timings *timings, size_t count);

/* ---- blocking.c ---- */

/* HTTP thread, after the connection is suspended: hands the wait to the core. */
void http_wait_post(struct http_exchange *exchange);
struct http_workers *http_workers_start(struct http_server *server);
void http_workers_stop(struct http_workers *workers);
bool http_hang_ups_open(struct http_server *server, struct err_text *text);
void http_hang_ups_close(struct http_server *server);
void http_waits_abort(struct http_server *server);
/* Core's thread: of one that waits. */
void http_wait_abort(struct http_exchange *exchange);

/* A list of what is parked; core's thread. */
void http_exchange_link(struct http_exchange **list, struct http_exchange *exchange);
void http_exchange_unlink(struct http_exchange **list, struct http_exchange *exchange);

/* ---- stream.c ---- */

/* HTTP thread. False: there are too many. Sets exchange->stream. */
bool http_stream_open(struct http_exchange *exchange, const struct http_stream_options *options);
const char *http_stream_type(const struct http_stream *stream);
/* HTTP thread: what may be sent now; 0: nothing. */
size_t http_stream_take(struct http_stream *stream, char *out, size_t size);
/* HTTP thread, after the connection is suspended: hands it to the core until there is more. */
void http_stream_post(struct http_exchange *exchange);
/* HTTP thread, at the end of the exchange. */
void http_stream_close(struct http_exchange *exchange);
/* Core's thread. */
void http_stream_hung_up(struct http_exchange *exchange);
void http_streams_abort(struct http_server *server);

/* ---- deadlines.c: connections that make no progress ---- */

struct http_deadlines *http_deadlines_create(void);
void http_deadlines_destroy(struct http_deadlines *deadlines);
/* The connection's HTTP thread: it is there, it does something else, it ends. The descriptor stays
 * open until after the last. */
void http_deadline_open(struct http_deadlines *deadlines, struct http_deadline *deadline, int fd);
void http_deadline_set(struct http_deadline *deadline, enum http_phase phase);
void http_deadline_close(struct http_deadlines *deadlines, struct http_deadline *deadline);
/* Any thread: ends what is over, and tells the library of hang-ups that it has missed. */
void http_deadlines_sweep(struct http_deadlines *deadlines);

/* ---- clients.c: connections by client address ---- */

struct http_clients *http_clients_create(int64_t limit);
void http_clients_set_limit(struct http_clients *clients, int64_t limit);
void http_clients_destroy(struct http_clients *clients);
/* Any thread. False: this one is over the limit; it counts all the same until it is closed. */
bool http_clients_opened(struct http_clients *clients, const struct sockaddr *address);
void http_clients_closed(struct http_clients *clients, const struct sockaddr *address);

/* ---- refuse.c ---- */

/* Which limit a route's requests are under. */
enum http_limit { HTTP_LIMIT_NONE, HTTP_LIMIT_READ, HTTP_LIMIT_WRITE };
enum http_limit http_limit_of(const struct http_route *route);
const char *http_limit_name(enum http_limit limit);
/* True: there were too many requests in this second, and the answer is written. */
bool http_refuse_rate(struct http_server *server, const struct http_route *route,
                      struct http_response *res);

#endif
