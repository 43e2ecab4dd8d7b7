/* A fuzzer without libFuzzer: on the inputs in tests/corpus, on these with bytes changed, and on pseudo-random ones, the same
 * at every run. The including file has corpus.h, the fuzzer, and CORPUS, the folder of its inputs. */
enum { MOST_FILES = 64, MOST_LENGTH = 4096, RANDOM_INPUTS = 2000, CHANGED_INPUTS = 3000 };

typedef struct saved_input {
    uint8_t data[MOST_LENGTH];
    size_t size;
} saved_input;

static saved_input saved[MOST_FILES];
static int saved_count;

static void load_input(uint8_t *data, size_t size, void *context) {
    (void)context;
    assert_in_range(size, 0, MOST_LENGTH);
    assert_in_range(saved_count, 0, MOST_FILES - 1);
    memcpy(saved[saved_count].data, data, size);
    saved[saved_count++].size = size;
}

static int load_corpus(void **unused) {
    (void)unused;
    (void)each_input(CORPUS, load_input, NULL);
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
