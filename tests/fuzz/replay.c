/* replay.c - main() of a target without libFuzzer: runs the files that are named, and every file of the folders that are. Each name is said
 * before its file runs, so that the last one is the culprit. A folder without files is a failure: nothing would have been tested. */
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

static int ran;

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = NULL;
    long n = -1;

    dprintf(2, "%s\n", path);
    if (f && fseek(f, 0, SEEK_END) == 0) n = ftell(f);
    if (n >= 0) data = malloc((size_t)n); /* exactly as long, so that a read beyond it is seen */
    if (n < 0 || fseek(f, 0, SEEK_SET) != 0 || (n > 0 && (!data || fread(data, 1, (size_t)n, f) != (size_t)n))) {
        dprintf(2, "cannot read it\n");
        return 1;
    }
    fclose(f);
    LLVMFuzzerTestOneInput(data, (size_t)n);
    free(data);
    ran++;
    return 0;
}

static int by_name(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static int replay_folder(const char *path)
{
    struct dirent **entries;
    char file[4096];
    int n = scandir(path, &entries, by_name, alphasort), failed = 0;

    if (n <= 0) {
        dprintf(2, "%s: no corpus here: nothing was tested\n", path);
        return 1;
    }
    for (int i = 0; i < n; i++) {
        snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        failed |= replay_file(file);
        free(entries[i]);
    }
    free(entries);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = argc < 2;

    if (failed) dprintf(2, "usage: %s FILE-OR-FOLDER...\n", argv[0]);
    for (int i = 1; i < argc; i++) {
        struct stat st;
        bool folder = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode);
        failed |= folder ? replay_folder(argv[i]) : replay_file(argv[i]);
    }
    dprintf(2, "%d inputs\n", ran);
    return failed;
}
