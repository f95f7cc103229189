/* One call of many fails: an allocation, or a read or write on a pipe. Preloaded in front of fatune and its libraries; with CHAOS_WRAP linked
 * into fatune by the linker's --wrap, behind its own calls alone.
 *
 * FATUNE_CHAOS="WHO WHAT N HOW FILE": the N-th call (0: none) of WHAT (malloc, read, write) in WHO (supervisor, worker) fails once, in whichever
 * process it is: all processes of a run count together, in FILE, which must be there with zero bytes: calls so far, how many failed, and,
 * as far as the file goes, kinds of calls: those made through the same functions, by a hash of the end of the stack, with the number of the first
 * of each. With N above 0 the only kind there is that of the call that failed.
 * HOW: an errno by name (EIO, EPIPE, EINTR, ENOMEM), eof (the other end seems closed), short (one byte), stall (does not return). */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Ours is CALL(f), what is behind it REAL(f). The names of glibc are needed, since dlsym allocates. */
#ifdef CHAOS_WRAP
#define CALL(f) __wrap_##f
#define REAL(f) __real_##f
#else
#define CALL(f) f
#define REAL(f) __libc_##f
#endif
void *REAL(malloc)(size_t n);
void *REAL(calloc)(size_t n, size_t size);
void *REAL(realloc)(void *p, size_t n);
void *CALL(malloc)(size_t n);
void *CALL(calloc)(size_t n, size_t size);
void *CALL(realloc)(void *p, size_t n);
ssize_t CALL(read)(int fd, void *p, size_t n);
ssize_t CALL(write)(int fd, const void *p, size_t n);

enum what { MALLOC = 1, READ, WRITE };

static struct {
    enum what what; /* 0: not for this process */
    uint64_t n;
    char how[16];
    uint64_t *calls, *failed;
    struct kind {
        uint64_t hash, n;
    } * kinds; /* a hash table, open addressing; hash 0: free */
    size_t nkinds;
} chaos;

#define FRAMES 8
#define OWN_FRAMES 3 /* stack(), keep() and hit() */

/* How this call was reached, the same in every process and every run: places in their modules, not addresses. Never 0. */
static __attribute__((noinline)) uint64_t stack(void)
{
    void *frame[OWN_FRAMES + FRAMES];
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    int n = backtrace(frame, OWN_FRAMES + FRAMES);
    for (int i = OWN_FRAMES; i < n; i++) {
        Dl_info in;
        uint64_t at = (uint64_t)(uintptr_t)frame[i];
        if (dladdr(frame[i], &in) != 0) at -= (uint64_t)(uintptr_t)in.dli_fbase;
        for (int k = 0; k < 8; k++)
            h = (h ^ (at >> 8 * k & 0xff)) * 0x100000001b3u;
    }
    return h != 0 ? h : 1;
}

static __attribute__((noinline)) void keep(uint64_t n)
{
    static __thread bool inside; /* what looking at the stack allocates itself */
    if (inside) return;
    inside = true;
    uint64_t h = stack();
    for (size_t i = 0;; i++) {
        struct kind *at = &chaos.kinds[(h + i) % chaos.nkinds];
        uint64_t empty = 0;
        if (i == chaos.nkinds) _exit(99); /* a list that is not whole must not pass for one that is */
        if (__atomic_compare_exchange_n(&at->hash, &empty, h, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            at->n = n;
        else if (empty != h)
            continue;
        break;
    }
    inside = false;
}

__attribute__((constructor)) static void start(void)
{
    const char *text = getenv("FATUNE_CHAOS");
    char who[16], what[16], file[512];
    unsigned long long n;
    if (!text || sscanf(text, "%15s %15s %llu %15s %511s", who, what, &n, chaos.how, file) != 5) return;
    if ((strcmp(who, "worker") == 0) != (getenv("FATUNE_SUPERVISOR") != NULL)) return;
    struct stat st;
    int fd = open(file, O_RDWR | O_CLOEXEC);
    void *map = fd < 0 || fstat(fd, &st) != 0
                    ? MAP_FAILED
                    : mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) _exit(99); /* a test that injects nothing must not pass */
    close(fd);
    chaos.calls = map;
    chaos.failed = chaos.calls + 1;
    chaos.n = n;
    chaos.kinds = (struct kind *)(chaos.calls + 2);
    chaos.nkinds = ((size_t)st.st_size - 16) / sizeof(struct kind);
    if (chaos.nkinds > 0) backtrace((void *[1]){NULL}, 1); /* its first call loads a library */
    chaos.what = strcmp(what, "malloc") == 0 ? MALLOC : strcmp(what, "read") == 0 ? READ : WRITE;
}

/* Counts a call; true: this is the one. */
static __attribute__((noinline)) bool hit(enum what what)
{
    if (chaos.what != what) return false;
    uint64_t number = __atomic_add_fetch(chaos.calls, 1, __ATOMIC_RELAXED);
    if (chaos.nkinds > 0 && (chaos.n == 0 || number == chaos.n)) keep(number);
    if (number != chaos.n) return false;
    __atomic_add_fetch(chaos.failed, 1, __ATOMIC_RELAXED);
    return true;
}

/* ---- allocations ---- */

static void *none(void)
{
    errno = ENOMEM;
    return NULL;
}

void *CALL(malloc)(size_t n)
{
    return hit(MALLOC) ? none() : REAL(malloc)(n);
}

void *CALL(calloc)(size_t n, size_t size)
{
    return hit(MALLOC) ? none() : REAL(calloc)(n, size);
}

void *CALL(realloc)(void *p, size_t n)
{
    return hit(MALLOC) ? none() : REAL(realloc)(p, n);
}

/* ---- pipes ---- */

/* What lies between supervisor and worker, the worker's output included, are sockets. The pipes by which libuv tells itself of signals have no
 * other end that could fail. */
static bool is_pipe(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* What the call that fails returns; *n becomes 1 where it is short, and the call is to be made. */
static bool fails(enum what what, int fd, size_t *n, ssize_t *result)
{
    static const struct {
        const char *name;
        int code;
    } codes[] = {{"EIO", EIO}, {"EPIPE", EPIPE}, {"EINTR", EINTR}, {"ENOMEM", ENOMEM}};
    if (chaos.what != what || *n == 0 || !is_pipe(fd) || !hit(what)) return false;
    *result = strcmp(chaos.how, "eof") == 0 ? 0 : -1;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (strcmp(chaos.how, codes[i].name) == 0) errno = codes[i].code;
    while (strcmp(chaos.how, "stall") == 0)
        pause();
    if (strcmp(chaos.how, "short") != 0) return true;
    *n = 1;
    return false;
}

ssize_t CALL(read)(int fd, void *p, size_t n)
{
    ssize_t result;
    return fails(READ, fd, &n, &result) ? result : syscall(SYS_read, fd, p, n);
}

ssize_t CALL(write)(int fd, const void *p, size_t n)
{
    ssize_t result;
    return fails(WRITE, fd, &n, &result) ? result : syscall(SYS_write, fd, p, n);
}

#ifdef CHAOS_WRAP
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);

char *__wrap_strdup(const char *text)
{
    return hit(MALLOC) ? none() : __real_strdup(text);
}
#else
/* libuv's */
ssize_t writev(int fd, const struct iovec *v, int count)
{
    ssize_t result;
    size_t n = 2; /* not 0; 1: write one byte of the first */
    if (fails(WRITE, fd, &n, &result)) return result;
    return n == 1 ? syscall(SYS_write, fd, v[0].iov_base, (size_t)1) : syscall(SYS_writev, fd, v, count);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    ssize_t result;
    size_t n = 2;
    if (fails(WRITE, fd, &n, &result)) return result;
    return n == 1 ? syscall(SYS_write, fd, m->msg_iov[0].iov_base, (size_t)1) : syscall(SYS_sendmsg, fd, m, flags);
}
#endif
