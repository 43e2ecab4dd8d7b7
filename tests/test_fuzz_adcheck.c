/* The fuzzer of adcheck, without libFuzzer: on the inputs in tests/corpus/adcheck, and on these with bytes changed, the same
 * at every run. */
#include "corpus.h"
#include "fuzz_adcheck.c"

enum { MOST_CHANGES = 8 };

static void run_saved(uint8_t *data, size_t size, void *context) {
    (void)context;
    (void)LLVMFuzzerTestOneInput(data, size);
}

/* Bytes become others, marks of the language, or what stands elsewhere. What changes depends on the input alone. */
static void run_changed(uint8_t *data, size_t size, void *context) {
    static const char marks[] = "()[]'\n=~,:#\"0.-";
    uint32_t random = (uint32_t)size;
    (void)context;
    for (size_t i = 0; i < size; i++) random = random * 31 + data[i];
    for (uint32_t n = next_random(&random) % MOST_CHANGES + 1; size > 0 && n > 0; n--) {
        uint8_t *place = &data[next_random(&random) % size];
        uint32_t how = next_random(&random) % 3;
        *place = how == 0   ? (uint8_t)next_random(&random)
                 : how == 1 ? (uint8_t)marks[next_random(&random) % (sizeof marks - 1)]
                            : data[next_random(&random) % size];
    }
    (void)LLVMFuzzerTestOneInput(data, size);
}

static void saved_inputs(void **unused) {
    (void)unused;
    assert_true(each_input("adcheck", run_saved, NULL) >= 100);
}

static void changed_inputs(void **unused) {
    (void)unused;
    (void)each_input("adcheck", run_changed, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saved_inputs),
        cmocka_unit_test(changed_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
