/* Only the prelude's macros count: those in front of the first #line, or all when there is none; the first definition of
 * a name wins, so that the kernel's own #ifndef defaults change nothing. Macros of the problem and of the device are
 * known by name and take no part in the landscape.
 *
 * A marker is a line `// fake: NAME [NUMBER] [when A=1 [B=2 ...]]`. A line `// fake: when A=1 ...` restricts all
 * markers below it, until the next such line; `// fake: when` alone lifts it. */
#include "fake_code.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "digest.h"

#define MAGIC "fatune-fake 1\n"

static const char *const known_marks[] = {"clock",    "sticky", "segv",    "hang",      "wrong", "unwritten", "nondet",
                                          "corrupt",  "input",  "launch",  "bigregs",   "lost",  "nomax",     "scale",
                                          "stalerow", "tail",   "column",  "latewrong", "time",  "time_us",   "flood",
                                          "badlse",   "nan",    "readold", "roundp",    "spill"};

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ull;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

/* [0,1) from a seed, a name and a number. */
static double draw(uint64_t seed, const char *name, uint64_t number)
{
    return (double)(mix(digest_u64(name, strlen(name)) ^ mix(seed) ^ mix(number + 0x9e3779b97f4a7c15ull)) >> 11) *
           0x1p-53;
}

static int def_index(const struct fake_code *c, const char *name, size_t n)
{
    for (int i = 0; i < c->ndefs; i++)
        if (strlen(c->defs[i].name) == n && memcmp(c->defs[i].name, name, n) == 0) return i;
    return -1;
}

double fake_code_def(const struct fake_code *c, const char *name, double fallback)
{
    int i = def_index(c, name, strlen(name));
    return i < 0 ? fallback : c->defs[i].value;
}

const struct fake_mark *fake_code_mark(const struct fake_code *c, const char *name)
{
    for (int i = 0; i < c->nmarks; i++)
        if (strcmp(c->marks[i].name, name) == 0) return &c->marks[i];
    return NULL;
}

static void def_add(struct fake_code *c, const char *name, double value)
{
    if (c->ndefs == FAKE_MAX_DEFS || def_index(c, name, strlen(name)) >= 0) return;
    snprintf(c->defs[c->ndefs].name, sizeof c->defs[0].name, "%s", name);
    c->defs[c->ndefs++].value = value;
}

/* "#define NAME NUMBER"; anything else is not for us. */
static void define_line(struct fake_code *c, const char *line)
{
    char name[48], value[48], *end;
    double x;
    if (sscanf(line, " # define %47[A-Za-z0-9_] %*[(]%47s", name, value) != 2 &&
        sscanf(line, " # define %47[A-Za-z0-9_] %47s", name, value) != 2)
        return;
    x = strtod(value, &end);
    if (end != value && strspn(end, "fFlLuU)") == strlen(end)) def_add(c, name, x);
}

/* "A=1 B=2" against the macros; an unknown name is false. */
static bool conditions_hold(const struct fake_code *c, const char *text)
{
    while (*(text += strspn(text, " \t,")) != '\0') {
        size_t n = strcspn(text, "= \t");
        int i = def_index(c, text, n);
        char *end;
        double want;
        if (text[n] != '=' || i < 0) return false;
        want = strtod(text + n + 1, &end);
        if (end == text + n + 1 || fabs(c->defs[i].value - want) > 1e-9) return false;
        text = end;
    }
    return true;
}

/* The text of `line` behind "// fake:", or NULL. */
static const char *marker_text(const char *line)
{
    const char *p = strstr(line, "// fake:");
    return p == NULL ? NULL : p + strlen("// fake:");
}

static int mark_line(struct fake_code *c, const char *text, bool *active, struct err *e)
{
    const char *when = strstr(text, "when");
    char name[24] = "", first[48];
    double value = 0;
    int n = sscanf(text, " %23s %lf", name, &value), i;
    if (strcmp(name, "when") == 0) {
        *active = conditions_hold(c, when + 4);
        return 0;
    }
    if (strcmp(name, "dead") == 0) {
        if (sscanf(text, " dead %47s", first) == 1 && (i = def_index(c, first, strlen(first))) >= 0)
            c->defs[i].dead = true;
        return 0;
    }
    for (i = 0; i < (int)(sizeof known_marks / sizeof *known_marks); i++)
        if (strcmp(known_marks[i], name) == 0) break;
    if (i == (int)(sizeof known_marks / sizeof *known_marks))
        return err_set(e, ERR_DEVICE, "error: unknown marker `// fake: %s` (tests/fake/README.md lists them)", name);
    if (!*active || (when != NULL && !conditions_hold(c, when + 4))) return 0;
    if (c->nmarks == FAKE_MAX_MARKS) return err_set(e, ERR_DEVICE, "error: more than %d markers", FAKE_MAX_MARKS);
    c->marks[c->nmarks] = (struct fake_mark){.given = n == 2, .value = value};
    snprintf(c->marks[c->nmarks++].name, sizeof name, "%s", name);
    return 0;
}

static bool of_device(const char *name)
{
    return strncmp(name, "DEV_", 4) == 0;
}

/* Equal code, equal digest: entry, kernel text, and all macros that matter. */
static void identify(struct fake_code *c, const char *body, const char *entry)
{
    struct buf text = {0};
    buf_printf(&text, "%s\n", entry);
    for (int i = 0; i < c->ndefs; i++)
        if (!c->defs[i].dead && !of_device(c->defs[i].name))
            buf_printf(&text, "%s %.17g\n", c->defs[i].name, c->defs[i].value);
    buf_puts(&text, body);
    digest_bytes(c->digest, buf_text(&text), text.n);
    buf_free(&text);
}

/* Calls for each line of [text, end); stops at the first failure. */
static int each_line(struct fake_code *c, const char *text, const char *end, bool defines, struct err *e)
{
    bool active = true;
    while (text < end) {
        size_t n = strcspn(text, "\n");
        char line[512];
        const char *marker;
        snprintf(line, sizeof line, "%.*s", (int)(n < sizeof line ? n : sizeof line - 1), text);
        marker = marker_text(line);
        if (defines)
            define_line(c, line);
        else if (marker != NULL && mark_line(c, marker, &active, e) != 0)
            return -1;
        text += n + (text[n] == '\n');
    }
    return 0;
}

int fake_code_parse(struct fake_code *c, const char *source, const char *entry, struct err *e)
{
    const char *body = strncmp(source, "#line", 5) == 0 ? source : strstr(source, "\n#line"),
               *end = source + strlen(source);
    *c = (struct fake_code){0};
    if (each_line(c, source, body == NULL ? end : body, true, e) != 0) return -1;
    if (each_line(c, source, end, false, e) != 0) return -1;
    identify(c, body == NULL ? "" : body, entry);
    return 0;
}

void fake_code_write(const struct fake_code *c, struct buf *image)
{
    char sum[DIGEST_HEX];
    buf_puts(image, MAGIC);
    for (int i = 0; i < c->ndefs; i++)
        buf_printf(image, "def %s %.17g %d\n", c->defs[i].name, c->defs[i].value, c->defs[i].dead);
    for (int i = 0; i < c->nmarks; i++)
        buf_printf(image, "mark %s %.17g %d\n", c->marks[i].name, c->marks[i].value, c->marks[i].given);
    buf_printf(image, "code %s\n", c->digest);
    digest_bytes(sum, buf_text(image), image->n);
    buf_printf(image, "end %s\n", sum);
}

int fake_code_read(struct fake_code *c, const void *image, size_t n, struct err *e)
{
    const size_t tail = 4 + 64 + 1;
    char sum[DIGEST_HEX], *text, *line, *save = NULL;
    *c = (struct fake_code){0};
    if (n < sizeof MAGIC - 1 + tail || memcmp(image, MAGIC, sizeof MAGIC - 1) != 0)
        return err_set(e, ERR_DEVICE, "FAKE_ERROR_INVALID_IMAGE: not an image of this device");
    digest_bytes(sum, image, n - tail);
    if (memcmp((const char *)image + n - 65, sum, 64) != 0)
        return err_set(e, ERR_DEVICE, "FAKE_ERROR_INVALID_IMAGE: the image is truncated or damaged");
    text = strndup(image, n);
    if (text == NULL) return err_nomem(e);
    for (line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
        char name[48];
        double value;
        int flag;
        if (sscanf(line, "def %47s %lf %d", name, &value, &flag) == 3) {
            def_add(c, name, value);
            c->defs[c->ndefs - 1].dead = flag != 0;
        } else if (sscanf(line, "mark %23s %lf %d", name, &value, &flag) == 3 && c->nmarks < FAKE_MAX_MARKS) {
            c->marks[c->nmarks] = (struct fake_mark){.given = flag != 0, .value = value};
            snprintf(c->marks[c->nmarks++].name, sizeof c->marks[0].name, "%.23s", name);
        } else if (strncmp(line, "code ", 5) == 0) {
            snprintf(c->digest, sizeof c->digest, "%s", line + 5);
        }
    }
    free(text);
    return 0;
}

static const char *const problem_names[] = {"BATCH",    "HEADS",  "KV_HEADS",   "SEQ_Q",     "SEQ_KV",
                                            "HEAD_DIM", "CAUSAL", "DTYPE_BF16", "WRITE_LSE", "SCALE"};

int fake_code_problem(const struct fake_code *c, struct problem *p, struct err *e)
{
    for (size_t i = 0; i < sizeof problem_names / sizeof *problem_names; i++)
        if (def_index(c, problem_names[i], strlen(problem_names[i])) < 0)
            return err_set(e, ERR_DEVICE, "FAKE_ERROR_INVALID_IMAGE: the prelude does not define %s", problem_names[i]);
    *p = (struct problem){.batch = (int)fake_code_def(c, "BATCH", 0),
                          .heads = (int)fake_code_def(c, "HEADS", 0),
                          .kv_heads = (int)fake_code_def(c, "KV_HEADS", 0),
                          .seq_q = (int)fake_code_def(c, "SEQ_Q", 0),
                          .seq_kv = (int)fake_code_def(c, "SEQ_KV", 0),
                          .head_dim = (int)fake_code_def(c, "HEAD_DIM", 0),
                          .dtype = fake_code_def(c, "DTYPE_BF16", 0) > 0 ? DTYPE_BF16 : DTYPE_F16,
                          .mask = fake_code_def(c, "CAUSAL", 0) > 0 ? MASK_CAUSAL : MASK_NONE,
                          .scale = fake_code_def(c, "SCALE", 0),
                          .lse = fake_code_def(c, "WRITE_LSE", 0) > 0};
    if (p->batch < 1 || p->heads < 1 || p->kv_heads < 1 || p->seq_q < 1 || p->seq_kv < 1 || p->head_dim < 1 ||
        p->heads % p->kv_heads != 0)
        return err_set(e, ERR_DEVICE, "FAKE_ERROR_INVALID_IMAGE: the prelude describes no attention problem");
    return 0;
}

static bool is_parameter(const struct fake_def *d)
{
    if (d->dead || of_device(d->name)) return false;
    for (size_t i = 0; i < sizeof problem_names / sizeof *problem_names; i++)
        if (strcmp(problem_names[i], d->name) == 0) return false;
    return true;
}

/* Seconds of a launch of a ceiling's kernel, 0 when it is none. */
static double ceiling_s(const struct fake_code *c, const struct problem *p, double l2_bytes)
{
    return fake_code_def(c, "FLOP", 0) / FAKE_MATRIX + fake_code_def(c, "EXPS", 0) / FAKE_EXP +
           fake_code_def(c, "BYTES", 0) / (problem_bytes(p) > l2_bytes ? FAKE_DRAM : FAKE_L2);
}

bool fake_code_is_ceiling(const struct fake_code *c)
{
    return ceiling_s(c, &(struct problem){.batch = 1}, 1) > 0;
}

double fake_code_time_us(const struct fake_code *c, const struct problem *p, uint64_t seed, double best_us,
                         double l2_bytes)
{
    const struct fake_mark *fixed = fake_code_mark(c, "time_us"), *factor = fake_code_mark(c, "time");
    double log_slow = 0, previous = 0;
    uint64_t point = 0;
    if (fixed != NULL) return fixed->value;
    if (fake_code_is_ceiling(c)) return 1 + 1e6 * ceiling_s(c, p, l2_bytes);
    for (int i = 0; i < c->ndefs; i++) {
        const struct fake_def *d = &c->defs[i];
        double x, away, slow;
        if (!is_parameter(d)) continue;
        x = d->value >= 1 ? log2(d->value) : -1;
        away = x - (1 + 5.5 * draw(seed, d->name, 1));
        /* saturates, so that derived values far from every optimum add a constant */
        slow = (0.05 + 0.3 * draw(seed, d->name, 2)) * (1 - exp(-away * away / 8));
        log_slow += slow + 0.5 * slow * previous;
        previous = slow;
        point = mix(point ^ mix(digest_u64(d->name, strlen(d->name)) + (uint64_t)(int64_t)d->value));
    }
    log_slow += 0.02 * draw(seed, "point", point);
    return (best_us + problem_flops(p) / 100e12 * 1e6) * exp(log_slow) * (factor != NULL ? factor->value : 1);
}
