/* A host whose clock jumps, to put in front by LD_PRELOAD: each time that somebody asks for the time of day, it is another day, years
 * back or ahead. Clocks that only go on (CLOCK_MONOTONIC and those of processes) are left alone: deadlines may trust those. */
#include <dlfcn.h>
#include <stddef.h>
#include <sys/time.h>
#include <time.h>

static long jump(void)
{
    static const long days[] = {0, 3650, -3650, 1, -1, 40000, -7000};
    static unsigned n;
    unsigned i = __atomic_fetch_add(&n, 1, __ATOMIC_RELAXED);

    return days[i % (sizeof days / sizeof days[0])] * 86400;
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
    static int (*next)(clockid_t, struct timespec *);
    int rc;

    if (!next) *(void **)&next = dlsym(RTLD_NEXT, "clock_gettime");
    rc = next(clock, t);
    if (rc == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) t->tv_sec += jump();
    return rc;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    *t = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;

    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
