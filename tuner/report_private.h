/* report_private.h - shared by report*.c: members of what is printed. */
#ifndef REPORT_PRIVATE_H
#define REPORT_PRIVATE_H

#include <jansson.h>
#include <math.h>
#include <stdbool.h>

/* NAN where there is none. */
static inline double number(const json_t *j, const char *name)
{
    const json_t *x = json_object_get(j, name);

    return json_is_number(x) ? json_number_value(x) : NAN;
}

/* "" where there is none. */
static inline const char *text(const json_t *j, const char *name)
{
    const char *s = json_string_value(json_object_get(j, name));

    return s ? s : "";
}

/* null where there is none. */
static inline json_t *real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

/* [low, high], both null where there is none. */
static inline json_t *pair(double low, double high)
{
    bool known = isfinite(low) && isfinite(high);

    return json_pack("[o,o]", known ? json_real(low) : json_null(), known ? json_real(high) : json_null());
}

#endif
