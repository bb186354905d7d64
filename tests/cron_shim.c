/* Preloaded into a real cron: its clock stands still but for its sleeps, which return at once, and a job is not run
 * but noted: "<seconds since the epoch> <command>". Ends the daemon when SIMULATED_END is reached. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long now, end;
static int is_job, notes = -1;

__attribute__((constructor)) static void begin(void)
{
    now = atol(getenv("SIMULATED_START"));
    end = atol(getenv("SIMULATED_END"));
    notes = open(getenv("SIMULATED_NOTES"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (notes < 0)
        abort();
    notes = fcntl(notes, F_DUPFD_CLOEXEC, 200); /* out of the way of dup2 and close in the child */
}

time_t time(time_t *result)
{
    if (result)
        *result = now;
    return now;
}

/* After a gap in local time cron rests for ten seconds after each skipped minute that had jobs: with many schedules
 * that spreads them over minutes. Left out, since it says nothing about a schedule by itself. */
unsigned int sleep(unsigned int seconds)
{
    now += seconds == 10 ? 0 : seconds;
    if (now >= end)
        _exit(0);
    return 0;
}

/* cron forks twice for a job: for the process that waits, and for the job. Here the first one is the job. */
pid_t fork(void)
{
    if (is_job)
        return 0;
    pid_t (*real)(void) = (pid_t (*)(void))dlsym(RTLD_NEXT, "fork");
    pid_t child = real();
    if (child == 0)
        is_job = 1;
    else if (child > 0)
        waitpid(child, NULL, 0); /* or cron's own SIGCHLD handler has seen it end */
    return child;
}

int execle(const char *path, const char *first, ...)
{
    va_list words;
    const char *word, *command = first;
    (void)path;
    va_start(words, first);
    while ((word = va_arg(words, const char *)))
        command = word;
    va_end(words);
    dprintf(notes, "%ld %s\n", now, command);
    _exit(0);
}

/* Sessions and logs of half a million jobs are nobody's business. */
int pam_start(const char *service, const char *user, const void *talk, void **handle)
{
    (void)service, (void)user, (void)talk;
    *handle = &now;
    return 0;
}
int pam_end(void *handle, int status) { (void)handle; return status * 0; }
int pam_set_item(void *handle, int item, const void *value) { (void)handle, (void)item, (void)value; return 0; }
int pam_acct_mgmt(void *handle, int flags) { (void)handle, (void)flags; return 0; }
int pam_setcred(void *handle, int flags) { (void)handle, (void)flags; return 0; }
int pam_open_session(void *handle, int flags) { (void)handle, (void)flags; return 0; }
int pam_close_session(void *handle, int flags) { (void)handle, (void)flags; return 0; }
char **pam_getenvlist(void *handle) { (void)handle; return calloc(1, sizeof(char *)); }
void __syslog_chk(int priority, int flag, const char *format, ...) { (void)priority, (void)flag, (void)format; }
