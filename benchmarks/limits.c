/* What the kernel allows in log capture, and the programs that are captured.   cc -O2 -o limits limits.c
     limits flood GO TOTAL LINE BLOCK      TOTAL bytes of numbered lines of LINE bytes, BLOCK bytes a write
     limits rate GO LINES_A_SECOND LINE SECONDS
     limits capture DIRECTORY COUNT -- PROGRAM...    runs COUNT copies, DIRECTORY/K.log each, 10 MB x 5
   The writers wait until the file GO exists. The capturer has nothing in it but what must be: pipes of 1 MiB, an
   epoll set that is looked at once in 8 ms, splice(2) from pipe to file, rotation by byte count. A pipe that gives
   much leaves epoll and is drained every 0.3 ms. It ends when every pipe is at its end. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROTATE_AT = 10000000, BACKUPS = 5, MOST = 4096, HEAT = 100, HOT_BYTES = 16384 };
extern char **environ;


static void await_go(const char *path) {
    while (access(path, F_OK)) usleep(2000);
}

/* ---- the writers */

static void put_number(char *at, unsigned long long value) {
    for (int k = 11; k >= 0; k--) { at[k] = '0' + value % 10; value /= 10; }
}

static char *lines(int length, int count) {
    char *block = malloc((size_t)length * count);
    memset(block, 'x', (size_t)length * count);
    for (int k = 0; k < count; k++) { block[k * length + 12] = ' '; block[(k + 1) * length - 1] = '\n'; }
    return block;
}

static void put(const char *data, size_t size) {
    while (size) {
        ssize_t done = write(1, data, size);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) exit(1);
        data += done;
        size -= done;
    }
}

static void flood(unsigned long long total, int length, int block) {
    int count = block / length > 0 ? block / length : 1;
    char *data = lines(length, count);
    for (unsigned long long line = 0; line < total / length; line += count) {
        for (int k = 0; k < count; k++) put_number(data + k * length, line + k);
        put(data, (size_t)count * length);
    }
}

static void rate(long per_second, int length, long seconds) {
    char *data = lines(length, 1);
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (long line = 0; line < per_second * seconds; line++) {
        put_number(data, line);
        put(data, length);
        next.tv_nsec += 1000000000L / per_second;
        if (next.tv_nsec >= 1000000000L) { next.tv_sec++; next.tv_nsec -= 1000000000L; }
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, 0);
    }
}

/* ---- the capturer */

typedef struct { char path[4000]; int pipe, file, heat; long long size; } Log;
static Log *logs;
static int hot[MOST], hot_count, open_count, cold;

static void open_log(Log *log) {
    log->file = open(log->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    log->size = lseek(log->file, 0, SEEK_END);
}

static void rotate(Log *log) {
    char from[4100], to[4100];
    close(log->file);
    for (int k = BACKUPS; k > 0; k--) {
        snprintf(to, sizeof to, "%s.%d", log->path, k);
        if (k > 1) snprintf(from, sizeof from, "%s.%d", log->path, k - 1);
        else snprintf(from, sizeof from, "%s", log->path);
        rename(from, to);
    }
    open_log(log);
}

static long drain(Log *log) { /* -1: end */
    long got = 0;
    for (int k = 0; k < 4; k++) {
        long long room = ROTATE_AT - log->size;
        ssize_t done = splice(log->pipe, 0, log->file, 0, room < 1 << 20 ? room : 1 << 20, SPLICE_F_NONBLOCK);
        if (!done) return got ? got : -1;
        if (done < 0) break;
        got += done;
        if ((log->size += done) >= ROTATE_AT) rotate(log);
        if (done < 65536) break;
    }
    return got;
}

static void watch(int k, int how) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = k};
    epoll_ctl(cold, how, logs[k].pipe, &event);
}

static void start(int k, const char *directory, char **program) {
    int ends[2];
    pid_t pid;
    posix_spawn_file_actions_t actions;
    if (pipe2(ends, O_CLOEXEC)) exit(1);
    fcntl(ends[0], F_SETPIPE_SZ, 1 << 20);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    if (posix_spawn(&pid, program[0], &actions, 0, program, environ)) exit(1);
    close(ends[1]);
    snprintf(logs[k].path, sizeof logs[k].path, "%s/%d.log", directory, k);
    logs[k].pipe = ends[0];
    open_log(&logs[k]);
    watch(k, EPOLL_CTL_ADD);
    open_count++;
}

static void end(int k) {
    close(logs[k].pipe);
    close(logs[k].file);
    open_count--;
}

static void drain_hot(void) {
    int left = 0;
    for (int k = 0; k < hot_count; k++) {
        Log *log = &logs[hot[k]];
        long got = drain(log);
        if (got < 0) { end(hot[k]); continue; }
        if (got) log->heat = HEAT;
        if (--log->heat) hot[left++] = hot[k];
        else watch(hot[k], EPOLL_CTL_ADD);
    }
    hot_count = left;
}

static void drain_cold(void) {
    struct epoll_event events[256];
    int count = epoll_wait(cold, events, 256, 0);
    for (int i = 0; i < count; i++) {
        int k = events[i].data.u32;
        long got = drain(&logs[k]);
        if (got >= HOT_BYTES || got < 0) watch(k, EPOLL_CTL_DEL);
        if (got >= HOT_BYTES) { logs[k].heat = HEAT; hot[hot_count++] = k; }
        if (got < 0) end(k);
    }
}

static void capture(const char *directory, int count, char **program) {
    struct epoll_event event;
    logs = calloc(count, sizeof *logs);
    cold = epoll_create1(EPOLL_CLOEXEC);
    for (int k = 0; k < count; k++) start(k, directory, program);
    while (open_count) {
        long tick = 300000;
        if (!hot_count) {
            epoll_wait(cold, &event, 1, -1);
            tick = 8000000;
        }
        struct timespec pause = {0, tick};
        nanosleep(&pause, 0);
        drain_hot();
        drain_cold();
    }
    while (wait(0) > 0) {}
}

int main(int count, char **word) {
    if (count < 5) return 2;
    if (!strcmp(word[1], "flood")) {
        await_go(word[2]);
        flood(strtoull(word[3], 0, 10), atoi(word[4]), atoi(word[5]));
    } else if (!strcmp(word[1], "rate")) {
        await_go(word[2]);
        rate(atol(word[3]), atoi(word[4]), atol(word[5]));
    } else {
        capture(word[2], atoi(word[3]), word + 5);
    }
    return 0;
}
