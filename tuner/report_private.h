/* report_private.h - shared by report*.c: members of what is printed. */
#ifndef REPORT_PRIVATE_H
#define REPORT_PRIVATE_H

#include <jansson.h>
#include <math.h>

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

#endif
