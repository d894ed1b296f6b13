/* A wide area network on one machine: joins network namespaces, a region each, by TUN devices, and
 * does to each packet what the link between two regions does to it.
 *
 *     wan_router [--seed N] NAME=NAMESPACE=PREFIX ...
 *     wan_router a=/var/run/netns/a=10.78.1.0/24 b=/var/run/netns/b=10.78.2.0/24
 *
 * makes the device "wan0" in each namespace, up, without address or routes, and prints "ready".
 * Then it takes commands on its input, a line each, and answers each with a line that begins with
 * "ok" or "error". The end of the input ends it, and with it the devices.
 *
 *     link FROM TO [delay_ms=N] [jitter_ms=N] [loss=PART] [rate_kbit=N] [queue_ms=N]
 *     cut FROM TO      nothing comes through, and what is on its way is lost
 *     heal FROM TO
 *     stats FROM TO    ok sent=N lost=N overrun=N cut=N bytes=N
 *
 * A link is an ordered pair, so both ways differ if they are told to; "*" stands for every region.
 * A packet waits for the line (rate_kbit; 0: no bound), then travels for delay_ms, and up to
 * jitter_ms longer. None overtakes another. One that would wait longer than queue_ms for the line
 * is dropped, as by a router whose buffer is full. loss is the share that is lost, 0 to 1, each
 * packet by itself. Only IPv4 passes, and what is for no other region is dropped.
 *
 * One thread, one read and one write a packet: some ten thousand packets a second on half a core.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REGIONS_MAX 8
#define QUEUE_PACKETS 16384 /* on their way on one link */
#define PACKET_BYTES_MAX 2048
#define LINE_BYTES_MAX 512
#define READS_A_TURN 64
#define QUEUE_MS_DEFAULT 200.0

struct packet {
    uint64_t due_us;
    uint8_t *data;
    uint32_t bytes;
};

struct link {
    double delay_ms, jitter_ms, loss, rate_kbit, queue_ms;
    bool cut;
    uint64_t line_free_us; /* when the line has sent all that waits for it */
    uint64_t last_due_us;
    struct packet *queue; /* a ring of QUEUE_PACKETS, by due_us */
    uint32_t first, count;
    uint64_t sent, lost, overrun, at_cut, bytes;
};

struct region {
    const char *name;
    int tun;
    uint32_t network, mask; /* host order */
};

static struct region regions[REGIONS_MAX];
static size_t region_count;
static struct link links[REGIONS_MAX][REGIONS_MAX];
static uint64_t random_state = 0x9e3779b97f4a7c15u;

static _Noreturn void fail(const char *what) {
    fprintf(stderr, "wan_router: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* 0 <= x < 1, by xorshift64*. */
static double random_part(void) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (double)((random_state * 0x2545f4914f6cdd1du) >> 11) * 0x1p-53;
}

/* ---- packets ---- */

static struct region *region_of(uint32_t address) {
    for (size_t i = 0; i < region_count; i++) {
        if ((address & regions[i].mask) == regions[i].network) {
            return &regions[i];
        }
    }
    return NULL;
}

static void link_clear(struct link *link) {
    for (; link->count > 0; link->count--) {
        free(link->queue[link->first].data);
        link->first = (link->first + 1) % QUEUE_PACKETS;
        link->at_cut++;
    }
    link->line_free_us = link->last_due_us = 0;
}

static void link_take(struct link *link, const uint8_t *data, size_t bytes, uint64_t now) {
    if (link->cut) {
        link->at_cut++;
        return;
    }
    if (link->loss > 0 && random_part() < link->loss) {
        link->lost++;
        return;
    }
    uint64_t leaves = now;
    if (link->rate_kbit > 0) {
        leaves = link->line_free_us > now ? link->line_free_us : now;
        if ((double)(leaves - now) > link->queue_ms * 1000) {
            link->overrun++;
            return;
        }
        leaves += (uint64_t)((double)bytes * 8000 / link->rate_kbit);
        link->line_free_us = leaves;
    }
    uint8_t *copy = link->count < QUEUE_PACKETS ? malloc(bytes) : NULL;
    if (copy == NULL) {
        link->overrun++;
        return;
    }
    memcpy(copy, data, bytes);
    uint64_t due = leaves + (uint64_t)((link->delay_ms + link->jitter_ms * random_part()) * 1000);
    link->last_due_us = due > link->last_due_us ? due : link->last_due_us;
    link->queue[(link->first + link->count) % QUEUE_PACKETS] =
        (struct packet){.due_us = link->last_due_us, .data = copy, .bytes = (uint32_t)bytes};
    link->count++;
}

/* What a region sends. */
static void region_read(size_t from, uint64_t now) {
    uint8_t data[PACKET_BYTES_MAX];
    for (int i = 0; i < READS_A_TURN; i++) {
        ssize_t bytes = read(regions[from].tun, data, sizeof data);
        if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (bytes < 0) {
            fail(regions[from].name);
        }
        if (bytes < 20 || data[0] >> 4 != 4) {
            continue;
        }
        uint32_t to_address;
        memcpy(&to_address, data + 16, sizeof to_address);
        struct region *to = region_of(ntohl(to_address));
        if (to != NULL && to != &regions[from]) {
            link_take(&links[from][to - regions], data, (size_t)bytes, now);
        }
    }
}

/* Hands over what is due. Returns when the next one is; UINT64_MAX: none. */
static uint64_t deliver(uint64_t now) {
    uint64_t next = UINT64_MAX;
    for (size_t from = 0; from < region_count; from++) {
        for (size_t to = 0; to < region_count; to++) {
            struct link *link = &links[from][to];
            while (link->count > 0 && link->queue[link->first].due_us <= now) {
                struct packet *packet = &link->queue[link->first];
                /* A full device drops it, as the real thing would. */
                if (write(regions[to].tun, packet->data, packet->bytes) == (ssize_t)packet->bytes) {
                    link->sent++;
                    link->bytes += packet->bytes;
                } else {
                    link->overrun++;
                }
                free(packet->data);
                link->first = (link->first + 1) % QUEUE_PACKETS;
                link->count--;
            }
            if (link->count > 0 && link->queue[link->first].due_us < next) {
                next = link->queue[link->first].due_us;
            }
        }
    }
    return next;
}

/* ---- commands ---- */

/* False: no such name or number, or one out of its bounds. */
static bool link_set(struct link *link, const char *word) {
    const struct {
        const char *name;
        double *value;
        double most;
    } settings[] = {{"delay_ms", &link->delay_ms, 60000},
                    {"jitter_ms", &link->jitter_ms, 60000},
                    {"loss", &link->loss, 1},
                    {"rate_kbit", &link->rate_kbit, 1e9},
                    {"queue_ms", &link->queue_ms, 60000}};
    const char *equals = strchr(word, '=');
    for (size_t i = 0; equals != NULL && i < sizeof settings / sizeof settings[0]; i++) {
        if (strlen(settings[i].name) == (size_t)(equals - word) &&
            strncmp(settings[i].name, word, (size_t)(equals - word)) == 0) {
            char *end;
            double value = strtod(equals + 1, &end);
            if (end == equals + 1 || *end != '\0' || !(value >= 0 && value <= settings[i].most)) {
                return false;
            }
            *settings[i].value = value;
            return true;
        }
    }
    return false;
}

static bool is_named(const char *word, const struct region *region) {
    return strcmp(word, "*") == 0 || strcmp(word, region->name) == 0;
}

/* Runs one command on one link. False: it is not one. */
static bool link_command(struct link *link, const char *verb, char **words, size_t count) {
    if (strcmp(verb, "link") == 0) {
        for (size_t i = 0; i < count; i++) {
            if (!link_set(link, words[i])) {
                return false;
            }
        }
        return true;
    }
    if (strcmp(verb, "cut") == 0 && count == 0) {
        link->cut = true;
        link_clear(link);
        return true;
    }
    if (strcmp(verb, "heal") == 0 && count == 0) {
        link->cut = false;
        return true;
    }
    return strcmp(verb, "stats") == 0 && count == 0;
}

static void run_command(char *line) {
    char *words[16];
    size_t count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(line, " \t", &rest); word != NULL && count < 16;
         word = strtok_r(NULL, " \t", &rest)) {
        words[count++] = word;
    }
    if (count < 3) {
        puts("error: a command is a verb, FROM and TO");
        return;
    }
    struct link sum = {0};
    size_t found = 0;
    for (size_t from = 0; from < region_count; from++) {
        for (size_t to = 0; to < region_count; to++) {
            if (from == to || !is_named(words[1], &regions[from]) ||
                !is_named(words[2], &regions[to])) {
                continue;
            }
            struct link *link = &links[from][to];
            if (!link_command(link, words[0], words + 3, count - 3)) {
                printf("error: not understood: %s\n", words[0]);
                return;
            }
            found++;
            sum.sent += link->sent;
            sum.lost += link->lost;
            sum.overrun += link->overrun;
            sum.at_cut += link->at_cut;
            sum.bytes += link->bytes;
        }
    }
    if (found == 0) {
        puts("error: no such link");
    } else if (strcmp(words[0], "stats") == 0) {
        printf("ok sent=%llu lost=%llu overrun=%llu cut=%llu bytes=%llu\n",
               (unsigned long long)sum.sent, (unsigned long long)sum.lost,
               (unsigned long long)sum.overrun, (unsigned long long)sum.at_cut,
               (unsigned long long)sum.bytes);
    } else {
        puts("ok");
    }
}

/* False: the input has ended. */
static bool read_commands(void) {
    static char line[LINE_BYTES_MAX];
    static size_t used;
    ssize_t bytes = read(STDIN_FILENO, line + used, sizeof line - 1 - used);
    if (bytes <= 0) {
        return bytes < 0 && errno == EINTR;
    }
    used += (size_t)bytes;
    char *end;
    while ((end = memchr(line, '\n', used)) != NULL) {
        *end = '\0';
        run_command(line);
        size_t taken = (size_t)(end + 1 - line);
        memmove(line, end + 1, used - taken);
        used -= taken;
    }
    if (used == sizeof line - 1) {
        puts("error: a line that is too long");
        used = 0;
    }
    fflush(stdout);
    return true;
}

/* ---- start ---- */

/* The device lives in the namespace, its other end here. */
static int tun_open(const char *namespace) {
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int there = open(namespace, O_RDONLY | O_CLOEXEC);
    if (home < 0 || there < 0 || setns(there, CLONE_NEWNET) != 0) {
        fail(namespace);
    }
    int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    memcpy(request.ifr_name, "wan0", sizeof "wan0");
    if (tun < 0 || ioctl(tun, TUNSETIFF, &request) != 0) {
        fail("/dev/net/tun");
    }
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    request.ifr_flags = IFF_UP;
    if (control < 0 || ioctl(control, SIOCSIFFLAGS, &request) != 0 ||
        setns(home, CLONE_NEWNET) != 0) {
        fail("wan0");
    }
    close(control);
    close(there);
    close(home);
    return tun;
}

static void region_open(char *argument) {
    char *namespace = strchr(argument, '=');
    char *prefix = namespace != NULL ? strchr(namespace + 1, '=') : NULL;
    char *bits = prefix != NULL ? strchr(prefix + 1, '/') : NULL;
    struct in_addr network;
    if (bits == NULL || region_count == REGIONS_MAX) {
        errno = EINVAL;
        fail(argument);
    }
    *namespace = *prefix = *bits = '\0';
    long length = strtol(bits + 1, NULL, 10);
    if (inet_pton(AF_INET, prefix + 1, &network) != 1 || length < 1 || length > 32) {
        errno = EINVAL;
        fail(prefix + 1);
    }
    struct region *region = &regions[region_count++];
    region->name = argument;
    region->mask = (uint32_t)(0xffffffffu << (32 - length));
    region->network = ntohl(network.s_addr) & region->mask;
    region->tun = tun_open(namespace + 1);
}

static void links_create(void) {
    for (size_t from = 0; from < region_count; from++) {
        for (size_t to = 0; to < region_count; to++) {
            links[from][to].queue_ms = QUEUE_MS_DEFAULT;
            links[from][to].queue = calloc(QUEUE_PACKETS, sizeof(struct packet));
            if (links[from][to].queue == NULL) {
                fail("memory");
            }
        }
    }
}

static void run(void) {
    struct pollfd polls[REGIONS_MAX + 1];
    for (;;) {
        uint64_t now = now_us();
        uint64_t next = deliver(now);
        uint64_t wait_us = next > now ? next - now : 0;
        struct timespec timeout = {.tv_sec = (time_t)(wait_us / 1000000),
                                   .tv_nsec = (long)(wait_us % 1000000) * 1000};
        for (size_t i = 0; i <= region_count; i++) {
            polls[i] = (struct pollfd){.fd = i < region_count ? regions[i].tun : STDIN_FILENO,
                                       .events = POLLIN};
        }
        if (ppoll(polls, region_count + 1, next == UINT64_MAX ? NULL : &timeout, NULL) < 0) {
            if (errno != EINTR) {
                fail("poll");
            }
            continue;
        }
        now = now_us();
        for (size_t i = 0; i < region_count; i++) {
            if (polls[i].revents != 0) {
                region_read(i, now);
            }
        }
        if (polls[region_count].revents != 0 && !read_commands()) {
            return;
        }
    }
}

int main(int count, char **arguments) {
    int i = 1;
    if (count > 2 && strcmp(arguments[1], "--seed") == 0) {
        random_state ^= strtoull(arguments[2], NULL, 10);
        i = 3;
    }
    for (; i < count; i++) {
        region_open(arguments[i]);
    }
    if (region_count < 2) {
        fprintf(stderr, "usage: wan_router [--seed N] NAME=NAMESPACE=PREFIX ...\n");
        return 2;
    }
    links_create();
    puts("ready");
    fflush(stdout);
    run();
    for (size_t from = 0; from < region_count; from++) {
        for (size_t to = 0; to < region_count; to++) {
            link_clear(&links[from][to]);
            free(links[from][to].queue);
        }
    }
    return 0;
}
