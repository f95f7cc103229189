/* The manifest: read key by key, checked as far as it can be without a problem, then the kernel source is read and linted.
 * Both files are opened relative to the folder, without following links: nothing outside it is ever read. */
#include "tmpl.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "digest.h"
#include "space_private.h"
#include "tmpl_private.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static const char *const headers[] = {"cuda_fp16.h", "cuda_bf16.h", "mma.h", "cuda_pipeline_primitives.h"};
static const struct {
    const char *language, *option;
} option_list[] = {{"cuda", "--use_fast_math"},  {"cuda", "--extra-device-vectorization"},
                   {"cuda", "--maxrregcount="},  {"opencl", "-cl-fast-relaxed-math"},
                   {"opencl", "-cl-mad-enable"}, {"opencl", "-cl-no-signed-zeros"}};

/* ---- files ---- */

static int read_at(int folder, const char *name, const char *path, struct buf *b, struct err *e)
{
    /* O_NONBLOCK: a pipe of that name must not make us wait. */
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), rc = -1;
    struct stat st;
    char chunk[16384];
    ssize_t n;

    if (fd < 0 && errno == ELOOP)
        return err_set(e, ERR_INPUT, "%s is a link; a template's files must lie in its own folder", path);
    if (fd < 0) return err_set(e, ERR_INPUT, "cannot open %s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        err_set(e, ERR_INPUT, "%s is not a plain file", path);
        goto out;
    }
    while ((n = read(fd, chunk, sizeof chunk)) != 0) {
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            err_set(e, ERR_INPUT, "cannot read %s: %s", path, strerror(errno));
            goto out;
        }
        buf_add(b, chunk, (size_t)n);
        if (b->n <= TMPL_MAX_SOURCE) continue;
        err_set(e, ERR_INPUT, "%s is larger than %u KiB", path, TMPL_MAX_SOURCE >> 10);
        goto out;
    }
    buf_text(b);
    rc = buf_check(b, e);
out:
    close(fd);
    return rc;
}

static char *join(const char *folder, const char *name)
{
    struct buf b = {0};
    buf_printf(&b, "%s/%s", folder, name);
    return b.p; /* NULL when out of memory */
}

/* ---- sections of the manifest ---- */

static int read_language(struct tmpl *t, const struct doc_node *n, struct err *e)
{
    static const char *const languages[] = {"cuda", "opencl"};
    int i;

    if (doc_choice(n, languages, COUNT(languages), &i, e) != 0) return -1;
    t->language = strdup(languages[i]);
    return t->language ? 0 : err_nomem(e);
}

static int read_name(struct tmpl *t, const struct doc_node *n, struct err *e)
{
    const char *slash = strrchr(t->folder, '/'), *folder = slash ? slash + 1 : t->folder;

    if (doc_name(n, &t->name, e) != 0) return -1;
    if (strcmp(t->name, folder) == 0) return 0;
    return err_at(e, &n->at, "the name is `%s`, but the folder is `%.80s`; they must be equal", t->name, folder);
}

static int read_source(struct tmpl *t, const struct doc_node *n, struct err *e)
{
    return doc_name(n, &t->priv->source_name, e); /* a name has no slash and does not begin with a dot */
}

static int read_entry(struct tmpl *t, const struct doc_node *n, struct err *e)
{
    const char *s;

    if (doc_text(n, &t->entry, e) != 0) return -1;
    for (s = t->entry; isalnum((unsigned char)*s) || *s == '_'; s++)
        ;
    if (*s == '\0' && !isdigit((unsigned char)t->entry[0]) && strlen(t->entry) < sizeof((struct launch *)NULL)->entry)
        return 0;
    return err_at(e, &n->at, "`entry` must be a C identifier of at most %zu characters, not `%.80s`",
                  sizeof((struct launch *)NULL)->entry - 1, t->entry);
}

static int read_strings(char ***out, int *n, const struct doc_node *list, struct err *e)
{
    if (doc_list(list, e) != 0) return -1;
    free(*out);
    *out = calloc((size_t)list->n + 1, sizeof **out);
    if (!*out) return err_nomem(e);
    for (; *n < list->n; ++*n)
        if (doc_text(&list->item[*n], &(*out)[*n], e) != 0) return -1;
    return 0;
}

static int read_includes(struct tmpl *t, const struct doc_node *list, struct err *e)
{
    if (read_strings(&t->priv->includes, &t->priv->nincludes, list, e) != 0) return -1;
    if (list->n > 0 && strcmp(t->language, "cuda") != 0)
        return err_at(e, &list->item[0].at,
                      "an OpenCL kernel includes nothing: what it may use is built into the language");
    for (int i = 0; i < list->n; i++) {
        size_t k = 0;
        while (k < COUNT(headers) && strcmp(headers[k], t->priv->includes[i]) != 0)
            k++;
        if (k == COUNT(headers))
            return err_at(e, &list->item[i].at,
                          "`%.80s` may not be included; only cuda_fp16.h, cuda_bf16.h, mma.h and "
                          "cuda_pipeline_primitives.h may",
                          t->priv->includes[i]);
    }
    return 0;
}

static bool option_allowed(const char *language, const char *option)
{
    for (size_t i = 0; i < COUNT(option_list); i++) {
        size_t n = strlen(option_list[i].option);
        const char *value = option + n;
        char *end;
        if (strcmp(option_list[i].language, language) != 0 || strncmp(option, option_list[i].option, n) != 0) continue;
        if (option_list[i].option[n - 1] != '=') {
            if (*value == '\0') return true;
        } else if (isdigit((unsigned char)*value)) {
            long v = strtol(value, &end, 10);
            return *end == '\0' && v >= 16 && v <= 255;
        }
    }
    return false;
}

static int read_options(struct tmpl *t, const struct doc_node *list, struct err *e)
{
    if (read_strings(&t->priv->options, &t->priv->noptions, list, e) != 0) return -1;
    for (int i = 0; i < list->n; i++)
        if (!option_allowed(t->language, t->priv->options[i]))
            return err_at(e, &list->item[i].at, "compiler option `%.80s` is not on the list for %s: %s",
                          t->priv->options[i], t->language,
                          strcmp(t->language, "cuda") == 0
                              ? "--use_fast_math, --extra-device-vectorization, --maxrregcount=16..255"
                              : "-cl-fast-relaxed-math, -cl-mad-enable, -cl-no-signed-zeros");
    return 0;
}

static int read_requires(struct tmpl *t, const struct doc_node *n, struct err *e)
{
    return space_rules_read(&t->requires, &t->nrequires, n, true, e);
}

static int read_constraints(struct tmpl *t, const struct doc_node *n, struct err *e)
{
    return space_rules_read(&t->rules, &t->nrules, n, true, e);
}

/* A new name for parameters or derived values. */
static int check_new_name(const struct tmpl *t, const char *name, const struct pos *at, struct err *e)
{
    if (space_check_name(name, at, e) != 0) return -1;
    if (tmpl_builtin(name)) return err_at(e, at, "`%s` is a name that fatune defines itself; choose another", name);
    for (int i = 0; i < t->nparams; i++)
        if (t->params[i].range.name != name && t->params[i].range.name && strcmp(t->params[i].range.name, name) == 0)
            return err_at(e, at, "`%s` is a parameter already (line %d)", name, t->params[i].range.at.line);
    for (int i = 0; i < t->nderive; i++)
        if (t->derive[i].why != name && t->derive[i].why && strcmp(t->derive[i].why, name) == 0)
            return err_at(e, at, "`%s` is a derived value already", name);
    return 0;
}

static int read_param(struct tmpl *t, struct tmpl_param *p, const struct doc_node *n, struct err *e)
{
    static const char *const keys[] = {"values", "default", "what"};
    const struct doc_node *values, *fallback, *what;
    int i = 0;

    p->range.at = n->key_at;
    p->range.name = strdup(n->key);
    if (!p->range.name) return err_nomem(e);
    if (check_new_name(t, p->range.name, &n->key_at, e) != 0 || doc_keys(n, "a parameter", keys, COUNT(keys), e) != 0 ||
        doc_need(&values, n, "values", e) != 0 || doc_need(&fallback, n, "default", e) != 0 ||
        doc_need(&what, n, "what", e) != 0 || doc_list(values, e) != 0 ||
        space_values_read(&p->range, values, e) != 0 || doc_text(what, &p->what, e) != 0 ||
        doc_int(fallback, INT32_MIN, INT32_MAX, &p->fallback, e) != 0)
        return -1;
    while (i < p->range.n && p->range.values[i] != p->fallback)
        i++;
    return i < p->range.n ? 0 : err_at(e, &fallback->at, "the default of `%s` is not one of its values", p->range.name);
}

static int read_params(struct tmpl *t, const struct doc_node *map, struct err *e)
{
    if (map->kind != DOC_MAP)
        return err_at(e, &map->at, "`params` must be a mapping of names to {values, default, what}");
    if (map->n > TMPL_MAX_PARAMS) return err_at(e, &map->at, "%d parameters; at most %d", map->n, TMPL_MAX_PARAMS);
    t->params = calloc((size_t)map->n + 1, sizeof *t->params);
    if (!t->params) return err_nomem(e);
    for (int i = 0; i < map->n; i++) {
        t->nparams = i + 1;
        if (read_param(t, &t->params[i], &map->item[i], e) != 0) return -1;
    }
    return 0;
}

static int read_derive(struct tmpl *t, const struct doc_node *list, struct err *e)
{
    static const char *const keys[] = {"name", "value"};

    if (doc_list(list, e) != 0) return -1;
    t->derive = calloc((size_t)list->n + 1, sizeof *t->derive);
    if (!t->derive) return err_nomem(e);
    for (int i = 0; i < list->n; i++) {
        struct space_rule *r = &t->derive[i];
        const struct doc_node *name, *value;
        t->nderive = i + 1;
        if (doc_keys(&list->item[i], "a derived value", keys, COUNT(keys), e) != 0 ||
            doc_need(&name, &list->item[i], "name", e) != 0 || doc_need(&value, &list->item[i], "value", e) != 0 ||
            doc_text(name, &r->why, e) != 0 || check_new_name(t, r->why, &name->at, e) != 0 ||
            doc_text(value, &r->text, e) != 0)
            return -1;
        r->at = value->at;
    }
    return 0;
}

static int read_expression(struct space_rule *r, const struct doc_node *n, struct err *e)
{
    r->at = n->at;
    return doc_text(n, &r->text, e);
}

static int read_triple(struct tmpl *t, const struct doc_node *n, int at, struct err *e)
{
    if (doc_list(n, e) != 0) return -1;
    if (n->n != 3) return err_at(e, &n->at, "`%s` needs three expressions, x, y and z, not %d", n->key, n->n);
    for (int i = 0; i < 3; i++)
        if (read_expression(&t->priv->launch[at + i], &n->item[i], e) != 0) return -1;
    return 0;
}

static int read_launch(struct tmpl *t, const struct doc_node *map, struct err *e)
{
    static const char *const keys[] = {"grid", "block", "shared", "cluster"};
    const struct doc_node *grid, *block, *shared, *cluster = doc_get(map, "cluster");

    if (doc_keys(map, "`launch`", keys, COUNT(keys), e) != 0 || doc_need(&grid, map, "grid", e) != 0 ||
        doc_need(&block, map, "block", e) != 0 || doc_need(&shared, map, "shared", e) != 0 ||
        read_triple(t, grid, TMPL_GRID, e) != 0 || read_triple(t, block, TMPL_BLOCK, e) != 0 ||
        read_expression(&t->priv->launch[TMPL_SHARED], shared, e) != 0)
        return -1;
    if (!cluster) return 0;
    if (strcmp(t->language, "cuda") != 0) return err_at(e, &cluster->key_at, "OpenCL has no clusters");
    return read_triple(t, cluster, TMPL_CLUSTER, e);
}

static int read_spills(struct tmpl *t, const struct doc_node *n, struct err *e)
{
    return read_expression(&t->priv->launch[TMPL_SPILLS], n, e);
}

static int map_named(const struct tmpl *t, const char *name)
{
    for (int i = 0; i < t->priv->nmaps; i++)
        if (strcmp(t->priv->maps[i].name, name) == 0) return i;
    return -1;
}

static int read_map_name(struct tmpl *t, struct tmpl_map *m, const struct doc_node *n, struct err *e)
{
    enum arg a;
    char *name;

    if (doc_name(n, &name, e) != 0) return -1;
    if (arg_parse(&a, name) == 0)
        err_at(e, &n->at, "`%s` is the tensor's own pointer among the arguments; name the map otherwise, `%s_map`",
               name, name);
    else if (map_named(t, name) >= 0)
        err_at(e, &n->at, "two tensor maps are named `%s`; give each a name of its own", name);
    else
        m->name = name;
    if (m->name) return 0;
    free(name);
    return -1;
}

static int read_map(struct tmpl *t, const struct doc_node *map, struct err *e)
{
    static const char *const keys[] = {"name", "tensor", "box", "swizzle", "l2_promotion"}, *const tensors[] = {
                                                                                                "q", "k", "v", "o"};
    static const enum arg roles[] = {ARG_Q, ARG_K, ARG_V, ARG_O};
    struct tmpl_map *m = &t->priv->maps[t->priv->nmaps];
    struct space_rule *r = &t->priv->launch[TMPL_MAPS + TMPL_MAP_N * t->priv->nmaps];
    const struct doc_node *name, *tensor, *box, *swizzle = doc_get(map, "swizzle"), *l2 = doc_get(map, "l2_promotion");
    int i;

    if (doc_keys(map, "a tensor map", keys, COUNT(keys), e) != 0 || doc_need(&name, map, "name", e) != 0 ||
        doc_need(&tensor, map, "tensor", e) != 0 || doc_need(&box, map, "box", e) != 0 ||
        read_map_name(t, m, name, e) != 0)
        return -1;
    t->priv->nmaps++; /* its name is freed with the template */
    if (doc_choice(tensor, tensors, COUNT(tensors), &i, e) != 0 || doc_list(box, e) != 0) return -1;
    m->tensor = roles[i];
    if (box->n != 2) return err_at(e, &box->at, "`box` needs two expressions, columns and rows, not %d", box->n);
    if (read_expression(&r[TMPL_MAP_COLUMNS], &box->item[0], e) != 0 ||
        read_expression(&r[TMPL_MAP_ROWS], &box->item[1], e) != 0 ||
        (swizzle && read_expression(&r[TMPL_MAP_SWIZZLE], swizzle, e) != 0))
        return -1;
    return l2 ? read_expression(&r[TMPL_MAP_L2], l2, e) : 0;
}

static int read_tensor_maps(struct tmpl *t, const struct doc_node *list, struct err *e)
{
    if (strcmp(t->language, "cuda") != 0)
        return err_at(e, &list->key_at, "tensor maps are CUDA's; an OpenCL kernel reads its tensors by pointer");
    if (doc_list(list, e) != 0) return -1;
    if (list->n > TMPL_MAX_MAPS) return err_at(e, &list->at, "%d tensor maps; at most %d", list->n, TMPL_MAX_MAPS);
    for (int i = 0; i < list->n; i++)
        if (read_map(t, &list->item[i], e) != 0) return -1;
    return 0;
}

static int read_argument(struct tmpl *t, const struct doc_node *n, struct err *e)
{
    struct tmpl_private *priv = t->priv;
    bool reference = strncmp(t->name, "reference_", 10) == 0;
    int map = n->kind == DOC_TEXT ? map_named(t, n->text) : -1;
    enum arg a = map >= 0 ? priv->maps[map].tensor : ARG_N;

    if (n->kind != DOC_TEXT || (map < 0 && arg_parse(&a, n->text) != 0) || a == ARG_TILE ||
        (!reference && (a == ARG_REF_O || a == ARG_REF_LOW)))
        return err_at(e, &n->at, "an argument is one of q, k, v, o and lse%s, or the name of a tensor map",
                      reference ? ", ref_o, ref_low" : "");
    for (int k = 0; k < priv->nargs; k++)
        if (priv->args[k] == a && priv->arg_map[k] == map)
            return err_at(e, &n->at, "argument `%s` is listed twice", n->text);
    priv->args[priv->nargs] = a; /* ARG_N + TMPL_MAX_MAPS different ones at most */
    priv->arg_map[priv->nargs++] = map;
    return 0;
}

static int read_arguments(struct tmpl *t, const struct doc_node *list, struct err *e)
{
    const struct tmpl_private *priv = t->priv;
    bool writes = false, used[TMPL_MAX_MAPS] = {false};

    _Static_assert(ARG_N + TMPL_MAX_MAPS <= LAUNCH_ARGS, "every tensor and every map may be an argument");
    if (doc_list(list, e) != 0) return -1;
    for (int i = 0; i < list->n; i++) {
        if (read_argument(t, &list->item[i], e) != 0) return -1;
        writes = writes || priv->args[i] == ARG_O || priv->args[i] == ARG_REF_O;
        if (priv->arg_map[i] >= 0) used[priv->arg_map[i]] = true;
    }
    for (int m = 0; m < priv->nmaps; m++)
        if (!used[m])
            return err_at(e, &list->at, "the tensor map `%s` is not among the arguments; list it or remove it",
                          priv->maps[m].name);
    return writes ? 0 : err_at(e, &list->at, "no argument receives the output: `o` is missing");
}

static int read_manifest(struct tmpl *t, const struct doc_node *root, struct err *e)
{
    /* name and language first: others depend on them */
    static const struct {
        const char *key;
        int (*read)(struct tmpl *t, const struct doc_node *n, struct err *e);
        bool required;
    } sections[] = {{"name", read_name, true},
                    {"language", read_language, true},
                    {"source", read_source, true},
                    {"entry", read_entry, true},
                    {"includes", read_includes, false},
                    {"options", read_options, false},
                    {"requires", read_requires, false},
                    {"params", read_params, true},
                    {"derive", read_derive, false},
                    {"constraints", read_constraints, false},
                    {"launch", read_launch, true},
                    {"spills", read_spills, false},
                    {"tensor_maps", read_tensor_maps, false},
                    {"arguments", read_arguments, true}};
    const char *keys[COUNT(sections)];
    const struct doc_node *n;

    for (size_t i = 0; i < COUNT(sections); i++)
        keys[i] = sections[i].key;
    if (doc_keys(root, "a manifest", keys, COUNT(sections), e) != 0) return -1;
    for (size_t i = 0; i < COUNT(sections); i++) {
        if (sections[i].required && doc_need(&n, root, keys[i], e) != 0) return -1;
        n = doc_get(root, keys[i]);
        if (n && sections[i].read(t, n, e) != 0) return -1;
    }
    return 0;
}

/* Reads both files of the folder and everything in them. */
static int load(struct tmpl *t, int folder, struct err *e)
{
    struct tmpl_private *priv = t->priv;
    struct doc_node *root = NULL;
    struct buf yaml = {0}, source = {0};
    int rc;

    TRY(read_at(folder, "template.yaml", priv->path, &yaml, e));
    priv->yaml = yaml.p;
    TRY(doc_parse(&root, priv->yaml, yaml.n, priv->path, e));
    TRY(read_manifest(t, root, e));
    TRY(tmpl_check_expressions(t, e));
    priv->source_path = join(t->folder, priv->source_name);
    if (!priv->source_path) {
        rc = err_nomem(e);
        goto out;
    }
    TRY(read_at(folder, priv->source_name, priv->source_path, &source, e));
    priv->source = source.p;
    priv->source_n = source.n;
    source = (struct buf){0};
    TRY(tmpl_lint(t, e));
    digest_strings(t->digest, priv->yaml, priv->source, (char *)NULL);
out:
    if (!priv->yaml) buf_free(&yaml);
    buf_free(&source);
    doc_free(root);
    return rc;
}

int tmpl_load(struct tmpl **out, const char *folder, struct err *e)
{
    struct tmpl *t = calloc(1, sizeof *t);
    size_t n = strlen(folder);
    int fd = -1, rc = -1;

    if (t) t->priv = calloc(1, sizeof *t->priv);
    while (n > 1 && folder[n - 1] == '/')
        n--;
    if (t && t->priv) t->folder = strndup(folder, n);
    if (t && t->folder) t->priv->path = join(t->folder, "template.yaml");
    if (!t || !t->priv || !t->folder || !t->priv->path) {
        err_nomem(e);
        goto out;
    }
    t->priv->options = calloc(1, sizeof *t->priv->options);
    fd = open(t->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!t->priv->options)
        err_nomem(e);
    else if (fd < 0)
        err_set(e, ERR_INPUT, "cannot open the template's folder %s: %s", folder, strerror(errno));
    else
        rc = load(t, fd, e);
out:
    if (fd >= 0) close(fd);
    if (rc != 0)
        tmpl_free(t);
    else
        *out = t;
    return rc;
}

static void strings_free(char **s, int n)
{
    for (int i = 0; s && i < n; i++)
        free(s[i]);
    free(s);
}

void tmpl_free(struct tmpl *t)
{
    struct tmpl_private *priv = t ? t->priv : NULL;

    if (!t) return;
    for (int i = 0; i < t->nparams; i++) {
        space_param_free(&t->params[i].range);
        free(t->params[i].what);
    }
    free(t->params);
    space_rules_free(t->requires, t->nrequires);
    space_rules_free(t->rules, t->nrules);
    space_rules_free(t->derive, t->nderive);
    if (priv) {
        strings_free(priv->includes, priv->nincludes);
        strings_free(priv->options, priv->noptions);
        for (int i = 0; i < TMPL_NLAUNCH; i++)
            free(priv->launch[i].text);
        for (int i = 0; i < priv->nmaps; i++)
            free(priv->maps[i].name);
        free(priv->path);
        free(priv->yaml);
        free(priv->source_name);
        free(priv->source_path);
        free(priv->source);
        free(priv);
    }
    free(t->name);
    free(t->folder);
    free(t->language);
    free(t->entry);
    free(t);
}

bool tmpl_has_hooks(const struct tmpl *t)
{
    return t->priv->tile_hooks;
}

int tmpl_param_index(const struct tmpl *t, const char *name)
{
    for (int i = 0; i < t->nparams; i++)
        if (strcmp(t->params[i].range.name, name) == 0) return i;
    return -1;
}
