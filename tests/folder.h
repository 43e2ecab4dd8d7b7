/* A folder of a test program's own, which goes away with it, and the compiler of what is written there: fixtures of a group. */
#ifndef FOLDER_H
#define FOLDER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static char folder[32];
static bool have_compiler;

static inline const char *compiler(void) {
    const char *cc = getenv("CC");
    return cc && *cc ? cc : "cc";
}

static inline int open_folder(void **unused) {
    char command[600];
    (void)unused;
    snprintf(folder, sizeof folder, "/tmp/autograd_test_XXXXXX");
    snprintf(command, sizeof command, "command -v %.400s >/dev/null 2>&1", compiler());
    have_compiler = system(command) == 0;
    return mkdtemp(folder) == NULL;
}

static inline int close_folder(void **unused) {
    char command[64];
    (void)unused;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

#endif
