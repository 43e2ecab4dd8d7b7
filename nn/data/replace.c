/* Writing a file all or nothing: beside the old one, flushed to the disk, then in its place.
 *
 * The new file is called PATH.new, so that what a killed process left of one is written over, not left for ever. It is
 * locked while it is written: another process, or thread, that writes the same path takes PATH.1.new. A link stays a link:
 * the file that it leads to is replaced. What is no file, such as a pipe or a device, is written to. */
#include "nn/data/data_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static void fail_at(const nn_replacement *r, const char *what, nn_error *e) {
    nn_fail(e, AG_ERR_FILE, "%.200s: cannot be %s: %s", r->path, what, strerror(errno));
}

enum { MOST_NAMES = 1000, SUFFIX = 32 };

/* Whether a file that was opened is ours alone: locked, and still the one of that name. */
static bool is_ours(int file, const char *name) {
    struct stat opened, named;
    if (flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return false; /* elsewhere there are no locks */
    return fstat(file, &opened) == 0 && lstat(name, &named) == 0 && opened.st_ino == named.st_ino &&
           opened.st_dev == named.st_dev && S_ISREG(opened.st_mode) && opened.st_uid == geteuid();
}

/* An empty file beside the path; its descriptor, or -1. */
static int open_beside(nn_replacement *r, size_t length) {
    for (int i = 0; i < MOST_NAMES; i++) {
        (void)snprintf(r->temporary, length + SUFFIX, i > 0 ? "%s.%d.new" : "%s.new", r->path, i);
        int file = open(r->temporary, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (file < 0 && errno != EACCES && errno != ELOOP && errno != EISDIR) return -1;
        if (file >= 0 && is_ours(file, r->temporary) && ftruncate(file, 0) == 0) return file;
        if (file >= 0) (void)close(file);
    }
    return -1;
}

static bool is_link(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0 && S_ISLNK(status.st_mode);
}

static bool is_to_stay(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
}

nn_replacement nn_replace_begin(const char *path, nn_error *e) {
    nn_replacement r = {0};
    if (!nn_given(path, "the path of a file to be written", e)) return r;
    char real[PATH_MAX];
    if (is_link(path) && !is_to_stay(path) && realpath(path, real) != NULL) path = real;
    bool direct = is_to_stay(path);
    size_t length = strlen(path);
    r.path = nn_copy_text(path, length, e);
    r.temporary = nn_take(length + SUFFIX, 1, path, e);
    if (!nn_ok(e)) return r;
    int file = direct ? open(path, O_WRONLY | O_CLOEXEC) : open_beside(&r, length);
    if (direct) *r.temporary = '\0';
    r.file = file >= 0 ? fdopen(file, "wb") : NULL;
    if (r.file == NULL) {
        fail_at(&r, "written", e);
        if (file >= 0) {
            (void)close(file);
            if (!direct) (void)unlink(r.temporary);
        }
    }
    return r;
}

/* So that the name lasts, too; there are systems that cannot. */
static void flush_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    char folder[4096] = ".";
    if (slash != NULL && (size_t)(slash - path) + 2 < sizeof folder)
        (void)snprintf(folder, sizeof folder, "%.*s", (int)(slash - path) + 1, path);
    int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0) return;
    (void)fsync(file);
    (void)close(file);
}

void nn_replace_end(nn_replacement *r, nn_error *e) {
    if (r->file != NULL) {
        bool direct = *r->temporary == '\0';
        if (nn_ok(e) && (fflush(r->file) != 0 || ferror(r->file) || (!direct && fsync(fileno(r->file)) != 0)))
            fail_at(r, "written", e);
        if (nn_ok(e) && !direct && rename(r->temporary, r->path) != 0) fail_at(r, "replaced", e);
        if (!nn_ok(e) && !direct) (void)unlink(r->temporary);
        (void)fclose(r->file); /* and the lock goes: not before the name does */
        if (nn_ok(e) && !direct) flush_folder(r->path);
    }
    nn_release(r->path);
    nn_release(r->temporary);
    *r = (nn_replacement){0};
}

void nn_replace_try(const char *path, nn_error *e) {
    if (path == NULL || !nn_ok(e) || is_to_stay(path)) return; /* to open a pipe is to be heard at its other end */
    nn_error given_up = {.status = AG_ERR_FILE};
    nn_replacement r = nn_replace_begin(path, e);
    nn_replace_end(&r, &given_up);
}
