/* Metrics of the whole agent (contract 5): the clock of their intervals, and the gauges, which are
 * read off the parts when somebody asks and cost nothing until then. */
#include <dirent.h>
#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "agent/host_gauges.h"
#include "agent/internal.h"
#include "agent/mirrors.h"
#include "agent/operator.h"
#include "agent/pools.h"
#include "agent/servers.h"
#include "agent/telemetry_sinks.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"

#define MODULE "agent"
#define JUDGE_MS 1000

enum gauge {
    GAUGE_THREADS,
    GAUGE_ALLOC_BYTES,
    GAUGE_SYS_BYTES,
    GAUGE_HEAP_OBJECTS,
    GAUGE_MALLOC_COUNT,
    GAUGE_FREE_COUNT,
    GAUGE_GC_PAUSE,
    GAUGE_GC_RUNS,
    GAUGE_IS_LEADER,
    GAUGE_HEALTHY,
    GAUGE_TOLERANCE,
    GAUGE_APPLIED,
    GAUGE_LAST_INDEX,
    GAUGE_SESSIONS,
    GAUGE_CHECKS,
    GAUGE_CHECKS_RUNNING,
    GAUGE_CHECKS_WAITING,
    GAUGE_CHECKS_RUNS,
    GAUGE_LOG_LOST,
    GAUGE_NODES, /* from here on with the datacenter as label */
    GAUGE_SERVICES,
    GAUGE_INSTANCES,
    GAUGE_BILLABLE,
    GAUGE_KEYS,
    GAUGE_SERVERS,
    GAUGE_CLIENTS,
    GAUGE_CPU_SECONDS, /* from here on of the process */
    GAUGE_OPEN_FDS,
    GAUGE_MAX_FDS,
    GAUGE_RESIDENT,
    GAUGE_VIRTUAL,
    GAUGE_START_TIME,
    GAUGE_COUNT
};

static const struct {
    const char *name, *help;
} gauges[GAUGE_COUNT] = {
    [GAUGE_THREADS] = {"runtime.num_goroutines", "Threads of the process."},
    [GAUGE_ALLOC_BYTES] = {"runtime.alloc_bytes", "Bytes allocated on the heap."},
    [GAUGE_SYS_BYTES] = {"runtime.sys_bytes", "Bytes of heap from the system."},
    [GAUGE_HEAP_OBJECTS] = {"runtime.heap_objects", "Not counted by this program: 0."},
    [GAUGE_MALLOC_COUNT] = {"runtime.malloc_count", "Not counted by this program: 0."},
    [GAUGE_FREE_COUNT] = {"runtime.free_count", "Not counted by this program: 0."},
    [GAUGE_GC_PAUSE] = {"runtime.total_gc_pause_ns", "There is no garbage collector: 0."},
    [GAUGE_GC_RUNS] = {"runtime.total_gc_runs", "There is no garbage collector: 0."},
    [GAUGE_IS_LEADER] = {"server.isLeader", "Whether this server leads."},
    [GAUGE_HEALTHY] = {"autopilot.healthy", "Whether all servers are healthy; the leader knows."},
    [GAUGE_TOLERANCE] = {"autopilot.failure_tolerance", "Voters that may fail; the leader knows."},
    [GAUGE_APPLIED] = {"raft.applied_index", "Index of the last applied entry."},
    [GAUGE_LAST_INDEX] = {"raft.last_index", "Index of the last entry."},
    [GAUGE_SESSIONS] = {"session_ttl.active", "Sessions with a TTL that this server counts."},
    [GAUGE_CHECKS] = {"checks.total", "Checks that this agent runs."},
    [GAUGE_CHECKS_RUNNING] = {"checks.running", "Checks under way."},
    [GAUGE_CHECKS_WAITING] = {"checks.waiting", "Checks that are due and wait for a place."},
    [GAUGE_CHECKS_RUNS] = {"checks.runs", "Runs of checks since the start."},
    [GAUGE_LOG_LOST] = {"log.lost_lines", "Lines of the log that no output had room for."},
    [GAUGE_NODES] = {"state.nodes", "Nodes of the catalog."},
    [GAUGE_SERVICES] = {"state.services", "Service names of the catalog."},
    [GAUGE_INSTANCES] = {"state.service_instances", "Service instances of the catalog."},
    [GAUGE_BILLABLE] = {"state.billable_service_instances",
                        "Service instances but servers and proxies."},
    [GAUGE_KEYS] = {"state.kv_entries", "Keys."},
    [GAUGE_SERVERS] = {"members.servers", "Servers of the datacenter."},
    [GAUGE_CLIENTS] = {"members.clients", "Client agents of the datacenter."},
    [GAUGE_CPU_SECONDS] = {"process_cpu_seconds_total", "User and system time in seconds."},
    [GAUGE_OPEN_FDS] = {"process_open_fds", "Open file descriptors."},
    [GAUGE_MAX_FDS] = {"process_max_fds", "Largest number of open file descriptors."},
    [GAUGE_RESIDENT] = {"process_resident_memory_bytes", "Resident memory in bytes."},
    [GAUGE_VIRTUAL] = {"process_virtual_memory_bytes", "Virtual memory in bytes."},
    [GAUGE_START_TIME] = {"process_start_time_seconds", "Start of the process, Unix time."},
};

struct telemetry_gauges {
    struct metric *v[GAUGE_COUNT];
    double started_at_s; /* Unix time */
    pthread_mutex_t mutex;
    uint64_t counted_version; /* of the view that the catalog's gauges are of */
    struct metric *accepted;
    uint64_t accepted_counted;
};

/* ---- the catalog ---- */

struct counts {
    uint64_t nodes, services, instances, billable;
    const char *last_name;
};

static bool count_node(const struct catalog_node *node, void *context) {
    (void)node;
    ((struct counts *)context)->nodes++;
    return true;
}

static bool count_instance(const struct catalog_instance *instance, void *context) {
    struct counts *counts = context;
    const char *name = instance->service->name;
    counts->services += !str_equal_fold(name, counts->last_name);
    counts->instances++;
    counts->billable += strcmp(name, "consul") != 0 && *instance->service->kind == '\0';
    counts->last_name = name;
    return true;
}

static void refresh_catalog(struct agent *agent, struct telemetry_gauges *to) {
    struct counts counts = {.last_name = ""};
    if (!agent->config->server) {
        return;
    }
    const struct catalog_view *view = catalog_view(agent->catalog);
    pthread_mutex_lock(&to->mutex);
    if (to->counted_version != view_version(view)) {
        view_walk_nodes(view, count_node, &counts);
        view_walk_all_instances(view, count_instance, &counts);
        metric_set(to->v[GAUGE_NODES], (double)counts.nodes);
        metric_set(to->v[GAUGE_SERVICES], (double)counts.services);
        metric_set(to->v[GAUGE_INSTANCES], (double)counts.instances);
        metric_set(to->v[GAUGE_BILLABLE], (double)counts.billable);
        to->counted_version = view_version(view);
    }
    pthread_mutex_unlock(&to->mutex);
    metric_set(to->v[GAUGE_KEYS], (double)view_count_kvs(view));
}

/* ---- the process ---- */

static double count_descriptors(void) {
    double count = 0;
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *at;
    while (dir != NULL && (at = readdir(dir)) != NULL) {
        count += at->d_name[0] != '.';
    }
    if (dir != NULL) {
        closedir(dir);
        count--; /* the folder itself */
    }
    return count;
}

static void refresh_process(const struct telemetry_gauges *to) {
    struct mallinfo2 heap = mallinfo2();
    struct timespec cpu;
    struct rlimit limit;
    unsigned long long pages = 0, resident = 0;
    long threads = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file != NULL && fscanf(file, "%llu %llu", &pages, &resident) != 2) {
        pages = resident = 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    file = fopen("/proc/self/status", "re");
    char line[256];
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "Threads: %ld", &threads) == 1) {
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    double page = (double)sysconf(_SC_PAGESIZE);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    metric_set(to->v[GAUGE_THREADS], (double)threads);
    metric_set(to->v[GAUGE_ALLOC_BYTES], (double)(heap.uordblks + heap.hblkhd));
    metric_set(to->v[GAUGE_SYS_BYTES], (double)(heap.arena + heap.hblkhd));
    metric_set(to->v[GAUGE_CPU_SECONDS], (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
    metric_set(to->v[GAUGE_OPEN_FDS], count_descriptors());
    metric_set(to->v[GAUGE_RESIDENT], (double)resident * page);
    metric_set(to->v[GAUGE_VIRTUAL], (double)pages * page);
    metric_set(to->v[GAUGE_START_TIME], to->started_at_s);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        metric_set(to->v[GAUGE_MAX_FDS], (double)limit.rlim_cur);
    }
}

/* ---- all of them ---- */

void telemetry_refresh(void *context) {
    struct agent *agent = context;
    struct telemetry_gauges *to = agent->telemetry.gauges;
    struct group_status status = {.leader = false};
    struct checks_stats checks;
    if (agent->group != NULL) {
        group_get_status(agent->group, &status);
        metric_set(to->v[GAUGE_SESSIONS], (double)clocks_active(agent->clocks));
    }
    checks_get_stats(agent->checks, &checks);
    metric_set(to->v[GAUGE_IS_LEADER], status.leader);
    if (!status.leader) {
        metric_set(to->v[GAUGE_HEALTHY], NAN);
        metric_set(to->v[GAUGE_TOLERANCE], NAN);
    }
    metric_set(to->v[GAUGE_APPLIED], (double)status.applied_index);
    metric_set(to->v[GAUGE_LAST_INDEX], (double)status.last_index);
    metric_set(to->v[GAUGE_CHECKS], (double)checks.checks);
    metric_set(to->v[GAUGE_CHECKS_RUNNING], (double)checks.running);
    metric_set(to->v[GAUGE_CHECKS_WAITING], (double)checks.waiting);
    metric_set(to->v[GAUGE_CHECKS_RUNS], (double)checks.runs_done);
    struct backend_pool_stats lan;
    metric_set(to->v[GAUGE_LOG_LOST], (double)log_lost_lines(agent->log));
    pools_get_stats(agent->pools, false, &lan);
    metric_set(to->v[GAUGE_CLIENTS], lan.clients);
    metric_set(to->v[GAUGE_SERVERS], lan.alive - lan.clients);
    refresh_catalog(agent, to);
    refresh_process(to);
    mirrors_refresh_metrics(agent);
    host_gauges_refresh(agent->telemetry.host);
}

/* What only the core's thread can see; and only the leader can judge its group. */
static void on_judge(struct loop_timer *timer) {
    struct agent *agent = CONTAINER_OF(timer, struct agent, telemetry.judge_timer);
    struct telemetry_gauges *to = agent->telemetry.gauges;
    bool healthy;
    uint64_t tolerance;
    if (agent->servers != NULL) {
        struct rpc_counts counts;
        rpc_get_counts(servers_rpc(agent), &counts);
        metric_count(to->accepted, counts.accepted - to->accepted_counted);
        to->accepted_counted = counts.accepted;
    }
    if (agent->group != NULL && group_leads(agent->group)) {
        operator_judge(agent, &healthy, &tolerance);
        metric_set(to->v[GAUGE_HEALTHY], healthy);
        metric_set(to->v[GAUGE_TOLERANCE], (double)tolerance);
    }
    loop_timer_start(agent->loop, timer, loop_now_ms(agent->loop) + JUDGE_MS);
}

static int64_t next_tick_ms(struct agent *agent) {
    return loop_now_ms(agent->loop) + METRICS_INTERVAL_MS - clock_wall_ms() % METRICS_INTERVAL_MS;
}

static void on_tick(struct loop_timer *timer) {
    struct agent *agent = CONTAINER_OF(timer, struct agent, telemetry.tick_timer);
    struct telemetry_sinks *sinks = agent->telemetry.sinks;
    struct buf lines;
    /* Timers count from the time of a turn, so this may come early: not two ticks an interval. */
    if (METRICS_INTERVAL_MS - clock_wall_ms() % METRICS_INTERVAL_MS < METRICS_INTERVAL_MS / 10) {
        loop_timer_start(agent->loop, timer, next_tick_ms(agent));
        return;
    }
    if (sinks != NULL && telemetry_sinks_wanted(sinks)) {
        buf_init(&lines, LIMIT_METRIC_LINES_BYTES);
        metrics_tick(agent->telemetry.metrics, clock_wall_ms(), &lines);
        telemetry_sinks_send(sinks, &lines);
    } else {
        metrics_tick(agent->telemetry.metrics, clock_wall_ms(), NULL);
    }
    if (agent->http != NULL) {
        http_server_interval_end(agent->http);
    }
    loop_timer_start(agent->loop, timer, next_tick_ms(agent));
}

void telemetry_reload(struct agent *agent, const struct config *live) {
    metrics_set_filter(agent->telemetry.metrics, &live->telemetry.prefix_filter,
                       live->telemetry.filter_default);
}

static bool is_of_servers(enum gauge gauge) {
    return (gauge >= GAUGE_IS_LEADER && gauge <= GAUGE_SESSIONS) ||
           (gauge >= GAUGE_NODES && gauge <= GAUGE_CLIENTS);
}

static void add_gauges(struct agent *agent) {
    struct telemetry *telemetry = &agent->telemetry;
    const struct str_pair datacenter = {"datacenter", agent->config->datacenter};
    const struct str_pair version[] = {{"version", CAIRN_API_VERSION}, {"pre_release", ""}};
    telemetry->gauges = mem_calloc(1, sizeof *telemetry->gauges);
    telemetry->gauges->started_at_s = (double)clock_wall_ms() / 1000;
    pthread_mutex_init(&telemetry->gauges->mutex, NULL);
    for (unsigned i = 0; i < GAUGE_COUNT; i++) {
        bool labelled = i >= GAUGE_NODES && i < GAUGE_CPU_SECONDS;
        if (is_of_servers(i) && !agent->config->server) {
            continue; /* recorded into NULL: nothing */
        }
        telemetry->gauges->v[i] =
            metrics_add(telemetry->metrics, i >= GAUGE_CPU_SECONDS ? METRIC_PROCESS : METRIC_GAUGE,
                        gauges[i].name, gauges[i].help, &datacenter, labelled ? 1 : 0);
    }
    if (agent->config->server) {
        telemetry->gauges->accepted =
            metrics_add(telemetry->metrics, METRIC_COUNTER, "rpc.accept_conn",
                        "Connections of other agents to the server port.", NULL, 0);
    }
    metric_set(metrics_add(telemetry->metrics, METRIC_GAUGE, "version",
                           "The version, as a label: always 1.", version, 2),
               1);
}

void telemetry_create(struct agent *agent) {
    const struct config *config = agent->config;
    struct telemetry *telemetry = &agent->telemetry;
    char host[256] = "";
    if (config->telemetry.disable_hostname || gethostname(host, sizeof host - 1) != 0) {
        host[0] = '\0';
    }
    telemetry->metrics = metrics_create(config->telemetry.metrics_prefix, host, clock_wall_ms());
    telemetry_reload(agent, config);
    telemetry->catalog_register =
        metrics_add(telemetry->metrics, METRIC_SAMPLE, "catalog.register",
                    "A registration in the catalog, until it can be read.", NULL, 0);
    telemetry->catalog_deregister =
        metrics_add(telemetry->metrics, METRIC_SAMPLE, "catalog.deregister",
                    "A removal from the catalog, until it can be read.", NULL, 0);
    telemetry->kvs_apply = metrics_add(telemetry->metrics, METRIC_SAMPLE, "kvs.apply",
                                       "A write to a key, until it can be read.", NULL, 0);
    telemetry->txn_apply = metrics_add(telemetry->metrics, METRIC_SAMPLE, "txn.apply",
                                       "A transaction, until it can be read.", NULL, 0);
    telemetry->query_apply =
        metrics_add(telemetry->metrics, METRIC_SAMPLE, "prepared-query.apply",
                    "A prepared query made, changed or deleted, until it can be read.", NULL, 0);
    telemetry->session_apply =
        metrics_add(telemetry->metrics, METRIC_SAMPLE, "session.apply",
                    "A session made or destroyed, until it can be read.", NULL, 0);
    telemetry->session_renew = metrics_add(telemetry->metrics, METRIC_SAMPLE, "session.renew",
                                           "A session's renewal.", NULL, 0);
    telemetry->session_expiry =
        metrics_add(telemetry->metrics, METRIC_SAMPLE, "session_ttl.invalidate",
                    "The end of a session whose TTL ran out.", NULL, 0);
    telemetry->consistent_read =
        metrics_add(telemetry->metrics, METRIC_SAMPLE, "rpc.consistentRead",
                    "Asking for the index that a read must have.", NULL, 0);
    metrics_add(telemetry->metrics, METRIC_SAMPLE, "runtime.gc_pause_ns",
                "There is no garbage collector: none.", NULL, 0);
    add_gauges(agent);
    if (config->telemetry.enable_host_metrics) {
        telemetry->host =
            host_gauges_create(telemetry->metrics, config->dev ? "/" : config->data_dir);
    }
    telemetry->tick_timer.run = on_tick;
    telemetry->judge_timer.run = on_judge;
    if (agent->loop != NULL) {
        loop_timer_start(agent->loop, &telemetry->tick_timer, next_tick_ms(agent));
    }
    if (agent->loop != NULL && config->server) {
        loop_timer_start(agent->loop, &telemetry->judge_timer, loop_now_ms(agent->loop));
    }
}

/* On the thread of the sinks. */
static void refresh_for_sinks(void *context) {
    struct agent *agent = context;
    epoch_enter(agent->epoch);
    telemetry_refresh(agent);
    epoch_exit(agent->epoch);
}

void telemetry_start(struct agent *agent) {
    const struct config *config = agent->config;
    agent->telemetry.sinks = telemetry_sinks_start(&(struct telemetry_sinks_config){
        .statsd = config->telemetry.statsd_address,
        .statsite = config->telemetry.statsite_address,
        .metrics = agent->telemetry.metrics,
        .log = agent->log,
        .refresh = refresh_for_sinks,
        .context = agent,
    });
}

bool telemetry_stop(struct agent *agent) {
    struct telemetry *telemetry = &agent->telemetry;
    if (agent->loop != NULL) {
        loop_timer_stop(agent->loop, &telemetry->tick_timer);
        loop_timer_stop(agent->loop, &telemetry->judge_timer);
    }
    bool stopped = telemetry_sinks_stop(telemetry->sinks);
    telemetry->sinks = NULL;
    return stopped;
}

void telemetry_dump(struct agent *agent) {
    telemetry_sinks_dump(agent->telemetry.sinks);
}

void telemetry_destroy(struct agent *agent) {
    struct telemetry *telemetry = &agent->telemetry;
    pthread_mutex_destroy(&telemetry->gauges->mutex);
    free(telemetry->gauges);
    host_gauges_destroy(telemetry->host);
    metrics_destroy(telemetry->metrics);
}
