/* verdict_json.c - a verdict as JSON. Key = field name; an interval is [low, high]; what is not finite is null, since JSON
 * has no NaN and jansson refuses one. */
#include <math.h>

#include "verdict.h"

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *interval(struct verdict_interval i)
{
    return json_pack("[o, o]", number(i.low), number(i.high));
}

static json_t *clauses(const struct verdict *v)
{
    json_t *list = json_array();
    for (int c = 0; c < VERDICT_NCLAUSES; c++) {
        if (!*v->why[c]) continue;
        json_t *clause = json_pack("{s:s, s:b, s:s}", "clause", verdict_clause_name((enum verdict_clause)c), "passed",
                                   !(v->failed & 1u << c), "why", v->why[c]);
        if (json_array_append_new(list, clause) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

json_t *verdict_to_json(const struct verdict *v)
{
    const struct {
        const char *key;
        json_t *value;
    } row[] = {
        {"outcome", json_string(verdict_name(v->outcome))},
        {"clauses", clauses(v)},
        {"note", json_string(v->note)},
        {"sessions", json_integer(v->sessions)},
        {"quads", json_integer(v->quads)},
        {"quads_discarded", json_integer(v->quads_discarded)},
        {"quads_outlying", json_integer(v->quads_outlying)},
        {"sessions_drifting", json_integer(v->sessions_drifting)},
        {"ratio", number(v->ratio)},
        {"ratio_cycles", number(v->ratio_cycles)},
        {"ratio_t", interval(v->ratio_t)},
        {"ratio_boot_t", interval(v->ratio_boot_t)},
        {"ratio_percentile", interval(v->ratio_percentile)},
        {"ratio_bca", interval(v->ratio_bca)},
        {"lower", number(v->lower)},
        {"upper", number(v->upper)},
        {"g_within", number(v->g_within)},
        {"g_ci", interval(v->g_ci)},
        {"g_textbook", number(v->g_textbook)},
        {"g_textbook_ci", interval(v->g_textbook_ci)},
        {"dz", number(v->dz)},
        {"mean_a_us", number(v->mean_a_us)},
        {"mean_b_us", number(v->mean_b_us)},
        {"mean_a_ci", interval(v->mean_a_ci)},
        {"mean_b_ci", interval(v->mean_b_ci)},
        {"mann_whitney_p", number(v->mann_whitney_p)},
        {"cliff", number(v->cliff)},
        {"upper_b_us", number(v->upper_b_us)},
        {"median_a_us", number(v->median_a_us)},
        {"median_b_us", number(v->median_b_us)},
        {"aa_present", json_boolean(v->aa_present)},
        {"aa_ratio", number(v->aa_ratio)},
        {"aa_ci", interval(v->aa_ci)},
        {"bimodal", json_boolean(v->bimodal)},
        {"modes", interval(v->modes)},
        {"mode_share", number(v->mode_share)},
        {"share_faster", number(v->share_faster)},
        {"sessions_needed", json_integer(v->sessions_needed)},
    };
    json_t *out = json_object();
    int bad = out == NULL;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        bad |= json_object_set_new(out, row[i].key, row[i].value); /* takes the value even when it fails */
    if (!bad) return out;
    json_decref(out);
    return NULL;
}
