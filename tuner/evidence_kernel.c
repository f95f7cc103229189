/* evidence_kernel.c - the source and the binary that were timed, or a word why not.
 *
 * A source is taken when it has, with its options, the recorded key; a binary when the cache vouches for it, and its code has the recorded digest
 * where that can be told from its bytes. What the cache lacks is rendered and compiled anew, in a cache of its own: the key speaks of the recorded
 * compiler, and the one at hand may be another. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cache.h"
#include "cuda_code.h"
#include "evidence_private.h"
#include "farm.h"
#include "paths.h"

enum origin { NOWHERE, CACHE, ANEW };

struct kernel {
    struct evidence *v;
    const char *key, *code; /* as recorded */
    char cache[4096];
    struct buf *source, image, ptx;
    struct rendered rendered;
    bool is_rendered; /* and the source is the recorded one */
    enum origin source_from, binary_from;
    char why_no_source[1024], why_no_binary[1024];
};

static const char *const no_options[] = {NULL};

static bool is_cuda(const struct kernel *k)
{
    return strcmp(k->v->target.driver, "cuda") == 0;
}

static enum evidence_file source_file(const struct evidence *v)
{
    return strcmp(v->target.language, "opencl") == 0 ? EVIDENCE_CL : EVIDENCE_CU;
}

static bool has_key(const struct kernel *k, const char *source, const char *const *options)
{
    char key[DIGEST_HEX];

    cache_key(key, &k->v->target, source, k->v->launch.entry, options);
    return strcmp(key, k->key) == 0;
}

/* ---- the source ---- */

static void render(struct kernel *k)
{
    struct evidence *v = k->v;
    struct err why = {0};
    struct cand c;

    if (!v->domain) {
        snprintf(k->why_no_source, sizeof k->why_no_source, "%.1000s", v->no_domain.text);
    } else if (cand_from_json(v->domain, v->version.params, &c, &why) != 0 ||
               cand_render(v->domain, &c, &k->rendered, &why) != 0) {
        snprintf(k->why_no_source, sizeof k->why_no_source, "%.1000s", why.text);
    } else if (has_key(k, buf_text(&k->rendered.source), k->rendered.options)) {
        k->is_rendered = true;
    } else {
        snprintf(k->why_no_source, sizeof k->why_no_source,
                 "the templates here make another source of it; give those of %.60s with --templates DIR",
                 json_string_value(json_object_get(json_object_get(v->version.source_facts, "environment"), "fatune")));
    }
}

static void find_source(struct kernel *k)
{
    struct err ignored = {0};
    struct buf cached = {0};

    render(k);
    if (cache_source(k->cache, k->key, &cached, &ignored) == 0 &&
        has_key(k, buf_text(&cached), k->is_rendered ? k->rendered.options : no_options)) {
        buf_add(k->source, cached.p, cached.n);
        k->source_from = CACHE;
    } else if (k->is_rendered) {
        buf_add(k->source, k->rendered.source.p, k->rendered.source.n);
        k->source_from = ANEW;
    }
    buf_free(&cached);
}

/* ---- the binary ---- */

/* "": its code is the recorded one, as far as that can be told. said: what the compiler or the cache says of it. */
static int judge_code(const struct kernel *k, const char *said, char why[1024], struct err *e)
{
    char digest[DIGEST_HEX];

    snprintf(digest, sizeof digest, "%s", said ? said : "");
    if (is_cuda(k) && cuda_code_digest(digest, k->image.p, k->image.n, k->v->launch.entry, e) != 0) return -1;
    why[0] = '\0';
    if (strcmp(digest, k->code) != 0)
        snprintf(why, 1024, "its code has the digest %.16s, the recorded one is %.16s", *digest ? digest : "(none)",
                 *k->code ? k->code : "(none)");
    return 0;
}

static int from_cache(struct kernel *k, struct err *e)
{
    bool found, damaged;
    json_t *meta = NULL;
    int rc;

    TRY(cache_find(k->cache, k->key, &found, &damaged, &meta, e));
    if (!found) {
        snprintf(k->why_no_binary, sizeof k->why_no_binary, "the cache beside the store has %s",
                 damaged ? "a damaged one" : "none");
        goto out;
    }
    TRY(cache_image(k->cache, k->key, &k->image, e));
    TRY(cache_ptx(k->cache, k->key, &k->ptx, e));
    TRY(judge_code(k, json_string_value(json_object_get(meta, "code")), k->why_no_binary, e));
    if (*k->why_no_binary)
        buf_clear(&k->image), buf_clear(&k->ptx);
    else
        k->binary_from = CACHE;
out:
    json_decref(meta);
    return rc;
}

static int compile(struct kernel *k, struct err *e)
{
    struct farm_job job = {0};
    struct worker_loop *loop = NULL;
    struct farm *farm = NULL;
    struct err why = {0};
    int rc;

    TRY(worker_loop_open(&loop, e));
    TRY(farm_open(&farm, loop, &k->v->target, k->v->work, 1, worker_deadline(FARM_DEADLINE_S), e));
    if (farm_submit(farm, &job, &k->rendered, &why) != 0 || farm_wait(farm, &job, &why) != 0) {
        if (why.code == ERR_INTERRUPTED) rc = err_set(e, why.code, "%s", why.text);
        snprintf(k->why_no_binary, sizeof k->why_no_binary, "%.1000s", why.text);
        goto out;
    }
    if (job.fate != FATE_OK) {
        snprintf(k->why_no_binary, sizeof k->why_no_binary, "compiled anew it is %s: %.900s", fate_name(job.fate),
                 job.log ? job.log : fate_text(job.fate));
        goto out;
    }
    TRY(cache_image(k->v->work, job.key, &k->image, e));
    TRY(cache_ptx(k->v->work, job.key, &k->ptx, e));
    TRY(judge_code(k, job.code, k->why_no_binary, e));
    if (!*k->why_no_binary && !*k->code)
        snprintf(k->why_no_binary, sizeof k->why_no_binary,
                 "its driver tells no digest of code, so a new one proves nothing");
    if (*k->why_no_binary)
        buf_clear(&k->image), buf_clear(&k->ptx);
    else
        k->binary_from = ANEW;
out:
    farm_close(farm);
    worker_loop_close(loop);
    farm_job_free(&job);
    return rc;
}

/* ---- what is said of them ---- */

static json_t *options_json(const struct kernel *k)
{
    const char *const *options = k->is_rendered ? k->rendered.options : no_options;
    json_t *list = json_array();

    for (int i = 0; options && options[i]; i++)
        json_array_append_new(list, json_string(options[i]));
    return list;
}

static int put(struct kernel *k, struct err *e)
{
    static const char *const sources[] = {NULL, "cache", "rendered anew"}, *const binaries[] = {NULL, "cache",
                                                                                                "compiled anew"};
    static const char *const words[] = {"", "from the cache", "compiled anew"};
    struct evidence *v = k->v;
    struct evidence_files *f = &v->files;
    enum evidence_file image = is_cuda(k) ? EVIDENCE_CUBIN : EVIDENCE_BIN;

    f->there[source_file(v)] = k->source_from != NOWHERE;
    f->there[image] = k->image.n > 0;
    f->there[EVIDENCE_PTX] = k->ptx.n > 0;
    buf_add(&f->bytes[image], k->image.p, k->image.n);
    buf_add(&f->bytes[EVIDENCE_PTX], k->ptx.p, k->ptx.n);
    if (k->source_from && k->binary_from)
        evidence_say(v, "kernel", "source from the %s, binary %s%s", k->source_from == CACHE ? "cache" : "templates",
                     words[k->binary_from], *k->code ? ", its code has the recorded digest" : "");
    else
        evidence_say(v, "kernel", "%s missing: %s",
                     k->source_from   ? "the binary is"
                     : k->binary_from ? "the source is"
                                      : "source and binary are",
                     k->source_from ? k->why_no_binary : k->why_no_source);
    return evidence_put_json_take(
        f, EVIDENCE_KERNEL,
        json_pack("{s:s,s:s,s:s,s:s?,s:s?,s:s?,s:s?,s:o}", "key", k->key, "code", k->code, "entry", v->launch.entry,
                  "source", sources[k->source_from], "why_no_source", k->source_from ? NULL : k->why_no_source,
                  "binary", binaries[k->binary_from], "why_no_binary", k->binary_from ? NULL : k->why_no_binary,
                  "options", k->source_from ? options_json(k) : json_null()),
        e);
}

int evidence_kernel(struct evidence *v, struct err *e)
{
    struct kernel k = {
        .v = v, .key = v->version.binary, .code = evidence_fact(v, "code"), .source = &v->files.bytes[source_file(v)]};
    int rc;

    TRY(paths_cache(k.cache, sizeof k.cache, v->o->store, e));
    find_source(&k);
    TRY(from_cache(&k, e));
    if (!k.binary_from && k.is_rendered)
        TRY(compile(&k, e));
    else if (!k.binary_from && *k.why_no_source)
        snprintf(k.why_no_binary + strlen(k.why_no_binary), sizeof k.why_no_binary - strlen(k.why_no_binary),
                 ", and %.800s", k.why_no_source);
    rc = put(&k, e);
out:
    rendered_free(&k.rendered);
    buf_free(&k.image);
    buf_free(&k.ptx);
    return rc;
}
