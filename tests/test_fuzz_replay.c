/* The fuzzer of the public API, without libFuzzer: on the inputs in tests/corpus/api, on these with bytes changed, and on
 * pseudo-random ones, the same at every run. */
#include "fuzz_api.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>

enum { MOST_FILES = 64, MOST_LENGTH = 1024, RANDOM_INPUTS = 2000, CHANGED_INPUTS = 3000 };

typedef struct saved_input {
    uint8_t data[MOST_LENGTH];
    size_t size;
} saved_input;

static saved_input saved[MOST_FILES];
static int saved_count;

static uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* The folder beside this file. */
static void corpus_path(char *path, size_t room, const char *name) {
    const char *slash = strrchr(__FILE__, '/');
    int folder = slash ? (int)(slash - __FILE__) + 1 : 0;
    int length = snprintf(path, room, "%.*scorpus/api/%s", folder, __FILE__, name);
    assert_true(length > 0 && (size_t)length < room);
}

static int load_corpus(void **unused) {
    (void)unused;
    char path[4096];
    corpus_path(path, sizeof path, "");
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL && saved_count < MOST_FILES;) {
        if (entry->d_name[0] == '.') continue;
        corpus_path(path, sizeof path, entry->d_name);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        saved_input *s = &saved[saved_count++];
        s->size = fread(s->data, 1, sizeof s->data, file);
        fclose(file);
    }
    closedir(folder);
    return 0;
}

static void saved_inputs(void **unused) {
    (void)unused;
    assert_true(saved_count > 0);
    for (int i = 0; i < saved_count; i++) (void)LLVMFuzzerTestOneInput(saved[i].data, saved[i].size);
}

static void changed_inputs(void **unused) {
    (void)unused;
    uint32_t random = 1;
    for (int i = 0; i < CHANGED_INPUTS; i++) {
        saved_input s = saved[next_random(&random) % (uint32_t)saved_count];
        for (uint32_t n = next_random(&random) % 8; s.size && n-- > 0;)
            s.data[next_random(&random) % s.size] = (uint8_t)next_random(&random);
        (void)LLVMFuzzerTestOneInput(s.data, s.size);
    }
}

static void random_inputs(void **unused) {
    (void)unused;
    uint32_t random = 2;
    uint8_t data[MOST_LENGTH];
    for (int i = 0; i < RANDOM_INPUTS; i++) {
        size_t size = next_random(&random) % 400;
        for (size_t k = 0; k < size; k++) data[k] = (uint8_t)next_random(&random);
        (void)LLVMFuzzerTestOneInput(data, size);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saved_inputs),
        cmocka_unit_test(changed_inputs),
        cmocka_unit_test(random_inputs),
    };
    return cmocka_run_group_tests(tests, load_corpus, NULL);
}
