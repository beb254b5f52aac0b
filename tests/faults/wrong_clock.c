/* A clock that is off by CLOCK_IS_OFF_BY_SECONDS, for the process that this is preloaded into.
 * How long something takes is measured as before: a wrong clock does not run faster. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long off_seconds;

__attribute__((constructor)) static void read_environment(void) {
    const char *found = getenv("CLOCK_IS_OFF_BY_SECONDS");
    off_seconds = found == NULL ? 0 : atol(found);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int status = (int)syscall(SYS_clock_gettime, clock, now);
    if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += off_seconds;
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int status = (int)syscall(SYS_gettimeofday, now, zone);
    if (status == 0)
        now->tv_sec += off_seconds;
    return status;
}

time_t time(time_t *moment) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (moment != NULL)
        *moment = now.tv_sec;
    return now.tv_sec;
}
