/* Doubling growth; one spare byte is kept for the terminating NUL. */
#include "buf.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool reserve(struct buf *b, size_t more)
{
    size_t need, cap;
    char *p;

    if (b->failed) return false;
    if (more > SIZE_MAX / 2 - b->n) {
        b->failed = true;
        return false;
    }
    need = b->n + more + 1;
    if (need <= b->cap) return true;
    cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap *= 2;
    p = realloc(b->p, cap);
    if (!p) {
        b->failed = true;
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

void buf_add(struct buf *b, const void *bytes, size_t n)
{
    if (!reserve(b, n)) return;
    if (n > 0) memcpy(b->p + b->n, bytes, n);
    b->n += n;
    b->p[b->n] = '\0';
}

void buf_puts(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->failed = true;
    } else if (reserve(b, (size_t)n)) {
        vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
}

void buf_xml(struct buf *b, const char *text)
{
    static const struct {
        char c;
        const char *is;
    } special[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};

    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        size_t i = 0;

        while (i < sizeof special / sizeof *special && special[i].c != *text)
            i++;
        if (i < sizeof special / sizeof *special)
            buf_puts(b, special[i].is);
        else if ((c < ' ' && c != '\n' && c != '\t') || c == 0x7f)
            buf_puts(b, "?");
        else
            buf_add(b, text, 1);
    }
}

const char *buf_text(struct buf *b)
{
    if (!b->p && !reserve(b, 0)) return "";
    b->p[b->n] = '\0';
    return b->p;
}

void buf_clear(struct buf *b)
{
    b->n = 0;
}

void buf_free(struct buf *b)
{
    free(b->p);
    *b = (struct buf){0};
}

int buf_check(const struct buf *b, struct err *e)
{
    return b->failed ? err_nomem(e) : 0;
}

size_t buf_utf8(const char *text, size_t n)
{
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *s = (const unsigned char *)text;
    size_t len = s[0] < 0x80                   ? 1
                 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
                 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
                                               : 0;
    unsigned c;

    if (len < 2) return len;
    if (len > n) return 0;
    c = s[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    return c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : len;
}

void buf_clean(char *text)
{
    for (size_t left = strlen(text), n; left > 0; text += n, left -= n) {
        n = buf_utf8(text, left);
        if (n > 0) continue;
        *text = '?';
        n = 1;
    }
}

int buf_read_file(struct buf *b, const char *path, size_t limit, enum err_code code, struct err *e)
{
    int rc = -1, fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0) return err_set(e, code, "cannot open %s: %s", path, strerror(errno));
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        err_set(e, code, "%s is a folder, not a file", path);
        goto out;
    }
    for (;;) {
        ssize_t n;
        if (!reserve(b, 65536)) {
            err_nomem(e);
            goto out;
        }
        n = read(fd, b->p + b->n, 65536);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            err_set(e, code, "cannot read %s: %s", path, strerror(errno));
            goto out;
        }
        if (n == 0) break;
        b->n += (size_t)n;
        if (b->n > limit) {
            err_set(e, code, "%s is larger than %zu bytes", path, limit);
            goto out;
        }
    }
    b->p[b->n] = '\0';
    rc = 0;
out:
    close(fd);
    return rc;
}

/* A rename is durable only when its folder has been synced too. */
static int sync_folder(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    int fd, rc, saved;

    if (n >= sizeof folder) return -1;
    if (slash && n == 0) n = 1; /* the root folder */
    memcpy(folder, slash ? path : ".", slash ? n : 1);
    folder[slash ? n : 1] = '\0';
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -1;
    rc = fsync(fd);
    if (rc != 0 && (errno == EINVAL || errno == ENOTSUP)) rc = 0; /* a file system that cannot sync folders */
    saved = errno;
    close(fd);
    errno = saved;
    return rc;
}

int buf_write_file(const char *path, const void *bytes, size_t n, struct err *e)
{
    char tmp[PATH_MAX];
    const char *p = bytes;
    int fd, saved;

    if ((size_t)snprintf(tmp, sizeof tmp, "%s.tmp.%ld", path, (long)getpid()) >= sizeof tmp)
        return err_set(e, ERR_SYSTEM, "path too long: %s", path);
    fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return err_set(e, ERR_SYSTEM, "cannot create %s: %s", tmp, strerror(errno));
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) goto fail;
        p += done;
        n -= (size_t)done;
    }
    if (fsync(fd) != 0) goto fail;
    if (close(fd) != 0) {
        fd = -1;
        goto fail;
    }
    fd = -1;
    if (rename(tmp, path) != 0 || sync_folder(path) != 0) goto fail;
    return 0;
fail:
    saved = errno;
    if (fd >= 0) close(fd);
    unlink(tmp);
    return err_set(e, ERR_SYSTEM, "cannot write %s: %s", path, strerror(saved));
}
