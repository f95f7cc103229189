/* fatune: the table of commands. A worker is this program again, with one word that users never type;
 * so is what becomes a program that fatune does not own. */
#include <gsl/gsl_errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "command.h"
#include "serve.h"
#include "version.h"
#include "worker.h"

const struct command *const commands[] = {&cmd_run,     &cmd_nightly,    &cmd_compare, &cmd_champion, &cmd_show,
                                          &cmd_report,  &cmd_evidence,   &cmd_eval,    &cmd_sanitize, &cmd_oracle,
                                          &cmd_profile, &cmd_importance, &cmd_replay,  &cmd_export,   &cmd_import,
                                          &cmd_space,   &cmd_devices,    &cmd_doctor,  NULL};

/* When an allocation fails, jansson 2.14 loses characters without a word and libuv aborts. Their own allocations end the process before that:
 * to the store it is no more than a SIGKILL, and workers die with their supervisor. */
static void *or_leave(void *p)
{
    static const char text[] = "fatune: out of memory; nothing was half written\n";

    if (p) return p;
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(err_exit_code(ERR_SYSTEM));
}

static void *sure_malloc(size_t n)
{
    return or_leave(malloc(n));
}

static void *sure_calloc(size_t n, size_t size)
{
    return or_leave(calloc(n, size));
}

static void *sure_realloc(void *p, size_t n)
{
    return or_leave(realloc(p, n));
}

static void help(FILE *to)
{
    fprintf(to, "fatune finds, proves and keeps the fastest correct attention kernel for one GPU and one problem.\n\n"
                "usage: fatune COMMAND [operands] [options]\n\ncommands:\n");
    for (int i = 0; commands[i]; i++) {
        char left[64];
        snprintf(left, sizeof left, "%s %s", commands[i]->name, commands[i]->usage);
        fprintf(to, "  %-36s %s\n", left, commands[i]->what);
    }
    fprintf(
        to,
        "\n`fatune COMMAND --help` says more. --version prints the version.\n"
        "exit codes: 0 done; 2 usage; 3 bad space or template; 4 device or environment unfit; 5 store;\n"
        "            6 another run holds the lock; 70 a bug or a failing system call; 130 interrupted, resumable\n");
}

int main(int argc, char **argv)
{
    const char *names[sizeof commands / sizeof *commands];
    const char *near;
    size_t n = 0;

    json_set_alloc_funcs(sure_malloc, free);
    uv_replace_allocator(sure_malloc, sure_realloc, sure_calloc, free);
    gsl_set_error_handler_off(); /* its default handler aborts; stats.c checks what it is given and what it gets */
    if (argc > 2 && strcmp(argv[1], "--program") == 0) return worker_exec(argv + 2);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow (ulimit -f) is an error that says so, as a full disk is */
    if (argc == 2 && strcmp(argv[1], "--worker") == 0) return serve_main();
    if (argc < 2) {
        help(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("fatune %s (%s)\n", FATUNE_VERSION, FATUNE_COMMIT);
        return 0;
    }
    for (int i = 0; commands[i]; i++) {
        if (strcmp(commands[i]->name, argv[1]) == 0) return commands[i]->exec(commands[i], argc - 1, argv + 1);
        names[n++] = commands[i]->name;
    }
    near = err_nearest(argv[1], names, n);
    fprintf(stderr, "fatune: no command is called '%s'%s%s%s; `fatune --help` lists them\n", argv[1],
            near ? ", did you mean " : "", near ? near : "", near ? "?" : "");
    return 2;
}
