/* Every bound of the program, in one place. Relations between bounds are asserted here. */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#define LIMIT_DESCRIPTORS_KEPT 64 /* for Raft, disk and RPC */

/* HTTP. */
#define LIMIT_HTTP_POOL_BYTES (7 * 1024)            /* memory of a connection; headers above: 431 */
#define LIMIT_HTTP_BODY_BYTES (8 * 1024 * 1024)     /* request body of any endpoint but KV */
#define LIMIT_HTTP_ANSWER_BYTES (256 * 1024 * 1024) /* one answer's body */
#define LIMIT_HTTP_UPLOAD_BYTES                                                                    \
    (32 * 1024 * 1024)                              /* read at all: over the body's limit, dropped \
                                                     */
#define LIMIT_HTTP_BODIES_BYTES (128 * 1024 * 1024) /* of all request bodies at once: above 429 */
#define LIMIT_HTTP_ANSWERS_BYTES                                                                   \
    (256 * 1024 * 1024)                /* of answers kept and on their way: above 429 */
#define LIMIT_HTTP_REQUEST_S 60        /* from a request's line to its end */
#define LIMIT_HTTP_IDLE_S 120          /* without a request's line, longer than clients keep */
#define LIMIT_HTTP_SEND_S 300          /* until an answer is taken */
#define LIMIT_HTTP_SWEEP_MS 2000       /* between looks for those that are over */
#define LIMIT_HTTP_KEEP_ALIVE_S 30     /* a silent peer is probed (contract 1.1) */
#define LIMIT_HTTP_KEEP_ALIVE_PROBES 3 /* so long each; then its connection ends */
#define LIMIT_HTTP_STACK_BYTES (1024 * 1024)       /* of an HTTP thread */
#define LIMIT_HTTP_STREAM_BLOCK_BYTES 4096         /* sent at once of an answer that does not end */
#define LIMIT_HTTP_STREAM_FLUSH_MS 200             /* between two such blocks */
#define LIMIT_HTTP_REFUSED_IDLE_S 5                /* a silent connection over that limit ends */
#define LIMIT_HTTP_PENDING 100000                  /* requests parked at one agent: above 429 */
#define LIMIT_HTTP_WORKERS 3                       /* threads for the answers of woken queries */
#define LIMIT_HTTP_CACHE_BYTES (2 * 1024 * 1024)   /* answers kept by one HTTP thread */
#define LIMIT_HTTP_CACHE_ANSWER_BYTES (256 * 1024) /* larger answers are not kept */
#define LIMIT_HTTP_GZIP_BYTES_MIN 1400             /* smaller bodies are not compressed, */
#define LIMIT_HTTP_GZIP_BYTES_MAX (1024 * 1024)    /* nor larger: it would hold up the thread */
#define LIMIT_HTTP_QUERY_PARAMS 64

/* Queries, milliseconds. */
#define LIMIT_QUERY_WAIT_DEFAULT_MS (300 * 1000)
#define LIMIT_QUERY_WAIT_MAX_MS (600 * 1000)
#define LIMIT_QUERY_JITTER_FRACTION 16

/* Raft and disk. */
#define LIMIT_ENTRY_BYTES (16 * 1024 * 1024) /* one log entry's payload */
#define LIMIT_LOG_SEGMENT_BYTES (8 * 1024 * 1024)
#define LIMIT_LOG_SEGMENT_MAX_BYTES (32 * 1024 * 1024) /* a segment that holds one huge entry */
#define LIMIT_PROPOSALS_PENDING 65536                  /* above: 429 */
#define LIMIT_PROPOSALS_PER_TURN 512                   /* applied within the 5 ms of a turn */
#define LIMIT_APPLY_ROWS 1536   /* touched in a turn of the core: under its 5 ms */
#define LIMIT_APPLY_ENTRIES 512 /* read from the disk in a turn, at the start */
#define LIMIT_SNAPSHOT_TRIGGER_BYTES (64 * 1024 * 1024) /* log since the last snapshot */
#define LIMIT_SNAPSHOT_PIECE_BYTES (1024 * 1024)
#define LIMIT_RAFT_SERVERS 64         /* voters and learners of a group */
#define LIMIT_RAFT_DISK_STALL_MS 2000 /* a leader whose disk makes no progress steps down */
#define LIMIT_RAFT_OUTGOING 4096      /* messages that wait for one peer */
#define LIMIT_LOG_TAIL_BYTES (8 * 1024 * 1024)   /* newest entries, kept in memory for peers */
#define LIMIT_ARCHIVE_BYTES (1024 * 1024 * 1024) /* a snapshot that operators keep, unpacked */
#define LIMIT_LEADER_HOLD_MS 2000 /* a request waits so long for a leader: several elections */
#define LIMIT_FORWARD_MS 10000    /* a request that another server leads; then its end is unknown */
#define LIMIT_RAFT_HEARTBEAT_MS 50
#define LIMIT_RAFT_ELECTION_MS 200                  /* the minimum; drawn up to twice that */
#define LIMIT_RAFT_APPEND_BYTES (512 * 1024)        /* payloads of one message, or one entry */
#define LIMIT_RAFT_APPEND_ENTRIES 4096              /* of one message */
#define LIMIT_RAFT_INFLIGHT_BYTES (4 * 1024 * 1024) /* sent to a peer and not acknowledged */
#define LIMIT_RAFT_INFLIGHT_ENTRIES 65536
#define LIMIT_RAFT_TRAILING_BYTES (16 * 1024 * 1024) /* kept behind a snapshot for slow peers */
#define LIMIT_RAFT_PROMOTE_ENTRIES 4096              /* a learner to be promoted lags no more */
#define LIMIT_RAFT_READS 4096                        /* consistent reads that wait at once */
#define LIMIT_RAFT_MESSAGE_HEAD_BYTES (64 * 1024)    /* of an encoded message, without payloads */
#define LIMIT_RAFT_SNAPSHOT_BYTES (8ull << 30)       /* the state that a leader sends */
#define LIMIT_RAFT_SIZE_MARK_BYTES (32 * 1024)       /* see raft_sizes */

/* Catalog. */
#define LIMIT_META_PAIRS 64
#define LIMIT_META_KEY_BYTES 128
#define LIMIT_META_VALUE_BYTES 512
#define LIMIT_TAGS_BYTES (64 * 1024)  /* all tags of a service: each check repeats them */
#define LIMIT_CHECKS_PER_REQUEST 4096 /* of one registration */
#define LIMIT_TREE_KEY_BYTES 2048     /* composed key of an index */
#define LIMIT_NAME_BYTES 512          /* node name, service name, instance or check id */

/* Mirrors. */
#define LIMIT_CHANGES_BYTES (8 * 1024 * 1024) /* names of rows that have changed lately */
#define LIMIT_CHANGES_BLOCK_BYTES (64 * 1024) /* they are forgotten by such blocks */
#define LIMIT_MIRROR_NAMES 4096               /* services of one stream */
#define LIMIT_MIRROR_NAMES_FREE 2048          /* of them, so many with their first lookup */
#define LIMIT_MIRROR_LOOKED_UP 4096           /* names remembered as looked up once, about */
#define LIMIT_MIRRORS 256                     /* other datacenters */
#define LIMIT_MIRROR_FRESH_MS 2000            /* subscribed rows answer ?stale without a server */
#define LIMIT_MIRROR_LOST_MS 5000             /* so old, its source is not even asked */
#define LIMIT_MIRROR_WANTS 1024               /* looked up and not subscribed yet, at once */
#define LIMIT_MIRROR_PART_BYTES (64 * 1024)   /* told at once, about: applied in one turn */
#define LIMIT_MIRROR_CREDIT 8                 /* parts under way */
#define LIMIT_MIRROR_STREAMS 65536            /* of one server */
#define LIMIT_MIRROR_BEAT_MS 500              /* a stream that has nothing to tell says so */
#define LIMIT_MIRROR_SILENCE_MS 3000          /* without a word it is given up */
#define LIMIT_MIRROR_CHANGES_BYTES (1024 * 1024)    /* of a mirror, for those that mirror it */
#define LIMIT_MIRROR_BATCH_BYTES (64 * 1024 * 1024) /* a part of a stream, unpacked */

/* Keys and sessions. */
#define LIMIT_KV_KEY_BYTES 2000
#define LIMIT_TXN_OPS 128
#define LIMIT_SESSION_TTL_MAX_S (24 * 3600)
#define LIMIT_SESSION_CHECKS 64
#define LIMIT_LOCK_DELAY_MS (60 * 1000)
#define LIMIT_TOMBSTONES 100000             /* above, the oldest go before their time */
#define LIMIT_TOMBSTONE_MS (15 * 60 * 1000) /* an index of a deleted key is kept so long */
#define LIMIT_TOMBSTONE_BIN_MS (30 * 1000)
#define LIMIT_TOMBSTONES_PER_REAP 1000 /* one command */
#define LIMIT_SWEEP_NODES 2000         /* of deleted trees, freed in one turn */

/* Members that operators have removed and that are not yet forgotten. */
#define LIMIT_REMOVALS 16384
#define LIMIT_REMOVALS_PER_COMMAND 256 /* that end */

/* Coordinates. */
#define LIMIT_COORDINATE_RATE 64      /* reports a second of a whole pool */
#define LIMIT_COORDINATE_BATCH 128    /* in one command */
#define LIMIT_COORDINATE_BATCHES 5    /* commands of a server in one period; more are dropped */
#define LIMIT_COORDINATE_MEMBERS 1024 /* of the wide-area pool whose coordinates are told */

/* Prepared queries. */
#define LIMIT_QUERY_BYTES (64 * 1024) /* all texts of one; what its template comes to */

/* Failover. */
#define LIMIT_FAILOVER_AWAY 4096 /* services that are answered from elsewhere, kept track of */
#define LIMIT_FAILOVER_DATACENTERS 256 /* of one policy */
#define LIMIT_FAILOVER_HOLD_DOWN_S 86400
#define LIMIT_FAILOVER_FRESH_MS 10000 /* rows of a datacenter that is there are no older */
#define LIMIT_FAILOVER_STAY_MS 1000   /* the one where lookups are may be silent so much longer */
#define LIMIT_FAILOVER_NOTES 256      /* on their way to the core */

/* Filters. */
#define LIMIT_FILTER_BYTES (8 * 1024)     /* an expression */
#define LIMIT_FILTER_DEPTH 64             /* groups within groups, in expressions and patterns */
#define LIMIT_FILTER_PATTERNS 16          /* regular expressions of one filter */
#define LIMIT_FILTER_MATCH_STEPS 100000   /* of one pattern on one text, above: an error */
#define LIMIT_FILTER_STEPS 30000000       /* of all matches of an answer: 2 s, above: an error */
#define LIMIT_FILTER_MATCH_DEPTH 10000    /* backtracking points at once */
#define LIMIT_FILTER_MATCH_KIB (2 * 1024) /* memory for them */

/* Checks. */
#define LIMIT_CHECK_INTERVAL_MIN_MS 1000
#define LIMIT_CHECK_TIMEOUT_DEFAULT_MS (10 * 1000)
#define LIMIT_CHECK_OUTPUT_BYTES 4096
#define LIMIT_CHECK_BODY_BYTES (64 * 1024) /* bytes of a check's reply that are read */
#define LIMIT_CHECK_REDIRECTS 10
#define LIMIT_CHECK_DEFINITION_BYTES (1024 * 1024) /* of all texts, headers with each value */
#define LIMIT_CHECK_TIMEOUT_MAX_MS                                                                 \
    (10 * 60 * 1000)               /* longer ones are lowered: places are shared                   \
                                    */
#define LIMIT_CHECK_RUNS 512       /* at once; the others wait their turn */
#define LIMIT_CHECK_SCRIPT_RUNS 64 /* processes of scripts, apart from the others */
#define LIMIT_CHECK_UDP_RUNS 4096  /* a socket each that mostly waits */
#define LIMIT_CHECK_SCRIPT_TIMEOUT_DEFAULT_MS (30 * 1000)
#define LIMIT_CHECK_TEXT_BYTES (4 * LIMIT_CHECK_DEFINITION_BYTES) /* the same with separators */
#define LIMIT_CHECK_FRAME_BYTES (LIMIT_CHECK_TEXT_BYTES + 4096)   /* on their way to a script */

/* Watches. */
#define LIMIT_WATCHES 100                           /* of the configuration: a connection each */
#define LIMIT_WATCH_HANDLERS 16                     /* run at once; the others wait */
#define LIMIT_WATCH_PARAMETERS_BYTES (64 * 1024)    /* they go into a request's first line */
#define LIMIT_WATCH_ANSWER_BYTES (16 * 1024 * 1024) /* larger answers are an error */
#define LIMIT_WATCH_SCRIPT_MS (3600 * 1000)         /* a handler that runs longer is killed */

/* The agent's own registrations: a byte of the body may become six, as in `\u003c`. */
#define LIMIT_OWN_FILE_BYTES (6 * LIMIT_HTTP_BODY_BYTES + 64 * 1024)

/* Commands with which an agent tells the catalog of its registrations. */
#define LIMIT_SYNC_UNDER_WAY 256       /* at once, */
#define LIMIT_SYNC_FRESH 2048          /* with those for what has just changed */
#define LIMIT_SYNC_BYTES (1024 * 1024) /* of a service's checks that go along with it, about */

/* Whether servers of a group have the same rows. */
#define LIMIT_CHECK_PERIOD_MS 1000
#define LIMIT_CHECK_ENTRIES 256 /* between two sums that are kept */
#define LIMIT_CHECK_SAMPLES 64  /* of them */
#define LIMIT_CHECK_PATIENCE 10 /* rounds without all answers, then the leader decides */
#define LIMIT_HEAL_RETRY_MS 200

#define LIMIT_PEERS_FILE_BYTES (64 * 1024) /* raft/peers.json */

/* Configuration. */
#define LIMIT_CONFIG_FILE_BYTES (16 * 1024 * 1024)
#define LIMIT_CONFIG_JSON_BYTES (6 * LIMIT_CONFIG_FILE_BYTES) /* a byte may become `\u003c` */
#define LIMIT_HCL_DEPTH 64     /* blocks and lists within each other */
#define LIMIT_TOKEN_BYTES 4096 /* of a token's file */

/* DNS. */
#define LIMIT_DNS_UDP_BYTES_MIN 512
#define LIMIT_DNS_UDP_BYTES_MAX 65467
#define LIMIT_DNS_TCP_BYTES 65523
#define LIMIT_DNS_TCP_QUERIES 128 /* questions on one TCP connection */
#define LIMIT_DNS_TCP_CONNECTIONS 256
#define LIMIT_DNS_TCP_IDLE_MS 8000
#define LIMIT_DNS_TCP_READ_MS 2000
#define LIMIT_DNS_BATCH 32        /* datagrams a system call */
#define LIMIT_DNS_LISTEN 16       /* addresses */
#define LIMIT_DNS_THREADS 16      /* for UDP */
#define LIMIT_DNS_PLAIN_ANSWERS 8 /* in a datagram to a client without EDNS */
#define LIMIT_DNS_TCP_ANSWERS 4096
#define LIMIT_DNS_TCP_SRV_ANSWERS 1024
#define LIMIT_DNS_RECORDS 5600    /* gathered for one section, before it is cut */
#define LIMIT_DNS_CHASE_DEPTH 3   /* names of ours behind a CNAME */
#define LIMIT_DNS_CHASE_RECORDS 5 /* of them, for a client without EDNS */
#define LIMIT_DNS_NAME_SERVERS 3
#define LIMIT_DNS_UDP_REQUEST_BYTES 2048
#define LIMIT_DNS_RECURSORS 16
#define LIMIT_DNS_RELAY_EXCHANGES 1024     /* with recursors at once, a socket each; above: none */
#define LIMIT_DNS_RELAY_REQUEST_BYTES 4096 /* longer ones are not passed on */
#define LIMIT_DNS_RELAY_TCP_WAITING 8      /* questions of one connection that recursors have */
#define LIMIT_DNS_RESOLVED_NAMES 8         /* foreign names behind the aliases of one answer */
#define LIMIT_DNS_RESOLVED_RECORDS 32      /* of one such name */
#define LIMIT_DNS_NODES_TOLD 64            /* of names that are no host names, warned about once */
#define LIMIT_DNS_TXT_BYTES 2048           /* of one TXT record, after escaping */

/* Between agents. */
#define LIMIT_KEYRING_KEYS 16
#define LIMIT_SEAL_SENDERS 16384 /* whose replay windows are kept; the longest silent one goes */
#define LIMIT_SEAL_WINDOW 256    /* packets of one sender that may overtake each other */
#define LIMIT_SEAL_PACKET_BYTES 2048 /* a datagram */
#define LIMIT_UDP_BATCH 16           /* datagrams read by a system call */
#define LIMIT_UDP_TURN 256           /* read in one turn */
#define LIMIT_UDP_BUFFER_BYTES                                                                     \
    (4 * 1024 * 1024)                     /* of a socket, each way; the system may give less */
#define LIMIT_TCP_TURN_BYTES (512 * 1024) /* read from one stream in one turn */
#define LIMIT_RPC_HELLO_BYTES 4096        /* a frame of the handshake */
#define LIMIT_RPC_FRAME_BYTES (17 * 1024 * 1024)
#define LIMIT_RPC_QUEUE_BYTES (36 * 1024 * 1024) /* outgoing, of one connection: above, wait */
#define LIMIT_RPC_ACCEPTED 8192                  /* connections of others at once */
#define LIMIT_RPC_REQUESTS 4096                  /* of one connection, under way */
#define LIMIT_RPC_CONNECT_MS 5000
#define LIMIT_RPC_HANDSHAKE_MS 5000
#define LIMIT_RPC_FINISH_MS 10000 /* what is still to go out when a connection ends */
#define LIMIT_RPC_BACKOFF_MIN_MS 50
#define LIMIT_RPC_BACKOFF_MAX_MS 5000
#define LIMIT_RESOLVE_ADDRESSES 64 /* of one name */

/* Requests that other agents answer. */
#define LIMIT_CARRY_HOPS 2                        /* an own server, one of another datacenter */
#define LIMIT_CARRY_BODY_BYTES (16 * 1024 * 1024) /* of a request; above 413 */
#define LIMIT_CARRY_PIECE_BYTES (1024 * 1024)     /* of an answer, sent at once */
#define LIMIT_LINK_WAIT_MS 400      /* for a server of this datacenter: an error within 500 ms */
#define LIMIT_LINK_WAIT_FAR_MS 2000 /* of another */
#define LIMIT_LINK_HURRY_MS 600     /* and some round trips, if a mirror can answer instead */

/* Gossip. */
#define LIMIT_GOSSIP_MEMBERS 65536 /* records of a pool, dead ones and tombstones too */
#define LIMIT_GOSSIP_NAME_BYTES 255
#define LIMIT_GOSSIP_TAGS 64
#define LIMIT_GOSSIP_DESCRIPTOR_BYTES 1024 /* a member's name, address and tags, encoded */
#define LIMIT_GOSSIP_PACKET_BYTES 65507    /* received; those sent fit one frame */
#define LIMIT_GOSSIP_PACKET_BYTES_MIN 1200 /* what a pool may be told to send at least */
#define LIMIT_GOSSIP_STREAM_BYTES (32 * 1024 * 1024) /* one push/pull message */
#define LIMIT_GOSSIP_ACCUSERS 8                      /* told in one suspicion */
#define LIMIT_GOSSIP_PROBES 64                       /* of this member, under way at once */
#define LIMIT_GOSSIP_RELAYS 1024                     /* probes made for others, at once */
#define LIMIT_GOSSIP_EVENTS 512                      /* user events whose ids a member remembers */
#define LIMIT_GOSSIP_EVENT_BYTES 800                 /* one of them */
#define LIMIT_GOSSIP_EVENTS_QUEUED 128               /* on their way to others */
#define LIMIT_GOSSIP_EVENTS_BYTES (96 * 1024)        /* kept for members that have missed them */
#define LIMIT_EVENT_BYTES 512                        /* name, filters and payload (contract 14.1) */
#define LIMIT_EVENT_STEPS 50000 /* of an event's filters on all services: the core's turn, 4 ms */
#define LIMIT_EVENTS_KEPT 256   /* shown by an agent */

/* Telemetry. */
#define LIMIT_METRICS 512                      /* series: a name and its labels */
#define LIMIT_METRIC_LINES_BYTES (1024 * 1024) /* of an interval, for statsd */
#define LIMIT_METRIC_HOST_CPUS 32              /* that host metrics tell apart */
#define LIMIT_METRIC_THREADS 128               /* that record */
#define LIMIT_LOG_QUEUE_BYTES (1024 * 1024)    /* lines on their way to one output; more are lost */
#define LIMIT_LOG_READERS 32                   /* monitors of the log at once: above 429 */
#define LIMIT_LOG_READER_LINES 512             /* that wait for one of them; more are dropped */

/* Threads that may hold a view at once. */
#define LIMIT_EPOCH_THREADS 128

_Static_assert(LIMIT_ENTRY_BYTES + 4096 <= LIMIT_LOG_SEGMENT_MAX_BYTES, "an entry fits a segment");
_Static_assert(LIMIT_HTTP_BODY_BYTES < LIMIT_ENTRY_BYTES, "most request bodies fit an entry");
_Static_assert(3 * LIMIT_NAME_BYTES + 3 <= LIMIT_TREE_KEY_BYTES, "three names make a key");
_Static_assert(LIMIT_KV_KEY_BYTES + 40 <= LIMIT_TREE_KEY_BYTES, "a session and its key make a key");
_Static_assert(17 + 3 * (LIMIT_NAME_BYTES + 1) <= LIMIT_TREE_KEY_BYTES, "behind an address too");
_Static_assert(LIMIT_HTTP_POOL_BYTES <= LIMIT_FILTER_BYTES, "a filter that arrives is read");
_Static_assert(LIMIT_FILTER_BYTES < 65535, "a match is counted in 16 bits");
_Static_assert(LIMIT_ENTRY_BYTES + 64 * 1024 <= LIMIT_RPC_FRAME_BYTES, "an entry fits a frame");
_Static_assert(2 * LIMIT_RPC_FRAME_BYTES <= LIMIT_RPC_QUEUE_BYTES, "two frames fit a queue");
_Static_assert(LIMIT_CHECK_DEFINITION_BYTES < LIMIT_HTTP_BODY_BYTES, "a definition can be sent");
/* Each text of at least one byte may get two more: its end and a separator. */
_Static_assert(3 * LIMIT_CHECK_DEFINITION_BYTES <= LIMIT_CHECK_TEXT_BYTES,
               "a definition is packed");
_Static_assert(LIMIT_CHECK_BODY_BYTES + 4096 <= LIMIT_CHECK_FRAME_BYTES, "a report fits a frame");
_Static_assert(LIMIT_SYNC_FRESH < LIMIT_RPC_REQUESTS, "they leave room on a connection");
_Static_assert(LIMIT_SYNC_BYTES + LIMIT_CHECK_DEFINITION_BYTES + LIMIT_HTTP_BODY_BYTES <
                   LIMIT_ENTRY_BYTES,
               "a service and its checks fit an entry");
_Static_assert(LIMIT_HTTP_BODY_BYTES < LIMIT_HTTP_UPLOAD_BYTES, "a body that is too large is read");
_Static_assert(4 * LIMIT_HTTP_BODY_BYTES <= LIMIT_HTTP_BODIES_BYTES, "one client is not all");
_Static_assert(LIMIT_HTTP_ANSWER_BYTES <= LIMIT_HTTP_ANSWERS_BYTES, "an answer fits alone");
_Static_assert(LIMIT_HTTP_REFUSED_IDLE_S < LIMIT_HTTP_REQUEST_S, "the refused go first");
_Static_assert(LIMIT_HTTP_SWEEP_MS < 1000 * LIMIT_HTTP_REFUSED_IDLE_S, "deadlines are kept");
_Static_assert(LIMIT_HTTP_CACHE_ANSWER_BYTES <= LIMIT_HTTP_CACHE_BYTES, "an answer fits the cache");
_Static_assert(LIMIT_EVENT_BYTES + 64 <= LIMIT_GOSSIP_EVENT_BYTES, "an event can be fired");
_Static_assert(LIMIT_GOSSIP_EVENT_BYTES + 64 <= LIMIT_GOSSIP_PACKET_BYTES_MIN,
               "an event fits a packet");
_Static_assert(LIMIT_GOSSIP_DESCRIPTOR_BYTES + 64 <= LIMIT_GOSSIP_PACKET_BYTES_MIN,
               "a member's rumour fits a packet");

#endif
