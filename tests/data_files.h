/* Files for tests of nn/data: temporary ones, saved ones, real ones; and each allocation refused in turn. */
#ifndef DATA_FILES_H
#define DATA_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "nn/data/data_impl.h"
#include "nn_memory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_ROOM = 4096 };

/* A folder of this process for its files, made and removed by the group's set-up and tear-down. */
static char temporary_folder[] = "/tmp/test_data_XXXXXX";

static inline int make_folder(void **unused) {
    (void)unused;
    return mkdtemp(temporary_folder) != NULL ? 0 : -1;
}

/* Fails if a test left a file there. */
static inline int remove_folder(void **unused) {
    (void)unused;
    return rmdir(temporary_folder);
}

static inline const char *temporary(const char *name) {
    static char path[PATH_ROOM];
    (void)snprintf(path, sizeof path, "%s/%s", temporary_folder, name);
    return path;
}

/* A file of that name below tests/. */
static inline const char *saved_file(const char *name) {
    static char path[PATH_ROOM];
    const char *slash = strrchr(__FILE__, '/');
    (void)snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash - __FILE__) + 1 : 0, __FILE__, name);
    return path;
}

/* Real data: in the folder that AUTOGRAD_DATA names, else in ../shared/data beside this checkout. NULL, and a message, if it
 * is not there. */
static inline const char *real_file(const char *name) {
    static char path[PATH_ROOM];
    const char *folder = getenv("AUTOGRAD_DATA");
    if (folder != NULL) (void)snprintf(path, sizeof path, "%.2000s/%s", folder, name);
    else (void)snprintf(path, sizeof path, "%s", saved_file("../../shared/data/"));
    if (folder == NULL) (void)strncat(path, name, sizeof path - strlen(path) - 1);
    if (access(path, R_OK) == 0) return path;
    print_message("skipped: there is no %s (AUTOGRAD_DATA says where data is)\n", path);
    return NULL;
}

static inline void write_bytes(const char *path, const void *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static inline void assert_fine(const nn_error *e) {
    if (e->status != AG_OK) fail_msg("status %d: %s", (int)e->status, e->message);
    assert_string_equal(e->message, "");
}

/* There is an error, whose message has that text; forgets it. */
static inline void assert_error(nn_error *e, ag_status status, const char *text) {
    if (e->status != status || strstr(e->message, text) == NULL)
        fail_msg("status %d, not %d; \"%s\" has no \"%s\"", (int)e->status, (int)status, e->message, text);
    *e = (nn_error){0};
}

/* Runs f, which frees all that it makes, with one allocation permitted, with two, and so on. */
static inline void refuse_each_allocation(void (*f)(nn_error *e)) {
    enum { MANY = 1 << 30 };
    nn_error e = {0};
    int before = taken;
    allowed = MANY;
    f(&e);
    int needed = MANY - allowed;
    assert_fine(&e);
    assert_in_range(needed, 1, 10000);
    for (int n = 0; n < needed; n++) {
        e = (nn_error){0};
        allowed = n;
        f(&e);
        allowed = -1;
        if (e.status != AG_ERR_MEMORY)
            fail_msg("allocation %d refused: status %d, \"%s\"", n, (int)e.status, e.message);
        assert_non_null(strstr(e.message, "memory"));
        assert_int_equal(taken, before);
    }
}

#endif
