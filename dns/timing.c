/* How long answers take and how many there are, by type (contract 5.2). */
#include "dns/server_internal.h"

static const struct {
    uint16_t type;
    const char *name;
} types[DNS_TIMED_TYPES] = {
    {1, "A"},    {2, "NS"},    {5, "CNAME"}, {6, "SOA"},   {12, "PTR"},  {15, "MX"},
    {16, "TXT"}, {28, "AAAA"}, {33, "SRV"},  {255, "ANY"}, {0, "other"},
};

void dns_timings_init(struct dns_timings *timings, struct metrics *metrics, const char *node_name) {
    static const char help_query[] = "Answering a DNS question, by its type.";
    static const char help_domain[] = "Answering a DNS question in our domain.";
    static const char help_ptr[] = "Answering a reverse lookup.";
    struct str_pair labels[] = {{"node", node_name}, {"type", ""}};
    metrics_add(metrics, METRIC_SAMPLE, "dns.query", help_query, NULL, 0);
    metrics_add(metrics, METRIC_SAMPLE, "dns.domain_query", help_domain, NULL, 0);
    metrics_add(metrics, METRIC_SAMPLE, "dns.ptr_query", help_ptr, NULL, 0);
    metrics_add(metrics, METRIC_COUNTER, "dns.stale_queries",
                "Questions answered from a catalog that is more than 5 s behind.", NULL, 0);
    for (unsigned i = 0; i < DNS_TIMED_TYPES; i++) {
        labels[1].value = types[i].name;
        timings->types[i] = metrics_add(metrics, METRIC_SAMPLE, "dns.query", help_query, labels, 2);
    }
    timings->domain =
        metrics_add(metrics, METRIC_SAMPLE, "dns.domain_query", help_domain, labels, 1);
    timings->ptr = metrics_add(metrics, METRIC_SAMPLE, "dns.ptr_query", help_ptr, labels, 1);
}

void dns_timings_note(const struct dns_timings *timings, const struct dns_asked *asked, double ms) {
    unsigned at = 0;
    if (!asked->parsed) {
        return;
    }
    while (at + 1 < DNS_TIMED_TYPES && types[at].type != asked->type) {
        at++;
    }
    metric_sample(timings->types[at], ms);
    metric_sample(asked->reverse ? timings->ptr : timings->domain, ms);
}
