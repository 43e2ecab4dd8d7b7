/* The fuzzers of files in nn/data, without libFuzzer: on the inputs in tests/corpus/<format>, and on these with bytes changed,
 * the same at every run. */
#include "corpus.h"
#include "fuzz_data.c"

enum { CHANGED = 300 }; /* of each input */

static fuzzer *current;

/* In memory that ends where the input does. */
static void run(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    current(copy, size);
    free(copy);
}

static void run_saved(uint8_t *data, size_t size, void *context) {
    (void)context;
    run(data, size);
}

static void run_changed(uint8_t *data, size_t size, void *context) {
    uint8_t changed[CORPUS_LONGEST];
    uint32_t random = (uint32_t)size;
    (void)context;
    for (int i = 0; i < CHANGED && size > 0; i++) {
        size_t length = next_random(&random) % 4 == 0 ? next_random(&random) % size : size;
        memcpy(changed, data, length);
        for (uint32_t n = 1 + next_random(&random) % 4; length > 0 && n > 0; n--) {
            uint32_t how = next_random(&random) % 3;
            uint8_t *place = &changed[next_random(&random) % length];
            uint32_t value = how == 0   ? next_random(&random)
                             : how == 1 ? data[next_random(&random) % size]
                                        : *place ^ 1u << next_random(&random) % 8;
            *place = (uint8_t)value;
        }
        run(changed, length);
    }
}

static void all_formats(void **unused) {
    (void)unused;
    static const struct {
        const char *corpus;
        fuzzer *fuzz;
    } formats[] = {{"csv", fuzz_csv},
                   {"npy", fuzz_npy},
                   {"npz", fuzz_npz},
                   {"idx", fuzz_idx},
                   {"gzip", fuzz_gzip},
                   {"text", fuzz_text},
                   {"safetensors", fuzz_safetensors}};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        current = formats[i].fuzz;
        assert_true(each_input(formats[i].corpus, run_saved, NULL) >= 10);
        (void)each_input(formats[i].corpus, run_changed, NULL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_formats)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
