/* What the machine is made of and how full it is (contract 10.2), under the names that clients know
 * from gopsutil. What cannot be read is told in Errors, and its part is empty. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "http/handlers.h"

#define ERRORS_MAX 4

struct host {
    struct json json;
    const struct http_request *req;
    const char *errors[ERRORS_MAX];
    unsigned error_count;
};

static void fail(struct host *host, const char *what) {
    if (host->error_count < ERRORS_MAX) {
        host->errors[host->error_count++] =
            arena_format(host->req->arena, "%s: %s", what, strerror(errno));
    }
}

static void put_f64(struct json *json, const char *key, double value) {
    json_key(json, key);
    json_f64(json, value);
}

static double percent(uint64_t part, uint64_t whole) {
    return whole > 0 ? 100.0 * (double)part / (double)whole : 0;
}

/* ---- memory ---- */

struct meminfo {
    const char *name;
    uint64_t bytes;
};

static bool read_meminfo(struct meminfo *values, size_t count) {
    char line[256], name[64];
    unsigned long long kib;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        for (size_t i = 0; sscanf(line, "%63[^:]: %llu", name, &kib) == 2 && i < count; i++) {
            if (strcmp(name, values[i].name) == 0) {
                values[i].bytes = kib * 1024;
            }
        }
    }
    return file != NULL && fclose(file) == 0;
}

static void put_memory(struct host *host) {
    enum { TOTAL, AVAILABLE, FREE, ACTIVE, INACTIVE, BUFFERS, CACHED, COUNT };
    struct meminfo in[COUNT] = {{"MemTotal", 0}, {"MemAvailable", 0}, {"MemFree", 0}, {"Active", 0},
                                {"Inactive", 0}, {"Buffers", 0},      {"Cached", 0}};
    struct json *json = &host->json;
    json_key(json, "Memory");
    json_object_begin(json);
    if (!read_meminfo(in, COUNT)) {
        fail(host, "memory");
    } else {
        uint64_t used = in[TOTAL].bytes - in[AVAILABLE].bytes;
        json_member_u64(json, "total", in[TOTAL].bytes);
        json_member_u64(json, "available", in[AVAILABLE].bytes);
        json_member_u64(json, "used", used);
        put_f64(json, "usedPercent", percent(used, in[TOTAL].bytes));
        json_member_u64(json, "free", in[FREE].bytes);
        json_member_u64(json, "active", in[ACTIVE].bytes);
        json_member_u64(json, "inactive", in[INACTIVE].bytes);
        json_member_u64(json, "buffers", in[BUFFERS].bytes);
        json_member_u64(json, "cached", in[CACHED].bytes);
    }
    json_object_end(json);
}

/* ---- processors ---- */

struct cpu {
    char vendor[64], family[16], model[16], name[128];
    double mhz;
    bool present;
};

static void put_cpu(struct json *json, const struct cpu *cpu, unsigned number) {
    if (!cpu->present) {
        return;
    }
    json_object_begin(json);
    json_member_u64(json, "cpu", number);
    json_member_str(json, "vendorId", cpu->vendor);
    json_member_str(json, "family", cpu->family);
    json_member_str(json, "model", cpu->model);
    json_member_u64(json, "cores", 1);
    json_member_str(json, "modelName", cpu->name);
    put_f64(json, "mhz", cpu->mhz);
    json_object_end(json);
}

static void put_cpus(struct host *host) {
    struct cpu cpu = {.present = false};
    char line[4096], key[64], value[128];
    unsigned number = 0;
    FILE *file = fopen("/proc/cpuinfo", "re");
    json_key(&host->json, "CPU");
    json_array_begin(&host->json);
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "%63[^\t:] : %127[^\n]", key, value) != 2) {
            continue;
        }
        if (strcmp(key, "processor") == 0) {
            put_cpu(&host->json, &cpu, cpu.present ? number++ : 0);
            cpu = (struct cpu){.present = true};
        } else if (strcmp(key, "vendor_id") == 0) {
            snprintf(cpu.vendor, sizeof cpu.vendor, "%s", value);
        } else if (strcmp(key, "cpu family") == 0) {
            snprintf(cpu.family, sizeof cpu.family, "%s", value);
        } else if (strcmp(key, "model") == 0) {
            snprintf(cpu.model, sizeof cpu.model, "%s", value);
        } else if (strcmp(key, "model name") == 0) {
            snprintf(cpu.name, sizeof cpu.name, "%s", value);
        } else if (strcmp(key, "cpu MHz") == 0) {
            cpu.mhz = strtod(value, NULL);
        }
    }
    put_cpu(&host->json, &cpu, number);
    json_array_end(&host->json);
    if (file == NULL) {
        fail(host, "cpu");
    } else {
        fclose(file);
    }
}

/* ---- the host and its disk ---- */

static void read_line(const char *path, char *out, size_t size) {
    FILE *file = fopen(path, "re");
    out[0] = '\0';
    if (file != NULL) {
        if (fgets(out, (int)size, file) == NULL) {
            out[0] = '\0';
        }
        fclose(file);
    }
    out[strcspn(out, "\n")] = '\0';
}

/* A value of /etc/os-release, without its quotes. */
static const char *os_release(struct host *host, const char *key) {
    char line[256];
    size_t size = strlen(key);
    const char *value = "";
    FILE *file = fopen("/etc/os-release", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, size) == 0 && line[size] == '=') {
            const char *from = line + size + 1 + (line[size + 1] == '"');
            value = arena_strndup(host->req->arena, from, strcspn(from, "\"\n"));
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return value;
}

static void put_host(struct host *host) {
    struct json *json = &host->json;
    struct utsname uts;
    struct sysinfo info;
    char id[64];
    json_key(json, "Host");
    json_object_begin(json);
    if (uname(&uts) != 0 || sysinfo(&info) != 0) {
        fail(host, "host");
    } else {
        read_line("/proc/sys/kernel/random/boot_id", id, sizeof id);
        json_member_str(json, "hostname", uts.nodename);
        json_member_u64(json, "uptime", (uint64_t)info.uptime);
        json_member_u64(json, "bootTime", (uint64_t)(time(NULL) - info.uptime));
        json_member_u64(json, "procs", info.procs);
        json_member_str(json, "os", "linux");
        json_member_str(json, "platform", os_release(host, "ID"));
        json_member_str(json, "platformFamily", os_release(host, "ID"));
        json_member_str(json, "platformVersion", os_release(host, "VERSION_ID"));
        json_member_str(json, "kernelVersion", uts.release);
        json_member_str(json, "kernelArch", uts.machine);
        json_member_str(json, "virtualizationSystem", "");
        json_member_str(json, "virtualizationRole", "");
        json_member_str(json, "hostid", id);
    }
    json_object_end(json);
}

static void put_disk(struct host *host) {
    struct json *json = &host->json;
    const char *dir = host->req->backend->facts->data_dir;
    struct statvfs disk;
    json_key(json, "Disk");
    json_object_begin(json);
    if (*dir != '\0' && statvfs(dir, &disk) != 0) {
        fail(host, "disk");
    } else if (*dir != '\0') {
        uint64_t block = disk.f_frsize, used = (disk.f_blocks - disk.f_bfree) * block;
        json_member_str(json, "path", dir);
        json_member_str(json, "fstype", "");
        json_member_u64(json, "total", disk.f_blocks * block);
        json_member_u64(json, "free", disk.f_bavail * block);
        json_member_u64(json, "used", used);
        put_f64(json, "usedPercent", percent(used, used + disk.f_bavail * block));
        json_member_u64(json, "inodesTotal", disk.f_files);
        json_member_u64(json, "inodesUsed", disk.f_files - disk.f_ffree);
        json_member_u64(json, "inodesFree", disk.f_ffree);
        put_f64(json, "inodesUsedPercent", percent(disk.f_files - disk.f_ffree, disk.f_files));
    }
    json_object_end(json);
}

void handle_agent_host(const struct http_request *req, struct http_response *res) {
    struct host host = {.req = req};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    http_response_json(res, req, &host.json);
    json_object_begin(&host.json);
    put_memory(&host);
    put_cpus(&host);
    put_host(&host);
    put_disk(&host);
    json_member_u64(&host.json, "CollectionTime",
                    (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
    json_key(&host.json, "Errors");
    if (host.error_count == 0) {
        json_null(&host.json);
    } else {
        json_array_begin(&host.json);
        for (unsigned i = 0; i < host.error_count; i++) {
            json_str(&host.json, host.errors[i]);
        }
        json_array_end(&host.json);
    }
    json_object_end(&host.json);
    http_response_json_end(res, req);
}
