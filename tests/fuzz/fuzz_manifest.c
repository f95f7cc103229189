/* A template from a stranger: its manifest, and behind a line `%%%%` its kernel source (else one that mentions the usual parameters). What
 * loads is bound to a problem on two devices and its default point rendered. Its name must be `tile`, as its folder is called. */
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "tmpl.h"

static const char usual[] =
    "#ifndef BLOCK_M\n#define BLOCK_M 16\n#endif\n"
    "__global__ void tile(const half *q) { int x = BLOCK_M * BLOCK_N * WARPS * STAGES * SPLIT; }\n";
static const struct problem problem = {
    .batch = 2, .heads = 8, .kv_heads = 8, .seq_q = 100, .seq_kv = 512, .head_dim = 64, .scale = 0.125};

static void render(struct tmpl_bound *b)
{
    struct rendered r = {0}, again = {0};
    struct launch back;
    struct err e = {0};
    json_t *j;

    if (tmpl_render(b, &r, &e) != 0) {
        FUZZ_REQUIRE(e.code == ERR_INPUT && e.text[0]);
        rendered_free(&r);
        return;
    }
    FUZZ_REQUIRE(tmpl_render(b, &again, &e) == 0 && strcmp(buf_text(&r.source), buf_text(&again.source)) == 0);
    for (int i = 0; i < 3; i++)
        FUZZ_REQUIRE(r.launch.grid[i] > 0 && r.launch.block[i] > 0 && r.launch.cluster[i] >= 0);
    j = launch_to_json(&r.launch);
    FUZZ_REQUIRE(j && launch_from_json(&back, j, &e) == 0);
    json_decref(j);
    rendered_free(&again);
    rendered_free(&r);
}

static void bind(const struct tmpl *t, const struct target *device)
{
    struct tmpl_bound *b = NULL;
    int64_t values[64];
    struct err e = {0};

    if (tmpl_bind(&b, t, &problem, device, &e) != 0) {
        FUZZ_REQUIRE(e.code == ERR_INPUT && e.text[0]);
        return;
    }
    FUZZ_REQUIRE(t->nparams <= 64);
    for (int i = 0; i < t->nparams; i++)
        values[i] = t->params[i].fallback;
    if (!tmpl_unfit(b) && tmpl_set(b, values, &e) == 0 && tmpl_excluded(b, &e) == -1) render(b);
    tmpl_bound_free(b);
}

static char folder[128];

void fuzz_begin(void)
{
    snprintf(folder, sizeof folder, "%s/tile", fuzz_folder());
    if (mkdir(folder, 0700) != 0) abort();
}

void fuzz_one(const uint8_t *data, size_t n)
{
    size_t source_n;
    const uint8_t *source = fuzz_split(data, &n, "%%%%", &source_n);
    struct tmpl *t = NULL;
    struct err e = {0};

    if (!source) {
        source = (const uint8_t *)usual;
        source_n = sizeof usual - 1;
    }
    fuzz_file("tile/kernel.cu", source, source_n);
    fuzz_file("tile/kernel.cl", source, source_n);
    fuzz_file("tile/template.yaml", data, n);
    if (tmpl_load(&t, folder, &e) != 0) {
        FUZZ_REQUIRE(e.code == ERR_INPUT && e.text[0]);
        return;
    }
    for (int i = 0; i < 2; i++)
        bind(t, &fuzz_targets[i]);
    tmpl_free(t);
}
