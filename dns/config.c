#include "dns/config.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/pack.h"
#include "dns/internal.h"

/* Our own name works beside the field's. */
#define DOMAIN_OF_OURS "cairn."

struct dns_config dns_config_default(void) {
    return (struct dns_config){
        .domain = "consul.",
        .alt_domain = "",
        .datacenter = "",
        .node_name = "",
        .udp_answer_limit = 3,
        .soa = {.refresh_s = 3600, .retry_s = 600, .expire_s = 86400, .min_ttl_s = 0},
        .enable_additional_node_meta_txt = true,
        .allow_stale = true,
        .recursor_timeout_ms = 2000,
    };
}

static bool is_prefix(const struct dns_service_ttl *ttl) {
    size_t bytes = strlen(ttl->name);
    return bytes > 0 && ttl->name[bytes - 1] == '*';
}

static int order_ttls(const void *a, const void *b) {
    const struct dns_service_ttl *left = a;
    const struct dns_service_ttl *right = b;
    int by_kind = (int)is_prefix(left) - (int)is_prefix(right);
    return by_kind != 0 ? by_kind : strcmp(left->name, right->name);
}

/* First run: packer without a block, which tells the size. */
static struct dns_snapshot *pack(struct packer *packer, const struct dns_config *config) {
    struct dns_snapshot empty;
    memset(&empty, 0, sizeof empty);
    struct dns_snapshot *snapshot = pack_bytes(packer, &empty, sizeof empty, sizeof(void *));
    struct dns_config copy = *config;
    pack_str(packer, &copy.domain);
    pack_str(packer, &copy.alt_domain);
    pack_str(packer, &copy.datacenter);
    pack_str(packer, &copy.node_name);
    uint32_t count = config->service_ttl_count;
    struct dns_service_ttl *ttls =
        pack_bytes(packer, config->service_ttls, count * sizeof *ttls, sizeof(void *));
    for (uint32_t i = 0; i < count; i++) {
        const char *name = config->service_ttls[i].name;
        pack_str(packer, &name);
        if (ttls != NULL) {
            ttls[i].name = name;
        }
    }
    copy.recursors = pack_bytes(packer, config->recursors,
                                config->recursor_count * sizeof *copy.recursors, sizeof(void *));
    if (snapshot != NULL) {
        copy.service_ttls = ttls;
        snapshot->config = copy;
        snapshot->ttls = ttls;
    }
    return snapshot;
}

static bool add_domain(struct dns_snapshot *snapshot, const char *text) {
    uint8_t wire[DNS_NAME_BYTES];
    size_t bytes = dns_name_from_text(text, wire);
    if (bytes == 0) {
        return false;
    }
    struct dns_domain *domain = &snapshot->domains[snapshot->domain_count++];
    dns_name_lower(domain->name, wire, bytes);
    domain->bytes = (uint8_t)bytes;
    for (const uint8_t *at = domain->name; *at != 0; at += 1u + *at) {
        domain->labels++;
    }
    return true;
}

struct dns_snapshot *dns_snapshot_create(const struct dns_config *config, struct err_text *text) {
    struct packer packer = {0};
    pack(&packer, config);
    packer.block = mem_alloc(packer.used);
    packer.used = 0;
    struct dns_snapshot *snapshot = pack(&packer, config);
    if (config->service_ttl_count > 0) {
        qsort(snapshot->ttls, config->service_ttl_count, sizeof *snapshot->ttls, order_ttls);
    }
    while (snapshot->exact_ttl_count < config->service_ttl_count &&
           !is_prefix(&snapshot->ttls[snapshot->exact_ttl_count])) {
        snapshot->exact_ttl_count++;
    }
    const char *alt = config->alt_domain;
    const char *wrong = NULL;
    if (!add_domain(snapshot, config->domain)) {
        wrong = config->domain;
    } else if (alt[0] != '\0' && !add_domain(snapshot, alt)) {
        wrong = alt;
    }
    size_t dc_bytes = strlen(config->datacenter);
    if (wrong == NULL && dc_bytes > DNS_LABEL_BYTES) {
        wrong = config->datacenter;
    }
    if (wrong != NULL) {
        err_set(text, ERR_INVALID, "dns: not a DNS name: \"%s\"", wrong);
        free(snapshot);
        return NULL;
    }
    add_domain(snapshot, DOMAIN_OF_OURS);
    snapshot->dc[0] = (uint8_t)dc_bytes;
    memcpy(snapshot->dc + 1, snapshot->config.datacenter, dc_bytes);
    return snapshot;
}

bool dns_snapshot_needs_leader(const struct dns_snapshot *snapshot) {
    return !snapshot->config.allow_stale;
}

const struct dns_config *dns_snapshot_config(const struct dns_snapshot *snapshot) {
    return &snapshot->config;
}
