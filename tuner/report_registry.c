#include "report_registry.h"

#include "report_private.h"

json_t *report_action_json(const struct store_champion *c)
{
    json_t *j = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:s,s:O?,s:O?}", "name", c->version.name, "track",
                          c->version.track, "space", c->version.space, "device", c->version.device, "at", c->at,
                          "action", c->action, "verdict", (json_int_t)c->verdict, "note", c->note, "params",
                          c->version.params, "facts", c->version.source_facts);

    if (c->provisional) json_object_set_new(j, "provisional", json_true());
    return j;
}

static json_t *name(const char *version)
{
    return *version ? json_string(version) : json_null();
}

json_t *report_ledger_json(const struct store_night *n)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:i,s:s,s:I,s:s,s:s,s:o,s:o,s:o,s:[o,o],s:o,s:i,s:o,s:o,s:o,s:s}", "track",
                     n->track, "space", n->space, "device", n->device, "environment", n->environment, "night",
                     n->number, "at", n->at, "run", (json_int_t)n->run, "outcome", n->outcome, "promotion",
                     n->promotion, "before", name(n->before), "after", name(n->after), "control", real(n->control),
                     "control_ci", real(n->control_low), real(n->control_high), "control_off_percent",
                     real(100 * (n->control - 1)), "trials", n->trials, "alpha_spent", real(n->alpha), "anchor_us",
                     real(n->anchor_us), "seconds", real(n->seconds), "note", n->note);
}
