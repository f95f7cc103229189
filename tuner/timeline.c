/* A request's time is gathered apart while it runs, and shared out when it is answered: the worker's own share as the worker says, and what
 * is left over from the end of the request backwards, since it begins at once but its answer is read when the supervisor comes to it. */
#include "timeline.h"

#include <math.h>
#include <string.h>

static const char *const doings[] = {
#define X(name, member) member,
    TIMELINE_DOINGS(X)
#undef X
};

/* Of the request that is out: the supervisor has done `doing` for so long. The oldest is forgotten where there are too many. */
static void note(struct timeline *t, double passed)
{
    if (t->nlast == 0 || t->last_doing[t->nlast - 1] != t->doing) {
        if (t->nlast == TIMELINE_LAST) {
            memmove(t->last, t->last + 1, (TIMELINE_LAST - 1) * sizeof *t->last);
            memmove(t->last_doing, t->last_doing + 1, (TIMELINE_LAST - 1) * sizeof *t->last_doing);
            t->nlast--;
        }
        t->last[t->nlast] = 0;
        t->last_doing[t->nlast++] = t->doing;
    }
    t->last[t->nlast - 1] += passed;
    t->request += passed;
}

static void charge(struct timeline *t, double now)
{
    double passed = now - t->at;

    if (!t->running) return;
    t->at = now;
    t->wall += passed;
    t->compilers_could += t->workers * passed;
    t->supervisor[t->doing] += passed;
    if (t->device == TIMELINE_WORKING)
        note(t, passed);
    else if (t->device == TIMELINE_OPENING)
        t->opening += passed;
    else
        t->idle[t->doing] += passed;
}

void timeline_begin(struct timeline *t, int workers, double compiled, double now)
{
    t->running = true;
    t->at = now;
    t->compiled = compiled;
    t->workers = workers;
    t->doing = TIMELINE_OTHER;
    t->device = TIMELINE_IDLE;
    t->request = 0;
    t->nlast = 0;
    t->invocations++;
}

void timeline_charge(struct timeline *t, double compiled, double now)
{
    if (!t->running) return;
    charge(t, now);
    t->compilers += compiled - t->compiled;
    t->compiled = compiled;
}

void timeline_end(struct timeline *t, double compiled, double now)
{
    timeline_charge(t, compiled, now);
    timeline_device(t, TIMELINE_IDLE, now);
    t->running = false;
}

enum timeline_doing timeline_do(struct timeline *t, enum timeline_doing doing, double now)
{
    enum timeline_doing before = t->doing;

    charge(t, now);
    t->doing = doing;
    return before;
}

void timeline_device(struct timeline *t, enum timeline_device state, double now)
{
    charge(t, now);
    t->lost += t->request;
    t->request = 0;
    t->nlast = 0;
    t->device = state;
}

static double at_most(double x, double most)
{
    return x > 0 ? fmin(x, most) : 0; /* a NaN is 0 */
}

/* The worker did not need `over` seconds at the end of the request. */
static void share_out(struct timeline *t, double over)
{
    for (int i = t->nlast - 1; i >= 0 && t->last_doing[i] != TIMELINE_WAIT && over > 0; i--) {
        double some = at_most(t->last[i], over);
        t->idle[t->last_doing[i]] += some;
        over -= some;
    }
    t->messages += over;
    t->nlast = 0;
}

void timeline_answered(struct timeline *t, const struct timeline_work *w, double now)
{
    double whole, check, measure;

    charge(t, now);
    whole = at_most(w->whole, t->request);
    check = at_most(w->check, whole);
    measure = at_most(w->measure, whole - check);
    t->check += check;
    t->measure += measure;
    t->load += whole - check - measure;
    share_out(t, t->request - whole);
    t->request = 0;
    t->device = TIMELINE_IDLE;
}

/* ---- JSON ---- */

static double sum(const double x[TIMELINE_DOING_N])
{
    double s = 0;

    for (int i = 0; i < TIMELINE_DOING_N; i++)
        s += x[i];
    return s;
}

/* What the supervisor waits for while the device is idle are compilers. */
static const char *member(int doing, bool idle)
{
    return idle && doing == TIMELINE_WAIT ? "compilers" : doings[doing];
}

static json_t *by_doing(const double x[TIMELINE_DOING_N], bool idle)
{
    json_t *j = json_object();

    for (int i = 0; i < TIMELINE_DOING_N; i++)
        json_object_set_new(j, member(i, idle), json_real(x[i]));
    return j;
}

/* A request that is out now has no parts yet. */
json_t *timeline_to_json(const struct timeline *t)
{
    return json_pack("{s:i,s:f,s:{s:f,s:f,s:f,s:f,s:f,s:f,s:f},s:o,s:o,s:{s:f,s:f}}", "invocations", t->invocations,
                     "wall", t->wall, "device", "check", t->check, "measure", t->measure, "load", t->load, "messages",
                     t->messages, "opening", t->opening, "lost", t->lost + t->request, "idle", sum(t->idle), "idle",
                     by_doing(t->idle, true), "supervisor", by_doing(t->supervisor, false), "compilers", "busy",
                     t->compilers, "available", t->compilers_could);
}

#define MOST_S 1e9 /* a store may hold any number */

static double seconds(const json_t *j, const char *name)
{
    return at_most(json_number_value(json_object_get(j, name)), MOST_S);
}

void timeline_from_json(struct timeline *t, const json_t *j)
{
    const json_t *device = json_object_get(j, "device"), *compilers = json_object_get(j, "compilers");
    json_int_t n = json_integer_value(json_object_get(j, "invocations"));

    *t = (struct timeline){.invocations = n > 0 && n < 1 << 20 ? (int)n : 0,
                           .wall = seconds(j, "wall"),
                           .check = seconds(device, "check"),
                           .measure = seconds(device, "measure"),
                           .load = seconds(device, "load"),
                           .messages = seconds(device, "messages"),
                           .opening = seconds(device, "opening"),
                           .lost = seconds(device, "lost"),
                           .compilers = seconds(compilers, "busy"),
                           .compilers_could = seconds(compilers, "available")};
    for (int i = 0; i < TIMELINE_DOING_N; i++) {
        t->idle[i] = seconds(json_object_get(j, "idle"), member(i, true));
        t->supervisor[i] = seconds(json_object_get(j, "supervisor"), member(i, false));
    }
}
