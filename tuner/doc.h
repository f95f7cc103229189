/* doc.h - the reader that spaces and manifests share: a YAML text as a small tree with positions.
 *
 * The only user of libyaml (and not named after it, because its header is yaml.h). A subset, on purpose: one document, UTF-8,
 * no anchors, aliases, tags, merge keys or duplicate keys, and every scalar is text: what a number is, the readers below say,
 * not YAML's guesses. At most 256 KiB, 16 levels, 10,000 events, 4 KiB a scalar, 256 keys a mapping.
 *
 * Every error is ERR_INPUT with file:line:column, the line and a caret. */
#ifndef DOC_H
#define DOC_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

#define DOC_MAX_BYTES (256u << 10)

enum doc_kind { DOC_TEXT, DOC_LIST, DOC_MAP };

struct doc_node {
    enum doc_kind kind;
    struct pos at; /* of its first character; behind the quote of a quoted scalar */
    char *key;     /* of a member of a mapping, else NULL */
    struct pos key_at;
    char *text;            /* DOC_TEXT */
    int n;                 /* items or members */
    struct doc_node *item; /* in the order of the file */
};

/* text and path are borrowed for the life of every position. *root is valid until doc_free. */
int doc_parse(struct doc_node **root, const char *text, size_t n, const char *path, struct err *e);
void doc_free(struct doc_node *root);

/* Is this a mapping with no other keys than these? what: "a space", for the message. */
int doc_keys(const struct doc_node *map, const char *what, const char *const *keys, size_t nkeys, struct err *e);
/* The member, or NULL. */
const struct doc_node *doc_get(const struct doc_node *map, const char *key);
/* The member; an error at the mapping when it is missing. */
int doc_need(const struct doc_node **out, const struct doc_node *map, const char *key, struct err *e);

/* Readers of scalars; they name the key. Integers: decimal, no octal, no exponent. Numbers: decimal, finite. */
int doc_int(const struct doc_node *n, int64_t least, int64_t most, int64_t *out, struct err *e);
int doc_double(const struct doc_node *n, double least, double most, double *out, struct err *e);
int doc_bool(const struct doc_node *n, bool *out, struct err *e); /* true | false */
/* Index of the word in words. */
int doc_choice(const struct doc_node *n, const char *const *words, int nwords, int *out, struct err *e);
/* Not empty. A copy, for the caller to free. */
int doc_text(const struct doc_node *n, char **out, struct err *e);
/* As doc_text, and made of letters, digits, _ - . only, not starting with . or -, at most 63 characters. */
int doc_name(const struct doc_node *n, char **out, struct err *e);
/* A list. */
int doc_list(const struct doc_node *n, struct err *e);

#endif
