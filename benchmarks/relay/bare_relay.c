/* The limit: copies frames between two TAP devices and does nothing else. With a delay it holds
   each frame so long; it loses nothing and logs nothing.

       bare_relay TAP_FD TAP_FD [DELAY_NS]      ends when its standard input does */

#define _GNU_SOURCE
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { FRAME = 2048, SLOTS = 1 << 16, AT_ONCE = 64, SPIN_NS = 100000 };

struct slot { int64_t due_ns; int size; char frame[FRAME]; };
struct lane { int source, sink; uint32_t in, out; struct slot *slots; };

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void copy(struct lane *lane) {
    static char frame[FRAME];
    ssize_t size;
    for (int i = 0; i < AT_ONCE && (size = read(lane->source, frame, FRAME)) > 0; i++)
        if (write(lane->sink, frame, size) < 0) return; /* the device is down */
}

static void hold(struct lane *lane, int64_t delay_ns) {
    for (int i = 0; i < AT_ONCE && lane->in - lane->out < SLOTS; i++) {
        struct slot *slot = &lane->slots[lane->in % SLOTS];
        if ((slot->size = read(lane->source, slot->frame, FRAME)) <= 0) return;
        slot->due_ns = now_ns() + delay_ns;
        lane->in++;
    }
}

/* Writes what is due; returns when the next one is. */
static int64_t release(struct lane *lane) {
    for (; lane->in != lane->out; lane->out++) {
        struct slot *slot = &lane->slots[lane->out % SLOTS];
        if (slot->due_ns > now_ns()) return slot->due_ns;
        if (write(lane->sink, slot->frame, slot->size) < 0) continue;
    }
    return INT64_MAX;
}

int main(int count, char **words) {
    if (count < 3) return 2;
    int64_t delay_ns = count > 3 ? atoll(words[3]) : 0;
    int fds[2] = {atoi(words[1]), atoi(words[2])};
    struct lane lanes[2] = {{fds[0], fds[1], 0, 0, 0}, {fds[1], fds[0], 0, 0, 0}};
    struct pollfd watched[3] = {{fds[0], POLLIN, 0}, {fds[1], POLLIN, 0}, {0, POLLIN, 0}};
    prctl(PR_SET_TIMERSLACK, 1ul, 0, 0, 0);
    for (int i = 0; i < 2; i++)
        if (delay_ns && !(lanes[i].slots = malloc(SLOTS * sizeof(struct slot)))) return 1;
    for (int64_t next_ns = INT64_MAX;;) {
        int64_t wait_ns = next_ns == INT64_MAX ? 1000000000 : next_ns - SPIN_NS - now_ns();
        if (wait_ns < 0) wait_ns = 0;
        struct timespec wait = {wait_ns / 1000000000, wait_ns % 1000000000};
        ppoll(watched, 3, &wait, NULL);
        if (watched[2].revents) return 0;
        for (int i = 0; i < 2; i++)
            if (watched[i].revents) delay_ns ? hold(&lanes[i], delay_ns) : copy(&lanes[i]);
        next_ns = INT64_MAX;
        for (int i = 0; i < 2 && delay_ns; i++) {
            int64_t due_ns = release(&lanes[i]);
            if (due_ns < next_ns) next_ns = due_ns;
        }
    }
}
