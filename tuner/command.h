/* command.h - one row a sub-command, one table a command's options; help texts and parsing come from the same rows. */
#ifndef COMMAND_H
#define COMMAND_H

#include <jansson.h>
#include <stdbool.h>

#include "err.h"

struct command {
    const char *name;
    const char *usage; /* operands: "SPACE" */
    const char *what;  /* one line for `fatune --help` */
    const char *help;  /* paragraph under the usage line */
    int (*exec)(const struct command *self, int argc,
                char **argv); /* argv[0] is the command's name; returns the exit code */
};

extern const struct command cmd_run, cmd_nightly, cmd_compare, cmd_champion, cmd_show, cmd_report, cmd_evidence,
    cmd_eval, cmd_sanitize, cmd_oracle, cmd_profile, cmd_importance, cmd_replay, cmd_export, cmd_import, cmd_space,
    cmd_devices, cmd_doctor;
extern const struct command *const commands[]; /* NULL-terminated, in the order of --help */

enum option_kind {
    OPTION_FLAG,
    OPTION_TEXT,
    OPTION_INT,   /* from 1 */
    OPTION_INDEX, /* from 0 */
    OPTION_U64,
    OPTION_DOUBLE,
    OPTION_COUNT /* a number, or none: then INT_MAX */
};               /* value: bool, const char *, int, int, uint64_t, double, int */

struct command_option {
    const char *name; /* without dashes; NULL ends the table */
    enum option_kind kind;
    void *value;     /* left alone unless the option is given */
    const char *arg; /* "N", "NAME"; NULL for a flag */
    const char *what;
};

#define COMMAND_MAX_OPERANDS 64
struct command_operands {
    int n;
    const char *text[COMMAND_MAX_OPERANDS];
};

/* Options and operands may mix; "--" ends options; --name=value and --name value both work. Returns -1 with ERR_USAGE ("did you
 * mean"), or 1 after --help was printed to stdout: then the command returns 0. at_least/at_most: operands. */
int command_parse(const struct command *c, const struct command_option *options, int argc, char **argv, int at_least,
                  int at_most, struct command_operands *operands, struct err *e);

/* Prints "fatune: text" to stderr and returns the exit code of e. With json: {"error": {...}} to stdout as well. */
int command_fail(const struct err *e, bool json);
/* Prints j to stdout (sorted keys, indented) and frees it; returns 0, or 70 when the write failed. */
int command_print_json(json_t *j);

#endif
