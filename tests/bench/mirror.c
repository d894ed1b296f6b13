/* What a mirror costs: 100,000 instances on 10,000 nodes, each with a check, told by a feed,
 * packed, and applied. Prints the mirror's memory, the bytes of the first state and of changes on
 * the wire beside the same rows as plain protobuf, and the time of both ends. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/squeeze.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/rand.h"
#include "catalog/mirror.h"

#define NODES 10000
#define PER_NODE 10
#define PART_BYTES (64 * 1024)

static struct epoch *epoch;
static struct catalog *source;
static struct mirror_feed *feed;
static struct mirror *mirror;
static uint64_t now_index;
static size_t raw_bytes, packed_bytes, parts;
static double made_s, applied_s, longest_apply_ms;

static double clock_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static size_t heap_bytes(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static struct catalog_check make_check(const char *node, const char *id, const char *service,
                                       const char *status, const char *output) {
    return (struct catalog_check){.node = node,
                                  .id = id,
                                  .name = "Service check",
                                  .status = status,
                                  .notes = "",
                                  .output = output,
                                  .service_id = service,
                                  .service_name = "",
                                  .type = "http",
                                  .interval = "10s",
                                  .timeout = "1s",
                                  .definition = ""};
}

/* instance below 0: the node with its own check. Returns the bytes of the check's row. */
static size_t write_rows(int n, int instance, const char *status, const char *output) {
    char node[64], id[128], name[64], address[64], check_id[160], node_id[64];
    struct str_pair meta[] = {{"version", "1.14.2"}, {"build", "20261124"}};
    const char *tags[] = {"primary", "v2"};
    snprintf(node, sizeof node, "host-%05d.region-a", n);
    snprintf(node_id, sizeof node_id, "%08x-0000-4000-8000-000000000000", (unsigned)n);
    snprintf(address, sizeof address, "10.%d.%d.%d", n >> 16, n >> 8 & 255, n & 255);
    snprintf(name, sizeof name, "service-%03d", (n * PER_NODE + instance) % 500);
    snprintf(id, sizeof id, "%s-%d", name, instance);
    snprintf(check_id, sizeof check_id, "service:%s", id);
    struct catalog_service service = {.node = node,
                                      .id = id,
                                      .name = name,
                                      .tags = {tags, 2},
                                      .address = "",
                                      .port = 8080,
                                      .socket_path = "",
                                      .meta = {meta, 2, true},
                                      .weight_passing = 1,
                                      .weight_warning = 1,
                                      .kind = "",
                                      .region = "",
                                      .zone = "",
                                      .proxy = "",
                                      .connect = ""};
    struct catalog_check check = instance < 0 ? make_check(node, "serfHealth", "", status, output)
                                              : make_check(node, check_id, id, status, output);
    struct catalog_command command = {.kind = COMMAND_REGISTER,
                                      .reg = {.node = {.id = node_id,
                                                       .name = node,
                                                       .address = address,
                                                       .meta = {meta, 1, true},
                                                       .region = "",
                                                       .zone = ""},
                                              .skip_node_update = instance >= 0,
                                              .service = instance >= 0 ? &service : NULL,
                                              .checks = &check,
                                              .check_count = 1}};
    struct buf out;
    struct err_text text;
    buf_init(&out, 1 << 20);
    codec_encode_command(&command, &out);
    ASSERT(catalog_apply(source, ++now_index, (uint8_t *)out.data, out.count, NULL, &text) ==
           ERR_OK);
    buf_reset(&out);
    check.service_name = instance >= 0 ? name : "";
    check.service_tags = (struct str_list){tags, instance >= 0 ? 2 : 0};
    check.create_index = check.modify_index = now_index;
    codec_encode_record(&(struct codec_record){.kind = RECORD_CHECK, .check = check}, &out);
    size_t bytes = out.count;
    buf_clear(&out);
    return bytes;
}

static void tell_all(void) {
    while (mirror_feed_has_news(feed, source)) {
        struct mirror_job job;
        size_t size = 0;
        double at = clock_s();
        mirror_feed_plan(feed, source, PART_BYTES, &job);
        epoch_enter(epoch);
        mirror_job_run(&job, catalog_view(source));
        epoch_exit(epoch);
        uint8_t *packed = squeeze(job.out.data, job.out.count, &size);
        made_s += clock_s() - at;
        mirror_feed_take(feed, &job);
        raw_bytes += job.out.count;
        packed_bytes += size + 60; /* with the head of the answer */
        parts++;
        at = clock_s();
        uint8_t *rows = malloc(job.out.count + 1);
        ASSERT(unsqueeze(packed, size, rows, job.out.count));
        ASSERT(mirror_apply(mirror, rows, job.out.count, job.whole ? job.index : 0) == ERR_OK);
        double ms = (clock_s() - at) * 1000;
        longest_apply_ms = ms > longest_apply_ms ? ms : longest_apply_ms;
        applied_s += ms / 1000;
        free(rows);
        free(packed);
        mirror_job_clear(&job);
    }
}

static void begin_count(void) {
    raw_bytes = packed_bytes = parts = 0;
    made_s = applied_s = longest_apply_ms = 0;
}

static void tell_changes(struct rand *rand, unsigned count, unsigned together) {
    size_t row_bytes = 0;
    begin_count();
    for (unsigned i = 0; i < count; i++) {
        int n = (int)rand_below(rand, NODES), instance = (int)rand_below(rand, PER_NODE);
        char output[128];
        snprintf(output, sizeof output, "HTTP GET http://10.0.%d.%d:8080/: 503 Output: busy %u",
                 n >> 8 & 255, n & 255, i);
        row_bytes += write_rows(n, instance, i % 2 == 0 ? "critical" : "passing", output);
        if ((i + 1) % together == 0) {
            catalog_publish(source);
            tell_all();
        }
    }
    printf("changes, %u together: %zu rows of %zu bytes, on the wire %zu bytes: %.2f times\n",
           together, (size_t)count, row_bytes, packed_bytes,
           (double)packed_bytes / (double)row_bytes);
}

int main(void) {
    struct rand rand;
    epoch = epoch_create();
    source = catalog_create(epoch, NULL);
    catalog_note_changes(source, LIMIT_CHANGES_BYTES);
    for (int n = 0; n < NODES; n++) {
        for (int i = -1; i < PER_NODE; i++) {
            write_rows(n, i, "passing", i < 0 ? "Agent alive and reachable" : "HTTP GET: 200 OK");
        }
        catalog_publish(source);
    }
    feed = mirror_feed_create(true);
    mirror = mirror_create(epoch, true);
    size_t before = heap_bytes();
    begin_count();
    tell_all();
    epoch_advance(epoch);
    size_t bytes = heap_bytes() - before;
    printf(
        "mirror of %zu instances: %.1f MiB of heap, %.0f bytes an instance (counted as %.1f MiB)\n",
        mirror_instances(mirror), (double)bytes / (1 << 20),
        (double)bytes / (double)mirror_instances(mirror), (double)mirror_bytes(mirror) / (1 << 20));
    printf("first state: %zu parts, %.1f MiB, packed %.1f MiB; made in %.2f s, applied in %.2f s, "
           "longest turn %.1f ms\n",
           parts, (double)raw_bytes / (1 << 20), (double)packed_bytes / (1 << 20), made_s,
           applied_s, longest_apply_ms);
    rand_init(&rand, 1);
    tell_changes(&rand, 2000, 1);
    tell_changes(&rand, 2000, 10);
    tell_changes(&rand, 20000, 100);
    printf("longest turn %.1f ms\n", longest_apply_ms);
    mirror_feed_destroy(feed);
    mirror_destroy(mirror);
    catalog_destroy(source);
    epoch_destroy(epoch);
    return 0;
}
