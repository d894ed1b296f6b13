/* One HTTP thread's answers, by question. An entry holds as long as the index of what it watches
 * has not moved since: one number to compare, no invalidation traffic. Slots are a fixed table; a
 * new answer takes the place of an older one in its slot, and the bytes held are capped. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "http/server.h"

#define SLOTS 1024

struct entry {
    uint64_t hash;
    uint64_t view_version; /* last view the entry was right for */
    uint64_t watch_index;
    enum watch_kind kind;
    uint64_t leadership;
    struct http_answer *answer; /* NULL: free slot */
    char *question;             /* and, behind it, the watched name */
    const char *name;
};

struct http_cache {
    size_t bytes;
    size_t sweep; /* where the next eviction looks */
    struct entry slots[SLOTS];
};

struct http_cache *http_cache_get(struct http_server *server) {
    struct http_cache *cache = pthread_getspecific(server->cache_key);
    if (cache == NULL) {
        cache = mem_calloc(1, sizeof *cache);
        pthread_setspecific(server->cache_key, cache);
    }
    return cache;
}

static void clear_entry(struct http_cache *cache, struct entry *entry) {
    if (entry->answer != NULL) {
        cache->bytes -= entry->answer->body_size;
        http_answer_drop(entry->answer);
        free(entry->question);
        *entry = (struct entry){0};
    }
}

void http_cache_destroy(void *pointer) {
    struct http_cache *cache = pointer;
    for (size_t i = 0; i < SLOTS; i++) {
        clear_entry(cache, &cache->slots[i]);
    }
    free(cache);
}

struct http_answer *http_cache_find(struct http_cache *cache, const char *question,
                                    const struct catalog_view *view, uint64_t leadership) {
    uint64_t hash = hash_bytes(0, question, strlen(question));
    struct entry *entry = &cache->slots[hash % SLOTS];
    if (entry->answer == NULL || entry->hash != hash || entry->leadership != leadership ||
        strcmp(entry->question, question) != 0) {
        return NULL;
    }
    if (entry->view_version != view_version(view)) {
        if (http_watch_index(view, entry->kind, entry->name) != entry->watch_index) {
            clear_entry(cache, entry);
            return NULL;
        }
        entry->view_version = view_version(view);
    }
    return entry->answer;
}

void http_cache_put(struct http_cache *cache, const char *question, enum watch_kind kind,
                    const char *name, const struct catalog_view *view, uint64_t leadership,
                    struct http_answer *answer) {
    if (answer->body_size > LIMIT_HTTP_CACHE_ANSWER_BYTES) {
        return;
    }
    size_t question_size = strlen(question) + 1, name_size = strlen(name) + 1;
    uint64_t hash = hash_bytes(0, question, question_size - 1);
    struct entry *entry = &cache->slots[hash % SLOTS];
    clear_entry(cache, entry);
    while (cache->bytes + answer->body_size > LIMIT_HTTP_CACHE_BYTES) {
        clear_entry(cache, &cache->slots[cache->sweep++ % SLOTS]);
    }
    char *text = mem_alloc(question_size + name_size);
    memcpy(text, question, question_size);
    *entry = (struct entry){
        .hash = hash,
        .view_version = view_version(view),
        .watch_index = http_watch_index(view, kind, name),
        .kind = kind,
        .leadership = leadership,
        .answer = http_answer_share(answer),
        .question = text,
        .name = memcpy(text + question_size, name, name_size),
    };
    cache->bytes += answer->body_size;
}
