/* Names of fates, from the one list in fate.h. */
#include "fate.h"

#include <string.h>

static const struct {
    const char *name, *text;
} fates[] = {
#define X(name, text) {#name, text},
    FATES(X)
#undef X
};

const char *fate_name(enum fate f)
{
    return fates[f].name;
}

const char *fate_text(enum fate f)
{
    return fates[f].text;
}

int fate_parse(enum fate *out, const char *name)
{
    for (int i = 0; i < FATE_N; i++) {
        if (strcmp(fates[i].name, name) == 0) {
            *out = (enum fate)i;
            return 0;
        }
    }
    return -1;
}

bool fate_harmless(enum fate f)
{
    return f == FATE_RENDER || f == FATE_COMPILE || f == FATE_COMPILE_TIMEOUT || f == FATE_COMPILE_CRASH ||
           f == FATE_LIMITS || f == FATE_LAUNCH;
}
