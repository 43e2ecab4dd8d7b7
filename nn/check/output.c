/* Files that are written whole or not at all. */
#include "nn/check/report.h"
#include "nn/memory.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char *copy(const char *text, const char *more) {
    size_t size = strlen(text) + strlen(more) + 1;
    char *both = nn_allocate(size, 1);
    if (both != NULL) snprintf(both, size, "%s%s", text, more);
    else errno = ENOMEM;
    return both;
}

/* Where a path leads: a link stays a link. */
static char *target_of(const char *path) {
    char real[PATH_MAX];
    return copy(realpath(path, real) != NULL ? real : path, "");
}

static void discard(ac_output *o) {
    int why = errno;
    if (o->file != NULL) fclose(o->file);
    if (o->temporary != NULL) unlink(o->temporary);
    nn_release(o->temporary);
    nn_release(o->path);
    memset(o, 0, sizeof *o);
    errno = why;
}

/* Beside the file, with the rights that it has or would get. */
static bool open_temporary(ac_output *o, mode_t mode) {
    o->temporary = copy(o->path, ".XXXXXX");
    if (o->temporary == NULL) return false;
    int descriptor = mkstemp(o->temporary);
    if (descriptor < 0) {
        nn_release(o->temporary);
        o->temporary = NULL;
        return false;
    }
    o->file = fchmod(descriptor, mode) == 0 ? fdopen(descriptor, "w") : NULL;
    if (o->file == NULL) close(descriptor);
    return o->file != NULL;
}

bool ac_output_open(ac_output *o, const char *path) {
    struct stat old;
    memset(o, 0, sizeof *o);
    o->path = target_of(path);
    if (o->path == NULL) return false;
    bool there = stat(o->path, &old) == 0;
    if (there && !S_ISREG(old.st_mode))
        o->file = fopen(o->path, "w"); /* a terminal, a pipe: no other takes its place */
    else {
        mode_t mask = umask(0);
        umask(mask);
        if (there && access(o->path, W_OK) != 0) o->file = NULL;
        else open_temporary(o, there ? old.st_mode & 0777 : 0666 & ~mask);
    }
    if (o->file == NULL) discard(o);
    return o->path != NULL;
}

bool ac_output_close(ac_output *o, bool whole) {
    whole = whole && fflush(o->file) == 0 && !ferror(o->file) && (o->temporary == NULL || fsync(fileno(o->file)) == 0);
    if (fclose(o->file) != 0) whole = false;
    o->file = NULL;
    if (whole && o->temporary != NULL) {
        whole = rename(o->temporary, o->path) == 0;
        if (whole) {
            nn_release(o->temporary);
            o->temporary = NULL;
        }
    }
    discard(o);
    return whole;
}
