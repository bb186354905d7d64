/* The yard stick: a supervisor with nothing in it but what must be, so what the kernel allows.   limit TABLE [once]
   A line of TABLE is a program: words separated by tabs, first its log ("-": none), then its command line.
   posix_spawn, pidfds in epoll, a dead child is started again at once; splice(2) from pipe to file, rotation by byte
   count (10 MB x 5). Pipes of 1 MiB sit in an epoll set of their own that is looked at once in 8 ms, so that a
   writer of short lines fills whole pages; one that gives much leaves epoll and is drained every 0.3 ms.
   HUP: start what is new in TABLE. TERM: TERM to all children, wait for them, end. once: what has ended stays so, and
   with the last one it ends itself. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROTATE_AT = 10000000, BACKUPS = 5, MOST = 8192, WORDS = 16, HEAT = 100, HOT_BYTES = 16384, BATCH = 256 };
enum { PIPES = MOST, SIGNALS };
static const long QUIET_TICK = 8000000, HOT_TICK = 300000;

typedef struct {
    char *log, **argv;
    int pid, pidfd, pipe, write_end, file, heat;
    long long size;
} Program;

extern char **environ;
static Program programs[MOST];
static int count, living, stopping, once, everything, pipes, hot[MOST], hot_count;

static void watch(int set, int how, int fd, unsigned events, int tag) {
    struct epoll_event event = {.events = events, .data.u32 = tag};
    epoll_ctl(set, how, fd, &event);
}

static void start(int k) {
    Program *program = &programs[k];
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
    posix_spawnattr_setsigmask(&attributes, &none);
    if (program->log) {
        posix_spawn_file_actions_adddup2(&actions, program->write_end, 1);
        posix_spawn_file_actions_adddup2(&actions, program->write_end, 2);
    }
    if (posix_spawn(&program->pid, program->argv[0], &actions, &attributes, program->argv, environ)) exit(3);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    program->pidfd = syscall(SYS_pidfd_open, program->pid, 0);
    watch(everything, EPOLL_CTL_ADD, program->pidfd, EPOLLIN, k);
    if (once && program->log) close(program->write_end);
    living++;
}

static void open_log(Program *program) {
    program->file = open(program->log, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    program->size = lseek(program->file, 0, SEEK_END);
}

static void add(char *line) {
    Program *program = &programs[count];
    char *rest = strdup(line), *log = strsep(&rest, "\t");
    program->argv = calloc(WORDS + 1, sizeof *program->argv);
    for (int k = 0; k < WORDS && rest; k++) program->argv[k] = strsep(&rest, "\t");
    if (strcmp(log, "-")) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC)) exit(4);
        program->log = log, program->pipe = ends[0], program->write_end = ends[1];
        fcntl(ends[0], F_SETPIPE_SZ, 1 << 20);
        fcntl(ends[0], F_SETFL, O_NONBLOCK);
        open_log(program);
        watch(pipes, EPOLL_CTL_ADD, ends[0], EPOLLIN, count);
    }
    start(count++);
}

static void read_table(const char *path) {
    FILE *table = fopen(path, "r");
    char *line = 0;
    size_t room = 0;
    for (int row = 0; getline(&line, &room, table) > 0; row++) {
        line[strcspn(line, "\n")] = 0;
        if (row >= count && count < MOST) add(line);
    }
    fclose(table);
    free(line);
}

static void rotate(Program *program) {
    char from[4096], to[4096];
    close(program->file);
    for (int k = BACKUPS; k > 0; k--) {
        snprintf(to, sizeof to, "%s.%d", program->log, k);
        if (k > 1) snprintf(from, sizeof from, "%s.%d", program->log, k - 1);
        else snprintf(from, sizeof from, "%s", program->log);
        rename(from, to);
    }
    open_log(program);
}

static long drain(Program *program) {
    long got = 0;
    for (int k = 0; k < 4; k++) {
        long long room = ROTATE_AT - program->size;
        ssize_t done = splice(program->pipe, 0, program->file, 0, room < 1 << 20 ? room : 1 << 20,
                              SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        if (done <= 0) break;
        got += done;
        if ((program->size += done) >= ROTATE_AT) rotate(program);
        if (done < 65536) break;
    }
    return got;
}

static void drain_hot(void) {
    int left = 0;
    for (int k = 0; k < hot_count; k++) {
        Program *program = &programs[hot[k]];
        if (drain(program)) program->heat = HEAT;
        if (--program->heat) hot[left++] = hot[k];
        else watch(pipes, EPOLL_CTL_ADD, program->pipe, EPOLLIN, hot[k]);
    }
    hot_count = left;
}

static void drain_quiet(void) {
    struct epoll_event events[BATCH];
    int ready = epoll_wait(pipes, events, BATCH, 0);
    for (int k = 0; k < ready; k++) {
        Program *program = &programs[events[k].data.u32];
        if (drain(program) < HOT_BYTES) continue;
        program->heat = HEAT;
        hot[hot_count++] = events[k].data.u32;
        watch(pipes, EPOLL_CTL_DEL, program->pipe, 0, 0);
    }
}

static void take_signal(int signals, const char *table) {
    struct signalfd_siginfo got;
    if (read(signals, &got, sizeof got) < 0) return;
    if (got.ssi_signo == SIGHUP) { read_table(table); return; }
    stopping = 1;
    for (int k = 0; k < count; k++) if (programs[k].pid) kill(programs[k].pid, SIGTERM);
}

static void reap(int k) {
    Program *program = &programs[k];
    waitpid(program->pid, 0, 0);
    watch(everything, EPOLL_CTL_DEL, program->pidfd, 0, 0); /* a child between vfork and exec may hold a copy */
    close(program->pidfd);
    program->pid = 0;
    living--;
    if (!stopping && !once) start(k);
}

static long long now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static int wait_until(long long due, struct epoll_event *events) { /* 0: for ever */
    if (!due) return epoll_wait(everything, events, BATCH, -1);
    long long left = due - now();
    struct timespec pause = {0, left > 0 ? left : 0};
    return epoll_pwait2(everything, events, BATCH, &pause, 0);
}

static long long tick(void) { /* when the next one is due */
    drain_hot();
    drain_quiet();
    if (hot_count) return now() + HOT_TICK;
    watch(everything, EPOLL_CTL_MOD, pipes, EPOLLIN, PIPES);
    return 0;
}

int main(int words, char **word) {
    struct rlimit files;
    struct epoll_event events[BATCH];
    sigset_t handled;
    long long due = 0;
    if (words < 2) return 2;
    once = words > 2;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    everything = epoll_create1(EPOLL_CLOEXEC), pipes = epoll_create1(EPOLL_CLOEXEC);
    watch(everything, EPOLL_CTL_ADD, pipes, EPOLLIN, PIPES);
    sigemptyset(&handled), sigaddset(&handled, SIGTERM), sigaddset(&handled, SIGHUP);
    sigprocmask(SIG_BLOCK, &handled, 0);
    int signals = signalfd(-1, &handled, SFD_CLOEXEC);
    watch(everything, EPOLL_CTL_ADD, signals, EPOLLIN, SIGNALS);
    read_table(word[1]);
    while (living || !(stopping || once)) {
        int ready = wait_until(due, events);
        for (int k = 0; k < ready; k++) {
            unsigned tag = events[k].data.u32;
            if (tag == SIGNALS) take_signal(signals, word[1]);
            else if (tag != PIPES) reap(tag);
            else {
                due = now() + QUIET_TICK;
                watch(everything, EPOLL_CTL_MOD, pipes, 0, PIPES);
            }
        }
        if (due && now() >= due) due = tick();
    }
    return 0;
}
