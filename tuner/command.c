#include "command.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Words filled into lines of at most 79 columns; a newline in the text is a space like any other. */
static void print_filled(const char *text)
{
    size_t column = 0;

    while (*text) {
        size_t n = strcspn(text, " \n");
        if (column > 0 && column + 1 + n > 79) {
            putchar('\n');
            column = 0;
        }
        column += (size_t)printf("%s%.*s", column > 0 ? " " : "", (int)n, text);
        text += n;
        text += strspn(text, " \n");
    }
    putchar('\n');
}

static void print_help(const struct command *c, const struct command_option *options)
{
    printf("usage: fatune %s%s%s [options]\n\n", c->name, *c->usage ? " " : "", c->usage);
    print_filled(c->help);
    printf("\noptions:\n");
    for (const struct command_option *o = options; o->name; o++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        printf("  %-22s %s\n", left, o->what);
    }
    printf("  %-22s %s\n", "--help", "this text");
}

static int bad_value(const struct command_option *o, const char *text, const char *wanted, struct err *e)
{
    return err_set(e, ERR_USAGE, "--%s wants %s, not '%s'", o->name, wanted, text);
}

static int set_value(const struct command_option *o, const char *text, struct err *e)
{
    char *end;

    errno = 0;
    switch (o->kind) {
    case OPTION_FLAG:
        *(bool *)o->value = true;
        return 0;
    case OPTION_TEXT:
        *(const char **)o->value = text;
        return 0;
    case OPTION_INT:
    case OPTION_INDEX:
    case OPTION_COUNT: {
        const int least = o->kind == OPTION_INDEX ? 0 : 1;
        long x = strtol(text, &end, 10);
        if (errno || *end || end == text || x < least || x > INT_MAX)
            return bad_value(o, text, least ? "a whole number from 1" : "a whole number from 0", e);
        *(int *)o->value = (int)x;
        return 0;
    }
    case OPTION_U64: {
        unsigned long long x = strtoull(text, &end, 10);
        if (errno || *end || end == text || *text == '-') return bad_value(o, text, "a whole number from 0", e);
        *(uint64_t *)o->value = x;
        return 0;
    }
    case OPTION_DOUBLE: {
        double x = strtod(text, &end);
        if (errno || *end || end == text || !isfinite(x) || x <= 0) return bad_value(o, text, "a number above 0", e);
        *(double *)o->value = x;
        return 0;
    }
    }
    return 0;
}

static int unknown(const struct command *c, const struct command_option *options, const char *word, struct err *e)
{
    const char *names[64];
    const char *near;
    size_t n = 0;

    for (const struct command_option *o = options; o->name && n < 63; o++)
        names[n++] = o->name;
    names[n++] = "help";
    near = err_nearest(word, names, n);
    return err_set(e, ERR_USAGE, "%s has no option --%s%s%s%s; `fatune %s --help` lists them", c->name, word,
                   near ? ", did you mean --" : "", near ? near : "", near ? "?" : "", c->name);
}

static bool is_number(const char *text)
{
    return *text && text[strspn(text, "0123456789")] == '\0';
}

/* One option at argv[*i]; moves *i past its value. 1: help was printed. */
static int take_option(const struct command *c, const struct command_option *options, int argc, char **argv, int *i,
                       struct err *e)
{
    const char *word = argv[*i] + 2, *equals = strchr(word, '=');
    char name[64];
    size_t n = equals ? (size_t)(equals - word) : strlen(word);

    if (n >= sizeof name) n = sizeof name - 1;
    memcpy(name, word, n);
    name[n] = '\0';
    if (strcmp(name, "help") == 0) {
        print_help(c, options);
        return 1;
    }
    for (const struct command_option *o = options; o->name; o++) {
        if (strcmp(o->name, name) != 0) continue;
        if (o->kind == OPTION_FLAG)
            return equals ? err_set(e, ERR_USAGE, "--%s takes no value", name) : set_value(o, NULL, e);
        if (equals) return set_value(o, equals + 1, e);
        if (o->kind == OPTION_COUNT && (*i + 1 >= argc || !is_number(argv[*i + 1]))) {
            *(int *)o->value = INT_MAX;
            return 0;
        }
        if (*i + 1 >= argc) return err_set(e, ERR_USAGE, "--%s wants a value: --%s %s", name, name, o->arg);
        return set_value(o, argv[++*i], e);
    }
    return unknown(c, options, name, e);
}

/* --json holds for the error of an option in front of it, too. */
static void look_ahead(const struct command_option *options, int argc, char **argv)
{
    for (const struct command_option *o = options; o->name; o++) {
        if (o->kind != OPTION_FLAG || strcmp(o->name, "json") != 0) continue;
        for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
            if (strcmp(argv[i], "--json") == 0) *(bool *)o->value = true;
    }
}

int command_parse(const struct command *c, const struct command_option *options, int argc, char **argv, int at_least,
                  int at_most, struct command_operands *operands, struct err *e)
{
    bool only_operands = false;

    operands->n = 0;
    look_ahead(options, argc, argv);
    for (int i = 1; i < argc; i++) {
        if (!only_operands && strcmp(argv[i], "--") == 0) {
            only_operands = true;
        } else if (!only_operands && strcmp(argv[i], "-h") == 0) {
            print_help(c, options);
            return 1;
        } else if (!only_operands && strncmp(argv[i], "--", 2) == 0) {
            int rc = take_option(c, options, argc, argv, &i, e);
            if (rc != 0) return rc;
        } else if (!only_operands && argv[i][0] == '-' && argv[i][1]) {
            return err_set(e, ERR_USAGE, "%s has no option %s; options are whole words: `fatune %s --help`", c->name,
                           argv[i], c->name);
        } else if (operands->n >= at_most || operands->n >= COMMAND_MAX_OPERANDS) {
            return err_set(e, ERR_USAGE, "too many operands: '%s'; usage: fatune %s %s", argv[i], c->name, c->usage);
        } else {
            operands->text[operands->n++] = argv[i];
        }
    }
    if (operands->n < at_least)
        return err_set(e, ERR_USAGE, "an operand is missing; usage: fatune %s %s", c->name, c->usage);
    return 0;
}

int command_fail(const struct err *e, bool json)
{
    fprintf(stderr, "fatune: %s\n", e->text);
    if (json)
        command_print_json(json_pack("{s:{s:s,s:i,s:s}}", "error", "class", err_code_name(e->code), "exit_code",
                                     err_exit_code(e->code), "text", e->text));
    return err_exit_code(e->code);
}

int command_print_json(json_t *j)
{
    int bad = !j || json_dumpf(j, stdout, JSON_INDENT(2) | JSON_SORT_KEYS) != 0 || putchar('\n') == EOF ||
              fflush(stdout) != 0;

    json_decref(j);
    return bad ? 70 : 0;
}
