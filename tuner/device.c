/* The parts of device.h that are the same for every driver. */
#include "device.h"

#include <stdlib.h>
#include <string.h>

const struct device_driver *device_driver_named(const char *name)
{
    for (size_t i = 0; device_drivers[i]; i++)
        if (strcmp(device_drivers[i]->name, name) == 0) return device_drivers[i];
    return NULL;
}

void device_binary_free(struct device_binary *b)
{
    if (!b) return;
    buf_free(&b->image);
    buf_free(&b->ptx);
    buf_free(&b->log);
    *b = (struct device_binary){0};
}

/* X(member) in the order of the struct */
#define MEMBERS(X)                                                                                                     \
    X(registers)                                                                                                       \
    X(shared_static_bytes)                                                                                             \
    X(stack_bytes)                                                                                                     \
    X(spill_store_bytes)                                                                                               \
    X(spill_load_bytes)                                                                                                \
    X(barriers)                                                                                                        \
    X(tensor_ops)

json_t *device_resources_to_json(const struct device_resources *r)
{
    json_t *j = json_object();
    if (!j) return NULL;
#define PUT(member)                                                                                                    \
    if (json_object_set_new(j, #member, json_integer(r->member)) != 0) goto fail;
    MEMBERS(PUT)
#undef PUT
    return j;
fail:
    json_decref(j);
    return NULL;
}

int device_resources_from_json(struct device_resources *r, const json_t *j, struct err *e)
{
    const json_t *value;
#define GET(member)                                                                                                    \
    value = json_object_get(j, #member);                                                                               \
    if (!json_is_integer(value)) return err_set(e, ERR_BUG, "resources: no integer '%s'", #member);                    \
    r->member = json_integer_value(value);
    MEMBERS(GET)
#undef GET
    return 0;
}

json_t *device_text_to_json(const char *text, size_t n)
{
    json_t *j = memchr(text, '\0', n) ? NULL : json_stringn(text, n);
    char *clean;

    if (j || !(clean = malloc(n + 1))) return j;
    for (size_t i = 0; i < n; i++)
        clean[i] = text[i] == '\0' || (unsigned char)text[i] > 0x7f ? '?' : text[i];
    j = json_stringn(clean, n);
    free(clean);
    return j;
}
