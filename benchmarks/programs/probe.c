/* The measured child: static, no shell, so that a start costs what the kernel charges and nothing else.
     probe MODE EVENTS NAME ...      or packed in one word for #! lines:  probe @MODE,EVENTS,NAME,...
   Every mode first appends one line to the file EVENTS:  NAME PID MONOTONIC_NS KIND
     mark  EVENTS NAME                            then waits for ever
     flood EVENTS NAME TOTAL LINE BLOCK           waits for the file EVENTS.go, then writes TOTAL bytes of numbered
                                                  lines, BLOCK bytes a write
     rate  EVENTS NAME PER_SECOND LINE COUNTERS   numbered lines; COUNTERS/NAME.PID holds how many were written
   A line of output is  NAME PID 000000000042 xxx...  */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { WORDS = 16, SECOND = 1000000000 };
static const char *name;
static int events, number_at;

static void tell(const char *kind) {
    char line[256];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int size = snprintf(line, sizeof line, "%s %d %lld %s\n", name, getpid(),
                        now.tv_sec * (long long)SECOND + now.tv_nsec, kind);
    if (write(events, line, size) != size) _exit(97);
}

static void put_number(char *at, unsigned long long value) {
    for (int k = 11; k >= 0; k--) { at[k] = '0' + value % 10; value /= 10; }
}

static char *lines(int length, int count) {
    char *block = malloc((size_t)length * count), head[200];
    number_at = snprintf(head, sizeof head, "%s %d ", name, getpid());
    memset(block, 'x', (size_t)length * count);
    for (int k = 0; k < count; k++) {
        memcpy(block + k * length, head, number_at);
        block[k * length + number_at + 12] = ' ';
        block[(k + 1) * length - 1] = '\n';
    }
    return block;
}

static int put(const char *data, size_t size) {
    while (size) {
        ssize_t done = write(1, data, size);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return 0;
        data += done;
        size -= done;
    }
    return 1;
}

static void await_go(const char *path) {
    char go[512];
    snprintf(go, sizeof go, "%s.go", path);
    while (access(go, F_OK)) usleep(2000);
}

static void flood(unsigned long long total, int length, int block) {
    int count = block / length > 0 ? block / length : 1;
    char *data = lines(length, count);
    for (unsigned long long line = 0, all = total / length; line < all; line += count) {
        if (all - line < (unsigned long long)count) count = all - line;
        for (int k = 0; k < count; k++) put_number(data + k * length + number_at, line + k);
        if (!put(data, (size_t)count * length)) { tell("broken"); return; }
    }
    tell("done");
}

static void rate(long per_second, int length, const char *directory) {
    char path[512], *data = lines(length, 1);
    snprintf(path, sizeof path, "%s/%s.%d", directory, name, getpid());
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0 || ftruncate(file, 8)) _exit(94);
    volatile unsigned long long *written = mmap(0, 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (;;) {
        put_number(data + number_at, *written);
        if (!put(data, length)) { tell("broken"); return; }
        ++*written;
        next.tv_nsec += SECOND / per_second;
        if (next.tv_nsec >= SECOND) { next.tv_sec++; next.tv_nsec -= SECOND; }
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, 0);
    }
}

int main(int count, char **argument) {
    char *word[WORDS + 1] = {0};
    int words = 0;
    if (count > 1 && argument[1][0] == '@') {
        char *rest = strdup(argument[1] + 1);
        while (words < WORDS && (word[words] = strsep(&rest, ","))) words++;
    } else {
        for (int k = 1; k < count && words < WORDS; k++) word[words++] = argument[k];
    }
    if (words < 3) return 96;
    name = word[2];
    events = open(word[1], O_WRONLY | O_APPEND | O_CLOEXEC);
    if (events < 0) return 95;
    tell("start");
    if (!strcmp(word[0], "flood")) {
        await_go(word[1]);
        flood(strtoull(word[3], 0, 10), atoi(word[4]), atoi(word[5]));
    }
    if (!strcmp(word[0], "rate")) rate(atol(word[3]), atoi(word[4]), word[5]);
    for (;;) pause();
}
