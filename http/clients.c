#include <string.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "http/server.h"

#define BUCKETS 256

struct client {
    struct client *next;
    struct in6_addr ip; /* IPv4 as mapped */
    int64_t connections;
};

struct http_clients {
    pthread_mutex_t mutex; /* held for a list walk, at connect and close only */
    int64_t limit;
    struct client *buckets[BUCKETS];
};

struct http_clients *http_clients_create(int64_t limit) {
    struct http_clients *clients = mem_calloc(1, sizeof *clients);
    pthread_mutex_init(&clients->mutex, NULL);
    clients->limit = limit;
    return clients;
}

void http_clients_set_limit(struct http_clients *clients, int64_t limit) {
    pthread_mutex_lock(&clients->mutex);
    clients->limit = limit;
    pthread_mutex_unlock(&clients->mutex);
}

void http_clients_destroy(struct http_clients *clients) {
    if (clients == NULL) {
        return;
    }
    for (int i = 0; i < BUCKETS; i++) {
        while (clients->buckets[i] != NULL) {
            struct client *client = clients->buckets[i];
            clients->buckets[i] = client->next;
            free(client);
        }
    }
    pthread_mutex_destroy(&clients->mutex);
    free(clients);
}

static struct in6_addr ip_of(const struct sockaddr *address) {
    struct in6_addr ip;
    memset(&ip, 0, sizeof ip);
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        ip = v6.sin6_addr;
    } else if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        ip.s6_addr[10] = ip.s6_addr[11] = 0xff;
        memcpy(ip.s6_addr + 12, &v4.sin_addr, 4);
    }
    return ip;
}

static struct client **find(struct http_clients *clients, const struct in6_addr *ip) {
    struct client **at = &clients->buckets[hash_bytes(1, ip, sizeof *ip) % BUCKETS];
    while (*at != NULL && memcmp(&(*at)->ip, ip, sizeof *ip) != 0) {
        at = &(*at)->next;
    }
    return at;
}

bool http_clients_opened(struct http_clients *clients, const struct sockaddr *address) {
    if (address->sa_family == AF_UNIX) {
        return true;
    }
    struct in6_addr ip = ip_of(address);
    pthread_mutex_lock(&clients->mutex);
    struct client **at = find(clients, &ip);
    if (*at == NULL) {
        *at = mem_calloc(1, sizeof **at);
        (*at)->ip = ip;
    }
    bool within = ++(*at)->connections <= clients->limit || clients->limit <= 0;
    pthread_mutex_unlock(&clients->mutex);
    return within;
}

void http_clients_closed(struct http_clients *clients, const struct sockaddr *address) {
    if (address->sa_family == AF_UNIX) {
        return;
    }
    struct in6_addr ip = ip_of(address);
    pthread_mutex_lock(&clients->mutex);
    struct client **at = find(clients, &ip);
    struct client *client = *at;
    if (client != NULL && --client->connections == 0) {
        *at = client->next;
        free(client);
    }
    pthread_mutex_unlock(&clients->mutex);
}
