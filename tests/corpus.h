/* Saved inputs of fuzzers, for tests that replay them. */
#ifndef TESTS_CORPUS_H
#define TESTS_CORPUS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>

enum { CORPUS_LONGEST = 4096 };

static inline uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* In the folder of that name beside this file. */
static inline void corpus_path(char *path, size_t room, const char *corpus, const char *name) {
    const char *slash = strrchr(__FILE__, '/');
    int folder = slash ? (int)(slash - __FILE__) + 1 : 0;
    int length = snprintf(path, room, "%.*scorpus/%s/%s", folder, __FILE__, corpus, name);
    assert_true(length > 0 && (size_t)length < room);
}

/* Calls f for every input of a corpus, in a copy that f may change; returns how many there are. */
static inline int each_input(const char *corpus, void (*f)(uint8_t *data, size_t size, void *context), void *context) {
    static uint8_t data[CORPUS_LONGEST + 1];
    char path[4096];
    int count = 0;
    corpus_path(path, sizeof path, corpus, "");
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        corpus_path(path, sizeof path, corpus, entry->d_name);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        size_t size = fread(data, 1, sizeof data, file);
        fclose(file);
        assert_in_range(size, 0, CORPUS_LONGEST);
        f(data, size, context);
        count++;
    }
    closedir(folder);
    return count;
}

#endif
