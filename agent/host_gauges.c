#include "agent/host_gauges.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/limits.h"
#include "base/mem.h"

enum cpu_part { CPU_USER, CPU_SYSTEM, CPU_IDLE, CPU_IOWAIT, CPU_TOTAL, CPU_PARTS };

/* One processor: its gauges in percent, and what /proc/stat told last. */
struct cpu {
    struct metric *parts[CPU_PARTS];
    uint64_t before[CPU_PARTS];
};

struct host_gauges {
    struct metrics *metrics;
    const char *path;
    struct metric *memory_total, *memory_available, *memory_used, *memory_used_percent,
        *memory_free;
    struct metric *disk_size, *disk_used, *disk_available, *disk_used_percent, *disk_inodes_percent;
    struct metric *uptime;
    pthread_mutex_t mutex; /* of what follows */
    struct cpu cpus[LIMIT_METRIC_HOST_CPUS];
};

struct host_gauges *host_gauges_create(struct metrics *metrics, const char *path) {
    struct host_gauges *g = mem_calloc(1, sizeof *g);
    const struct str_pair label = {"path", path};
    const struct {
        struct metric **to;
        const char *name, *help;
        unsigned labels;
    } rows[] = {
        {&g->memory_total, "host.memory.total", "Bytes of memory.", 0},
        {&g->memory_available, "host.memory.available", "Bytes that programs can get.", 0},
        {&g->memory_used, "host.memory.used", "Bytes that programs hold.", 0},
        {&g->memory_used_percent, "host.memory.used_percent", "The same in percent.", 0},
        {&g->memory_free, "host.memory.free", "Bytes without any use.", 0},
        {&g->disk_size, "host.disk.size", "Bytes of the file system.", 1},
        {&g->disk_used, "host.disk.used", "Bytes in use.", 1},
        {&g->disk_available, "host.disk.available", "Bytes that users can get.", 1},
        {&g->disk_used_percent, "host.disk.used_percent", "Bytes in use in percent.", 1},
        {&g->disk_inodes_percent, "host.disk.inodes_percent", "Inodes in use in percent.", 1},
        {&g->uptime, "host.uptime", "Seconds since the boot.", 0},
    };
    g->metrics = metrics;
    g->path = path;
    pthread_mutex_init(&g->mutex, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        *rows[i].to =
            metrics_add(metrics, METRIC_GAUGE, rows[i].name, rows[i].help, &label, rows[i].labels);
    }
    return g;
}

void host_gauges_destroy(struct host_gauges *gauges) {
    if (gauges != NULL) {
        pthread_mutex_destroy(&gauges->mutex);
        free(gauges);
    }
}

static void set_percent(struct metric *metric, double part, double whole) {
    metric_set(metric, whole > 0 ? 100 * part / whole : 0);
}

static void refresh_memory(const struct host_gauges *g) {
    char line[256], name[64];
    unsigned long long kib, total = 0, available = 0, unused = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "%63[^:]: %llu", name, &kib) == 2) {
            total = strcmp(name, "MemTotal") == 0 ? kib : total;
            available = strcmp(name, "MemAvailable") == 0 ? kib : available;
            unused = strcmp(name, "MemFree") == 0 ? kib : unused;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    double used = (double)(total - available);
    metric_set(g->memory_total, 1024.0 * (double)total);
    metric_set(g->memory_available, 1024.0 * (double)available);
    metric_set(g->memory_free, 1024.0 * (double)unused);
    metric_set(g->memory_used, 1024.0 * used);
    set_percent(g->memory_used_percent, used, (double)total);
}

static void refresh_disk(const struct host_gauges *g) {
    struct statvfs disk;
    if (statvfs(g->path, &disk) == 0) {
        double size = (double)disk.f_blocks, used = (double)(disk.f_blocks - disk.f_bfree);
        double block = (double)disk.f_frsize, available = (double)disk.f_bavail;
        metric_set(g->disk_size, size * block);
        metric_set(g->disk_used, used * block);
        metric_set(g->disk_available, available * block);
        set_percent(g->disk_used_percent, used, used + available);
        set_percent(g->disk_inodes_percent, (double)(disk.f_files - disk.f_ffree),
                    (double)disk.f_files);
    }
}

static void add_cpu(struct host_gauges *g, struct cpu *cpu, unsigned number) {
    static const char *const names[CPU_PARTS] = {
        "host.cpu.user", "host.cpu.system", "host.cpu.idle", "host.cpu.iowait", "host.cpu.total"};
    char text[24];
    snprintf(text, sizeof text, "cpu%u", number);
    const struct str_pair label = {"cpu", text};
    for (unsigned i = 0; i < CPU_PARTS; i++) {
        cpu->parts[i] = metrics_add(g->metrics, METRIC_GAUGE, names[i],
                                    "Time of a processor in percent.", &label, 1);
    }
}

static void refresh_cpus(struct host_gauges *g) {
    char line[512];
    FILE *file = fopen("/proc/stat", "re");
    pthread_mutex_lock(&g->mutex);
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        unsigned number;
        unsigned long long user, nice, system, idle, wait, irq, softirq;
        if (sscanf(line, "cpu%u %llu %llu %llu %llu %llu %llu %llu", &number, &user, &nice, &system,
                   &idle, &wait, &irq, &softirq) != 8 ||
            number >= LIMIT_METRIC_HOST_CPUS) {
            continue;
        }
        struct cpu *cpu = &g->cpus[number];
        uint64_t all = user + nice + system + idle + wait + irq + softirq;
        const uint64_t now[CPU_PARTS] = {user + nice, system, idle, wait, all};
        if (cpu->parts[0] == NULL) {
            add_cpu(g, cpu, number);
        }
        double passed = (double)(all - cpu->before[CPU_TOTAL]);
        for (unsigned i = 0; passed > 0 && i < CPU_TOTAL; i++) {
            set_percent(cpu->parts[i], (double)(now[i] - cpu->before[i]), passed);
        }
        if (passed > 0) {
            double rest = (double)(now[CPU_IDLE] - cpu->before[CPU_IDLE]);
            set_percent(cpu->parts[CPU_TOTAL], passed - rest, passed);
            memcpy(cpu->before, now, sizeof now);
        }
    }
    pthread_mutex_unlock(&g->mutex);
    if (file != NULL) {
        fclose(file);
    }
}

static void refresh_uptime(const struct host_gauges *g) {
    double seconds = 0;
    FILE *file = fopen("/proc/uptime", "re");
    if (file != NULL && fscanf(file, "%lf", &seconds) == 1) {
        metric_set(g->uptime, (double)(uint64_t)seconds);
    }
    if (file != NULL) {
        fclose(file);
    }
}

void host_gauges_refresh(struct host_gauges *gauges) {
    if (gauges != NULL) {
        refresh_memory(gauges);
        refresh_disk(gauges);
        refresh_cpus(gauges);
        refresh_uptime(gauges);
    }
}
