/* report_registry.h - rows of the registry and of the ledger as JSON, for `fatune champion` and the report. */
#ifndef REPORT_REGISTRY_H
#define REPORT_REGISTRY_H

#include <jansson.h>

#include "store.h"

/* New references; NULL when out of memory. docs/JSON.md: action, ledger row. */
json_t *report_action_json(const struct store_champion *c);
json_t *report_ledger_json(const struct store_night *n);

#endif
